//! From facts to rows: what the API may see.
//!
//! A projection decides nothing and reads nothing from the database: it writes down what the fold
//! says after a fact. The rows of one run and the checkpoint they reach are committed together.

mod attestations;
mod copy;
mod facts;
pub mod feed;
mod governance;
mod lrt;
mod pods;
pub mod provisional;
pub mod publications;
mod ratings;

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{B256, U256};
use assay_domain::canonical::CanonicalHead;
use assay_domain::{BlockRef, ChainId, LrtId, RatedEntity};
use sqlx::PgConnection;

use copy::TableRows;

/// Rows of every table of the read model, waiting to be written.
#[derive(Debug)]
pub struct ReadModel {
    /// Entities that have their row.
    entities: BTreeSet<RatedEntity>,
    /// Position of the first slash of each incident.
    incidents: BTreeMap<(ChainId, usize), u64>,
    /// The last rate written of each token.
    rates: BTreeMap<(ChainId, LrtId), U256>,
    attestations: attestations::Open,
    /// The last block's row, which the end of an epoch in the same block may still take over.
    open_block: Option<(ChainId, BlockRef, CanonicalHead)>,
    /// Assessments written, and the last one of each entity.
    assessments: BTreeSet<B256>,
    last_assessment: BTreeMap<RatedEntity, B256>,
    /// Rows up to this position are in the database already and are not written again.
    written_to: u64,
    tables: Tables,
}

#[derive(Debug)]
struct Tables {
    blocks: TableRows,
    entities: TableRows,
    assessments: TableRows,
    rating_points: TableRows,
    rating_actions: TableRows,
    slashing_events: TableRows,
    slashed_shares: TableRows,
    operator_shares: TableRows,
    operators: TableRows,
    avss: TableRows,
    operator_sets: TableRows,
    memberships: TableRows,
    allocations: TableRows,
    lrt_rates: TableRows,
    lrt_assessments: TableRows,
    lrt_positions: TableRows,
    attestations: TableRows,
    attestation_standings: TableRows,
    pods: TableRows,
    pod_delegations: TableRows,
    validators: TableRows,
    validator_slashings: TableRows,
    governance_changes: TableRows,
}

impl Tables {
    fn new() -> Self {
        Self {
            blocks: TableRows::new(
                "blocks",
                "chain_id, number, hash, time, last_position, canonical_hash",
            ),
            entities: TableRows::new(
                "entities",
                "id, chain_id, kind, address, operator_set_id, slug, key, first_position, \
                 first_block, first_time",
            ),
            assessments: TableRows::new("assessments", ratings::ASSESSMENT_COLUMNS),
            rating_points: TableRows::new("rating_points", ratings::POINT_COLUMNS),
            rating_actions: TableRows::new("rating_actions", ratings::ACTION_COLUMNS),
            slashing_events: TableRows::new("slashing_events", facts::SLASHING_COLUMNS),
            slashed_shares: TableRows::new(
                "slashed_shares",
                "chain_id, avs, operator_set_id, slash_id, strategy, position, block_number, \
                 tx_hash, log_index, shares_delta",
            ),
            operator_shares: TableRows::new(
                "operator_shares",
                "chain_id, operator, strategy, position, block_number, block_time, shares",
            ),
            operators: TableRows::new(
                "operators",
                "chain_id, operator, position, block_number, delegation_approver, metadata_uri, \
                 allocation_delay_blocks, pending_allocation_delay_blocks, \
                 pending_allocation_delay_effect_block",
            ),
            avss: TableRows::new(
                "avss",
                "chain_id, avs, position, block_number, metadata_uri, registrar",
            ),
            operator_sets: TableRows::new(
                "operator_sets",
                "chain_id, avs, operator_set_id, position, block_number, slasher, \
                 pending_slasher, pending_slasher_effect_block, redistribution_recipient, \
                 strategies",
            ),
            memberships: TableRows::new(
                "memberships",
                "chain_id, operator, avs, operator_set_id, position, block_number, is_member, \
                 slashable_until",
            ),
            allocations: TableRows::new(
                "allocations",
                "chain_id, operator, avs, operator_set_id, strategy, position, block_number, \
                 current_magnitude, pending_magnitude, effect_block, max_magnitude",
            ),
            lrt_rates: TableRows::new("lrt_rates", lrt::RATE_COLUMNS),
            lrt_assessments: TableRows::new("lrt_assessments", lrt::ASSESSMENT_COLUMNS),
            lrt_positions: TableRows::new("lrt_positions", lrt::POSITION_COLUMNS),
            attestations: TableRows::new("attestations", attestations::COLUMNS),
            attestation_standings: TableRows::new(
                "attestation_standings",
                "digest, position, standing",
            ),
            pods: TableRows::new("pods", pods::POD_COLUMNS),
            pod_delegations: TableRows::new("pod_delegations", pods::DELEGATION_COLUMNS),
            validators: TableRows::new("validators", pods::VALIDATOR_COLUMNS),
            validator_slashings: TableRows::new("validator_slashings", pods::SLASHING_COLUMNS),
            governance_changes: TableRows::new("governance_changes", governance::COLUMNS),
        }
    }

