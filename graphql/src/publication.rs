//! Publications: which words stand in which oracle contract.

use std::collections::BTreeMap;

use async_graphql::{Context, Enum, ID, InputObject, Object};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::entity::{EntityName, RatedEntity};
use crate::error::ApiError;
use crate::id::NodeId;
use crate::leaderboard::values;
use crate::page::{Column, List, Order, Source};
use crate::rating::big;
use crate::scalar::{Address, BigInt, BlockNumber, Bytes32, ChainId, DateTime};
use crate::scope::Scope;
use crate::session::{Batch, Reader, Session};

/// How far a publication has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub(crate) enum PublicationStatus {
    /// In a block that may still be taken back.
    Included,
    /// In a final block.
    Final,
    /// In a block that was taken back.
    Reorged,
}

#[derive(Debug, Clone)]
pub(crate) struct Publication {
    row: PublicationRow,
    scope: Scope,
}

/// Which publications. All conditions hold at once; a list means any of its values.
#[derive(Debug, Default, InputObject)]
pub(crate) struct PublicationWhere {
    /// In oracles on this chain.
    pub oracle_chain_id: Option<ChainId>,
    /// In this oracle contract.
    pub oracle: Option<Address>,
    /// Of this entity, by its key in the oracle.
    pub entity_key: Option<Bytes32>,
    /// In this transaction.
    pub tx_hash: Option<Bytes32>,
    /// With one of these states.
    pub status: Option<Vec<PublicationStatus>>,
}

/// [`PublicationWhere`] as SQL wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PublicationFilter {
    is_of_parent: bool,
    chain: Option<i64>,
    oracle: Option<Vec<u8>>,
    entity_key: Option<Vec<u8>>,
    tx_hash: Option<Vec<u8>>,
    statuses: Option<Vec<String>>,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct PublicationRow {
    oracle_chain_id: i64,
    oracle: Vec<u8>,
    entity_key: Vec<u8>,
    seq: i64,
    word: Vec<u8>,
    tx_hash: Vec<u8>,
    replaced_tx_hashes: Vec<Vec<u8>>,
    block_number: i64,
    status: String,
    recorded_micros: i64,
}

const COLUMNS: &str = "b.oracle_chain_id, b.oracle, b.entity_key, b.seq, b.word, b.tx_hash,
    b.replaced_tx_hashes, b.block_number, b.status,
    (extract(epoch FROM b.recorded_at) * 1000000)::bigint AS recorded_micros";

impl PublicationStatus {
    pub(crate) fn from_word(word: &str) -> Result<Self, ApiError> {
        match word {
            "included" => Ok(Self::Included),
            "final" => Ok(Self::Final),
            "reorged" => Ok(Self::Reorged),
            _ => Err(ApiError::Corrupt("an unknown publication status")),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Final => "final",
            Self::Reorged => "reorged",
        }
    }
}

impl PublicationFilter {
    /// All those of the parent.
    pub(crate) fn of_parent() -> Self {
        Self { is_of_parent: true, ..Self::default() }
    }

    pub(crate) fn new(wanted: Option<PublicationWhere>) -> Result<Self, ApiError> {
        let wanted = wanted.unwrap_or_default();
        Ok(Self {
            is_of_parent: false,
            chain: wanted.oracle_chain_id.map(|chain| chain.0),
            oracle: wanted.oracle.map(|address| address.0.to_vec()),
            entity_key: wanted.entity_key.map(|key| key.0.to_vec()),
            tx_hash: wanted.tx_hash.map(|hash| hash.0.to_vec()),
            statuses: values(wanted.status, |status| status.word().to_owned())?,
        })
    }
}

impl Publication {
    pub(crate) fn new(row: PublicationRow, scope: &Scope) -> Self {
        Self { row, scope: scope.clone() }
    }

    /// The publication with this key.
    pub(crate) async fn by_id(
        ctx: &Context<'_>,
        scope: &Scope,
        key: PublicationKey,
    ) -> Result<Option<Self>, ApiError> {
        let session = Session::of(ctx)?;
        session.used_live();
        let row = session.load::<PublicationById>((), key).await?;
        Ok(row.map(|row| Self::new(row, scope)))
    }
}

/// One rating in one oracle contract, as its `Rated` event says. Publications are not pinned by
/// `asOf`: they tell how things stand now.
#[Object]
impl Publication {
    /// The global id.
    pub(crate) async fn id(&self) -> ID {
        let row = &self.row;
        NodeId::Publication {
            chain: row.oracle_chain_id,
            oracle: row.oracle.clone(),
            entity_key: row.entity_key.clone(),
            seq: row.seq,
        }
        .into()
    }

    /// The chain of the oracle contract.
    async fn oracle_chain_id(&self) -> ChainId {
        ChainId(self.row.oracle_chain_id)
    }

    /// The oracle contract.
    async fn oracle(&self) -> Result<Address, ApiError> {
        Address::from_row(&self.row.oracle)
    }

