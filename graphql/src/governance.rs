//! Who can change the contracts that hold slashing power.

use async_graphql::{Context, Enum, Object};
use futures_util::future::try_join_all;
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::RatedEntity;
use crate::error::ApiError;
use crate::page::{Column, List, Order, Source};
use crate::scalar::{Address, BigInt, Bytes32, DateTime, LogPosition};
use crate::scope::{Block, Scope};

const OUTSIDE: ApiError = ApiError::Corrupt("a change of governance outside 180 to 189");

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum GovernanceChangeKind {
    /// The code behind a proxy or a beacon.
    Upgraded,
    /// The seconds that a timelock waits.
    DelayChanged,
    /// A Safe has one more owner.
    OwnerAdded,
    /// A Safe has one owner less.
    OwnerRemoved,
    /// The signatures that a Safe takes.
    ThresholdChanged,
    /// Who may change a contract.
    AdminChanged,
    /// A contract acts for a Safe without its owners' signatures.
    ModuleEnabled,
    /// A timelock holds a call back.
    CallScheduled,
    /// A call that a timelock held back has run.
    CallExecuted,
    /// A call that a timelock held back will not run.
    CallCancelled,
}

#[derive(Debug, Clone)]
pub(crate) struct GovernanceChange {
    row: GovernanceRow,
    scope: Scope,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct GovernanceRow {
    position: i64,
    chain_id: i64,
    block_number: i64,
    block_time: i64,
    tx_hash: Vec<u8>,
    contract: Vec<u8>,
    kind: i16,
    party: Option<Vec<u8>>,
    value: Option<String>,
    operation: Option<Vec<u8>>,
    executable_at: Option<i64>,
    opens_watch: bool,
    subjects: Vec<i64>,
}

impl GovernanceChange {
    pub(crate) fn new(row: GovernanceRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }
}

/// An upgrade, or another hand on a Safe, a timelock or a proxy: of EigenLayer's contracts, a
/// token's, or one that an AVS lets slash.
#[Object]
impl GovernanceChange {
    /// The contract.
    async fn contract(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.contract)
    }

    /// What changed.
    async fn kind(&self) -> Result<GovernanceChangeKind, ApiError> {
        Ok(match self.row.kind {
            180 => GovernanceChangeKind::Upgraded,
            181 => GovernanceChangeKind::DelayChanged,
            182 => GovernanceChangeKind::OwnerAdded,
            183 => GovernanceChangeKind::OwnerRemoved,
            184 => GovernanceChangeKind::ThresholdChanged,
            185 => GovernanceChangeKind::AdminChanged,
            186 => GovernanceChangeKind::ModuleEnabled,
            187 => GovernanceChangeKind::CallScheduled,
            188 => GovernanceChangeKind::CallExecuted,
            189 => GovernanceChangeKind::CallCancelled,
            _ => return Err(OUTSIDE),
        })
    }

    /// The new code, the owner, admin or module that came or went, or what a timelock calls.
    async fn party(&self) -> Result<Option<Address>, ApiError> {
        self.row.party.as_deref().map(Address::from_row).transpose()
    }

    /// Signatures that a Safe takes, or seconds that a timelock waits, from now on.
    async fn value(&self) -> Option<BigInt> {
        self.row.value.clone().map(BigInt)
    }

    /// Of a timelock's call: what its schedule, its execution and its cancellation have in common.
    async fn operation(&self) -> Result<Option<Bytes32>, ApiError> {
        self.row.operation.as_deref().map(Bytes32::from_row).transpose()
    }

    /// From when on a scheduled call can run. Null: it is none, or never can.
    async fn executable_at(&self) -> Option<DateTime> {
        self.row.executable_at.map(DateTime::from_seconds)
    }

    /// What changed, in a sentence.
    async fn summary(&self) -> Result<String, ApiError> {
        let hex = |bytes: &[u8]| alloy_primitives::hex::encode_prefixed(bytes);
        let contract = hex(&self.row.contract);
        let party = self.row.party.as_deref().map(hex).unwrap_or_default();
        let value = self.row.value.as_deref().unwrap_or_default();
        Ok(match self.row.kind {
            180 => format!("The code of {contract} is now that at {party}."),
            181 => format!("The timelock {contract} now waits {value} seconds."),
            182 => format!("{party} is now an owner of the Safe {contract}."),
            183 => format!("{party} is an owner of the Safe {contract} no more."),
            184 => format!("The Safe {contract} now takes {value} of its owners' signatures."),
            185 => format!("{contract} can now be changed by {party}."),
            186 => format!("{party} now acts for the Safe {contract} without signatures."),
            187 => match self.row.executable_at.map(DateTime::from_seconds) {
                Some(from) => format!(
                    "The timelock {contract} holds a call of {party}, which can run from {from} on."
                ),
                None => format!("The timelock {contract} holds a call of {party} that never runs."),
            },
            188 => format!("The timelock {contract} has called {party}, as it was scheduled."),
            189 => {
                let operation = self.row.operation.as_deref().map(hex).unwrap_or_default();
                format!("The timelock {contract} has cancelled its operation {operation}.")
            }
            _ => return Err(OUTSIDE),
        })
    }

    /// Whether it put its subjects on watch: new code, fewer signatures, a shorter delay, other
    /// hands, or a timelock's call of such a contract. Not the platform's routine upgrades, nor what
    /// makes a change harder.
    async fn opens_watch(&self) -> bool {
        self.row.opens_watch
    }

    /// The operator sets (of many the first hundred), their AVSs, and tokens whose stake the
    /// contract had a say in. None: it is the platform's, and concerns everybody alike.
    async fn subjects(&self, ctx: &Context<'_>) -> Result<Vec<RatedEntity>, ApiError> {
        let find = |id: &i64| RatedEntity::by_row_id(ctx, &self.scope, *id);
        let found = try_join_all(self.row.subjects.iter().map(find)).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Its position.
    async fn position(&self) -> LogPosition {
        LogPosition(self.row.position)
    }

    /// Its block.
    async fn block(&self) -> Block {
        Block::new(self.row.chain_id, self.row.block_number, self.row.block_time)
    }

    /// Its transaction.
    async fn tx_hash(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.tx_hash)
    }
}

/// Changes of governance, the newest first: all, or those that concern the entity with this slug.
pub(crate) struct GovernanceChanges;

impl List for GovernanceChanges {
    type Filter = Option<String>;
    type Row = GovernanceRow;

    fn order(_: &Option<String>) -> Order {
        Order { name: "governance", columns: &[Column::Integer("position")], is_descending: true }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, Option<String>>) {
        query.push(
            "SELECT g.position, g.chain_id, g.block_number, g.block_time, g.tx_hash, g.contract,
                    g.kind, g.party, g.value::text AS value, g.operation, g.executable_at,
                    g.opens_watch, g.subjects
               FROM read_model.governance_changes g WHERE g.position <= ",
        );
        query.push_bind(source.scope.position);
        if let Some(slug) = source.filter {
            query.push(
                " AND g.subjects @> ARRAY(SELECT e.id FROM read_model.entities e WHERE e.slug = ",
            );
            query.push_bind(slug.clone());
            query.push(") AND EXISTS (SELECT FROM read_model.entities e WHERE e.slug = ");
            query.push_bind(slug.clone()).push(")");
        }
    }
}