    fn all(&mut self) -> [&mut TableRows; 23] {
        [
            &mut self.blocks,
            &mut self.entities,
            &mut self.assessments,
            &mut self.rating_points,
            &mut self.rating_actions,
            &mut self.slashing_events,
            &mut self.slashed_shares,
            &mut self.operator_shares,
            &mut self.operators,
            &mut self.avss,
            &mut self.operator_sets,
            &mut self.memberships,
            &mut self.allocations,
            &mut self.lrt_rates,
            &mut self.lrt_assessments,
            &mut self.lrt_positions,
            &mut self.attestations,
            &mut self.attestation_standings,
            &mut self.pods,
            &mut self.pod_delegations,
            &mut self.validators,
            &mut self.validator_slashings,
            &mut self.governance_changes,
        ]
    }
}

impl ReadModel {
    /// Every table that is written here.
    pub const TABLES: [&'static str; 23] = [
        "blocks",
        "entities",
        "assessments",
        "rating_points",
        "rating_actions",
        "slashing_events",
        "slashed_shares",
        "operator_shares",
        "operators",
        "avss",
        "operator_sets",
        "memberships",
        "allocations",
        "lrt_rates",
        "lrt_assessments",
        "lrt_positions",
        "attestations",
        "attestation_standings",
        "pods",
        "pod_delegations",
        "validators",
        "validator_slashings",
        "governance_changes",
    ];

    /// A read model that holds everything up to canonical position `written_to`.
    pub fn new(written_to: u64) -> Self {
        Self {
            entities: BTreeSet::new(),
            incidents: BTreeMap::new(),
            rates: BTreeMap::new(),
            attestations: attestations::Open::new(),
            open_block: None,
            assessments: BTreeSet::new(),
            last_assessment: BTreeMap::new(),
            written_to,
            tables: Tables::new(),
        }
    }

    /// Writes the waiting rows; the caller's transaction commits them.
    pub async fn flush(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        self.write_open_block();
        for table in self.tables.all() {
            table.flush(connection).await?;
        }
        Ok(())
    }

    /// Removes every row, before all of them are written anew. Rating actions stay: what was said
    /// was said.
    /// Those of a revision that is written anew go too.
    pub async fn clear(connection: &mut PgConnection, revision: Option<u32>) -> sqlx::Result<()> {
        for table in Self::TABLES {
            if table == "rating_actions" {
                continue;
            }
            let statement = format!("DELETE FROM read_model.{table}");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        sqlx::query("DELETE FROM read_model.rating_actions WHERE revision = $1")
            .bind(revision.map(u32::cast_signed))
            .execute(&mut *connection)
            .await?;
        sqlx::query("DELETE FROM read_model.checkpoint").execute(connection).await?;
        Ok(())
    }

    /// The row id of an entity, whose row is written when it is first named.
    fn entity_id(&mut self, entity: RatedEntity, at: BlockRef, head: CanonicalHead) -> i64 {
        let id = row_id(&entity);
        if self.entities.insert(entity) && head.position > self.written_to {
            self.tables
                .entities
                .integer(id)
                .integer(entity.chain_id)
                .integer(entity.kind.number())
                .bytes(entity.address.as_slice())
                .integer(entity.operator_set_id)
                .text(&entity.to_string())
                .bytes(entity.key().as_slice())
                .integer(head.position)
                .integer(at.number)
                .integer(at.timestamp)
                .end();
        }
        id
    }

    /// A block's last canonical entry, a fact or an epoch's end. Both may be in one block: then its
    /// row has the hash and time that the fact tells, and the position of the epoch's end.
    pub fn block_ended(&mut self, chain_id: ChainId, block: BlockRef, head: CanonicalHead) {
        match &mut self.open_block {
            Some((open_chain, open, last))
                if (*open_chain, open.number) == (chain_id, block.number) =>
            {
                *last = head;
            }
            _ => {
                self.write_open_block();
                self.open_block = Some((chain_id, block, head));
            }
        }
    }

    fn write_open_block(&mut self) {
        let Some((chain_id, block, head)) = self.open_block.take() else { return };
        if head.position <= self.written_to {
            return;
        }
        self.tables
            .blocks
            .integer(chain_id)
            .integer(block.number)
            .bytes(block.hash.as_slice())
            .integer(block.timestamp)
            .integer(head.position)
            .bytes(head.hash.as_slice())
            .end();
    }
}

/// The row id of an entity: the first 63 bits of its key, so that it does not depend on what else
/// is in the log.
fn row_id(entity: &RatedEntity) -> i64 {
    let key = entity.key();
    let id = key.iter().take(8).fold(0_u64, |id, byte| (id << 8) | u64::from(*byte));
    (id & i64::MAX.cast_unsigned()).cast_signed()
}