    /// The entity's key in the contract.
    async fn entity_key(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.entity_key)
    }

    /// The entity. Null when the key is of none that is known here.
    async fn entity(&self, ctx: &Context<'_>) -> Result<Option<RatedEntity>, ApiError> {
        let name = EntityName::Key(self.row.entity_key.clone());
        RatedEntity::by_name(ctx, &self.scope, name).await
    }

    /// The entity's counter in the contract.
    async fn seq(&self) -> BigInt {
        big(self.row.seq)
    }

    /// The word as it was signed. The contract stores it with `lag` filled in.
    async fn word(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.word)
    }

    /// The transaction that published it.
    async fn tx_hash(&self) -> Result<Bytes32, ApiError> {
        Bytes32::from_row(&self.row.tx_hash)
    }

    /// Transactions that it replaced at a higher fee, in the order in which they were sent.
    async fn replaced_tx_hashes(&self) -> Result<Vec<Bytes32>, ApiError> {
        self.row.replaced_tx_hashes.iter().map(|hash| Bytes32::from_row(hash)).collect()
    }

    /// The block of that transaction.
    async fn block_number(&self) -> BlockNumber {
        BlockNumber(self.row.block_number)
    }

    /// How far it has come.
    async fn status(&self) -> Result<PublicationStatus, ApiError> {
        PublicationStatus::from_word(&self.row.status)
    }

    /// When Assay saw it, on Assay's own clock.
    async fn recorded_at(&self) -> DateTime {
        DateTime { micros: self.row.recorded_micros }
    }
}

/// A publication's key: chain, oracle, entity key, counter.
pub(crate) type PublicationKey = (i64, Vec<u8>, Vec<u8>, i64);

struct PublicationById;

impl Batch for PublicationById {
    type Group = ();
    type Key = PublicationKey;
    type Value = PublicationRow;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[PublicationKey],
    ) -> Result<BTreeMap<PublicationKey, PublicationRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new(format!("SELECT {COLUMNS} FROM unnest("));
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1.clone()).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.2.clone()).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.3).collect::<Vec<_>>());
        query.push(
            ") AS k(oracle_chain_id, oracle, entity_key, seq)
             JOIN read_model.publications b USING (oracle_chain_id, oracle, entity_key, seq)",
        );
        let rows: Vec<PublicationRow> = reader.rows(query).await?;
        let key = |row: &PublicationRow| {
            (row.oracle_chain_id, row.oracle.clone(), row.entity_key.clone(), row.seq)
        };
        Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
    }
}

#[derive(Debug, Clone, FromRow)]
struct PublicationOfRow {
    entity_id: i64,
    #[sqlx(flatten)]
    row: PublicationRow,
}

/// The publications of one rating: by entity and counter, one for each oracle.
pub(crate) struct PublicationsOf;

impl Batch for PublicationsOf {
    type Group = ();
    type Key = (i64, i64);
    type Value = Vec<PublicationRow>;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[(i64, i64)],
    ) -> Result<BTreeMap<(i64, i64), Vec<PublicationRow>>, ApiError> {
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new(format!("SELECT k.entity_id, {COLUMNS} FROM unnest("));
        query.push_bind(keys.iter().map(|key| key.0).collect::<Vec<_>>()).push(", ");
        query.push_bind(keys.iter().map(|key| key.1).collect::<Vec<_>>());
        query.push(
            ") AS k(entity_id, seq) JOIN read_model.entities e ON e.id = k.entity_id
             JOIN read_model.publications b ON b.entity_key = e.key AND b.seq = k.seq
             ORDER BY b.oracle_chain_id, b.oracle",
        );
        let mut found: BTreeMap<(i64, i64), Vec<PublicationRow>> = BTreeMap::new();
        let rows: Vec<PublicationOfRow> = reader.rows(query).await?;
        for of in rows {
            found.entry((of.entity_id, of.row.seq)).or_default().push(of.row);
        }
        Ok(found)
    }
}

/// Publications, the newest first.
pub(crate) struct Publications;

impl List for Publications {
    type Filter = PublicationFilter;
    type Row = PublicationRow;

    fn order(_: &PublicationFilter) -> Order {
        Order {
            name: "publications",
            columns: &[
                Column::Integer("recorded_micros"),
                Column::Integer("oracle_chain_id"),
                Column::Bytes("oracle"),
                Column::Bytes("entity_key"),
                Column::Integer("seq"),
            ],
            is_descending: true,
        }
    }

    fn push_rows(query: &mut QueryBuilder<Postgres>, source: &Source<'_, PublicationFilter>) {
        let filter = source.filter;
        query.push(format_args!("SELECT {COLUMNS} FROM read_model.publications b WHERE true"));
        if filter.is_of_parent {
            query.push(" AND b.entity_key = p.entity_key");
        }
        if let Some(chain) = filter.chain {
            query.push(" AND b.oracle_chain_id = ").push_bind(chain);
        }
        if let Some(oracle) = &filter.oracle {
            query.push(" AND b.oracle = ").push_bind(oracle.clone());
        }
        if let Some(key) = &filter.entity_key {
            query.push(" AND b.entity_key = ").push_bind(key.clone());
        }
        if let Some(hash) = &filter.tx_hash {
            query.push(" AND b.tx_hash = ").push_bind(hash.clone());
        }
        if let Some(statuses) = &filter.statuses {
            query.push(" AND b.status = ANY(").push_bind(statuses.clone()).push(")");
        }
    }
}
