//! What can carry a rating: operators, AVSs, operator sets and liquid restaking tokens, behind one
//! interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Interface};
use sqlx::{FromRow, Postgres, QueryBuilder};

use crate::action::{ActionFilter, Actions, RatingAction};
use crate::attestation::{Attestation, Attestations};
use crate::error::ApiError;
use crate::page::{Page, PageArgs, Parent, page};
use crate::period::{HistoryPeriod, Period};
use crate::publication::{Publication, PublicationFilter, Publications};
use crate::rating::{History, Rating};
use crate::scalar::{Address, Bytes32, ChainId, LogPosition};
use crate::scope::{Block, Scope};
use crate::session::{Batch, Reader, Session};

/// What kind of thing is rated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Enum)]
pub(crate) enum EntityKind {
    /// An address that stakers delegate to.
    Operator,
    /// An actively validated service: the contract that owns operator sets.
    Avs,
    /// A set of operators of an AVS.
    OperatorSet,
    /// A liquid restaking token.
    Lrt,
}

impl EntityKind {
    /// The kind's number in SQL and in the entity key.
    pub(crate) const fn number(self) -> i16 {
        use assay_domain::EntityKind as Domain;
        let kind = match self {
            Self::Operator => Domain::Operator,
            Self::Avs => Domain::Avs,
            Self::OperatorSet => Domain::OperatorSet,
            Self::Lrt => Domain::Lrt,
        };
        kind.number() as i16
    }

    fn from_number(number: i16) -> Result<Self, ApiError> {
        use assay_domain::EntityKind as Domain;
        match u8::try_from(number).ok().and_then(Domain::from_number) {
            Some(Domain::Operator) => Ok(Self::Operator),
            Some(Domain::Avs) => Ok(Self::Avs),
            Some(Domain::OperatorSet) => Ok(Self::OperatorSet),
            Some(Domain::Lrt) => Ok(Self::Lrt),
            None => Err(ApiError::Corrupt("an entity kind outside 1 to 4")),
        }
    }
}

/// Everything that can carry a rating.
#[derive(Interface)]
#[expect(clippy::duplicated_attributes, reason = "three lists take the same arguments")]
#[graphql(
    field(name = "id", ty = "ID", desc = "The global id."),
    field(name = "kind", ty = "EntityKind", desc = "What kind of thing it is."),
    field(
        name = "slug",
        ty = "&String",
        desc = "Its readable name, unique over all kinds and \
        chains: operator-1-0x…, avs-1-0x…, operator-set-1-0x…-0, lrt-1-0x…"
    ),
    field(name = "chain_id", ty = "ChainId", desc = "The chain it lives on."),
    field(
        name = "address",
        ty = "Address",
        desc = "Its address; an operator set carries the \
        address of its AVS."
    ),
    field(
        name = "untrusted_name",
        ty = "Option<String>",
        desc = "What it calls itself: in the metadata document that it names, as last recorded, \
        or in its metadata URI. An operator set has the name of its AVS. At most 80 characters. \
        UNTRUSTED: written by a stranger, escaped for display; anybody may take any name."
    ),
    field(name = "key", ty = "Bytes32", desc = "The key of its rating in the oracle contract."),
    field(name = "first_seen", ty = "Block", desc = "The block of the first fact about it."),
    field(
        name = "first_position",
        ty = "LogPosition",
        desc = "The position of the first fact \
        about it."
    ),
    field(
        name = "rating",
        ty = "Option<Rating>",
        desc = "The rating in force. Null while it has \
        not been assessed; an entity that was assessed and got no grade has a rating without one."
    ),
    field(
        name = "rating_before",
        ty = "Option<Rating>",
        desc = "The rating that was in force this many days before (1 to 3660), on the chain's \
        clock. Null when there was none.",
        arg(name = "days", ty = "i32")
    ),
    field(
        name = "rating_history",
        ty = "Page<Rating>",
        desc = "Every assessment, the newest first.",
        arg(name = "period", ty = "Option<HistoryPeriod>"),
        arg(name = "first", ty = "Option<i32>"),
        arg(name = "after", ty = "Option<String>"),
        arg(name = "last", ty = "Option<i32>"),
        arg(name = "before", ty = "Option<String>")
    ),
    field(
        name = "rating_actions",
        ty = "Page<RatingAction>",
        desc = "What was said about it and \
        when, the newest first.",
        arg(name = "period", ty = "Option<HistoryPeriod>"),
        arg(name = "first", ty = "Option<i32>"),
        arg(name = "after", ty = "Option<String>"),
        arg(name = "last", ty = "Option<i32>"),
        arg(name = "before", ty = "Option<String>")
    ),
    field(
        name = "attestations",
        ty = "Page<Attestation>",
        desc = "Signed claims about it that \
        count or counted, the newest first.",
        arg(name = "first", ty = "Option<i32>"),
        arg(name = "after", ty = "Option<String>"),
        arg(name = "last", ty = "Option<i32>"),
        arg(name = "before", ty = "Option<String>")
    ),
    field(
        name = "publications",
        ty = "Page<Publication>",
        desc = "Its ratings in oracle \
        contracts, the newest first.",
        arg(name = "first", ty = "Option<i32>"),
        arg(name = "after", ty = "Option<String>"),
        arg(name = "last", ty = "Option<i32>"),
        arg(name = "before", ty = "Option<String>")
    )
)]
pub(crate) enum RatedEntity {
    /// An operator.
    Operator(Operator),
    /// An AVS.
    Avs(Avs),
    /// An operator set.
    OperatorSet(OperatorSet),
    /// A liquid restaking token.
    Lrt(Lrt),
}

/// An operator.
#[derive(Debug, Clone)]
pub(crate) struct Operator(pub(crate) RatedFields);

/// An AVS.
#[derive(Debug, Clone)]
pub(crate) struct Avs(pub(crate) RatedFields);

/// An operator set.
#[derive(Debug, Clone)]
pub(crate) struct OperatorSet(pub(crate) RatedFields);

/// A liquid restaking token.
#[derive(Debug, Clone)]
pub(crate) struct Lrt(pub(crate) RatedFields);

/// What every rated entity has, at one scope.
#[derive(Debug, Clone)]
pub(crate) struct RatedFields {
    row: Arc<EntityRow>,
    pub(crate) scope: Scope,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct EntityRow {
    pub(crate) id: i64,
    pub(crate) chain_id: i64,
    kind: i16,
    pub(crate) address: Vec<u8>,
    pub(crate) operator_set_id: i64,
    pub(crate) slug: String,
    pub(crate) key: Vec<u8>,
    pub(crate) first_position: i64,
    first_block: i64,
    first_time: i64,
}

/// Columns of [`EntityRow`]; `e` is `read_model.entities`.
pub(crate) const ENTITY_COLUMNS: &str = "e.id, e.chain_id, e.kind, e.address, e.operator_set_id,
    e.slug, e.key, e.first_position, e.first_block, e.first_time";

impl RatedEntity {
    pub(crate) fn new(row: EntityRow, scope: &Scope) -> Result<Self, ApiError> {
        let kind = EntityKind::from_number(row.kind)?;
        let fields = RatedFields { row: Arc::new(row), scope: scope.clone() };
        Ok(match kind {
            EntityKind::Operator => Self::Operator(Operator(fields)),
            EntityKind::Avs => Self::Avs(Avs(fields)),
            EntityKind::OperatorSet => Self::OperatorSet(OperatorSet(fields)),
            EntityKind::Lrt => Self::Lrt(Lrt(fields)),
        })
    }

    /// The entity with this row number.
    pub(crate) async fn by_row_id(
        ctx: &Context<'_>,
        scope: &Scope,
        id: i64,
    ) -> Result<Option<Self>, ApiError> {
        let row = Session::of(ctx)?.load::<EntityById>((), id).await?;
        row.map(|row| Self::new(row, scope)).transpose()
    }

    /// The entity with this name, if it was known at the scope's position.
    pub(crate) async fn by_name(
        ctx: &Context<'_>,
        scope: &Scope,
        name: EntityName,
    ) -> Result<Option<Self>, ApiError> {
        let row = Session::of(ctx)?.load::<EntityByName>((), name).await?;
        row.filter(|row| row.first_position <= scope.position)
            .map(|row| Self::new(row, scope))
            .transpose()
    }

    /// Who it is, for the core.
    pub(crate) fn domain_id(&self) -> Result<assay_domain::RatedEntity, ApiError> {
        let row = self.fields().row();
        let corrupt = || ApiError::Corrupt("the key of an entity");
        let kind = u8::try_from(row.kind).ok().and_then(assay_domain::EntityKind::from_number);
        Ok(assay_domain::RatedEntity {
            chain_id: row.chain_id.cast_unsigned(),
            kind: kind.ok_or_else(corrupt)?,
            address: Address::from_row(&row.address)?.0.into(),
            operator_set_id: u32::try_from(row.operator_set_id).map_err(|_| corrupt())?,
        })
    }

    pub(crate) fn kind_number(&self) -> i16 {
        self.fields().row.kind
    }

    pub(crate) fn chain(&self) -> i64 {
        self.fields().row.chain_id
    }

    fn fields(&self) -> &RatedFields {
        match self {
            Self::Operator(operator) => &operator.0,
            Self::Avs(avs) => &avs.0,
            Self::OperatorSet(set) => &set.0,
            Self::Lrt(lrt) => &lrt.0,
        }
    }
}

macro_rules! by_name {
    ($name:ident, $variant:ident) => {
        impl $name {
            /// The one at this address, if it was known at the scope's position.
            pub(crate) async fn find(
                ctx: &Context<'_>,
                scope: &Scope,
                chain: i64,
                address: &[u8],
                set: i64,
            ) -> Result<Option<Self>, ApiError> {
                let kind = EntityKind::$variant.number();
                let name = EntityName::At { chain, kind, address: address.to_vec(), set };
                Ok(match RatedEntity::by_name(ctx, scope, name).await? {
                    Some(RatedEntity::$variant(found)) => Some(found),
                    _ => None,
                })
            }
        }
    };
}

by_name!(Operator, Operator);
by_name!(Avs, Avs);
by_name!(OperatorSet, OperatorSet);
by_name!(Lrt, Lrt);

impl RatedFields {
    pub(crate) fn row(&self) -> &EntityRow {
        &self.row
    }

    pub(crate) fn kind(&self) -> Result<EntityKind, ApiError> {
        EntityKind::from_number(self.row.kind)
    }

    pub(crate) fn first_seen(&self) -> Block {
        Block::new(self.row.chain_id, self.row.first_block, self.row.first_time)
    }

    /// The rating that was in force this many days before the scope's own time.
    pub(crate) async fn rating_before(
        &self,
        ctx: &Context<'_>,
        days: i32,
    ) -> Result<Option<Rating>, ApiError> {
        if !(1..=3_660).contains(&days) {
            return Err(ApiError::BadArgument("days is between 1 and 3660".to_owned()));
        }
        Rating::before(ctx, &self.scope, days, self.row.id).await
    }

    pub(crate) async fn rating_history(
        &self,
        ctx: &Context<'_>,
        period: Option<HistoryPeriod>,
        args: PageArgs,
    ) -> Result<Page<Rating>, ApiError> {
        let period = Period::new(period)?;
        page::<History, _>(ctx, &self.scope, period, self.parent(), args, |row, scope| {
            Ok(Rating::new(row, scope))
        })
        .await
    }

    pub(crate) async fn rating_actions(
        &self,
        ctx: &Context<'_>,
        period: Option<HistoryPeriod>,
        args: PageArgs,
    ) -> Result<Page<RatingAction>, ApiError> {
        let filter = ActionFilter::of_parent(Period::new(period)?);
        page::<Actions, _>(ctx, &self.scope, filter, self.parent(), args, |row, scope| {
            Ok(RatingAction::new(row, scope))
        })
        .await
    }

    pub(crate) async fn attestations(
        &self,
        ctx: &Context<'_>,
        args: PageArgs,
    ) -> Result<Page<Attestation>, ApiError> {
        page::<Attestations, _>(ctx, &self.scope, true, self.parent(), args, |row, scope| {
            Ok(Attestation::new(row, scope))
        })
        .await
    }

    pub(crate) async fn publications(
        &self,
        ctx: &Context<'_>,
        args: PageArgs,
    ) -> Result<Page<Publication>, ApiError> {
        Session::of(ctx)?.used_live();
        let filter = PublicationFilter::of_parent();
        page::<Publications, _>(ctx, &self.scope, filter, self.parent(), args, |row, scope| {
            Ok(Publication::new(row, scope))
        })
        .await
    }

    /// This entity as the parent of a list.
    pub(crate) fn parent(&self) -> Parent {
        Parent {
            entity_id: self.row.id,
            chain_id: self.row.chain_id,
            address: self.row.address.clone(),
            operator_set_id: self.row.operator_set_id,
            entity_key: self.row.key.clone(),
        }
    }
}

struct EntityById;

impl Batch for EntityById {
    type Group = ();
    type Key = i64;
    type Value = EntityRow;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[i64],
    ) -> Result<BTreeMap<i64, EntityRow>, ApiError> {
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
            "SELECT {ENTITY_COLUMNS} FROM read_model.entities e WHERE e.id = ANY("
        ));
        query.push_bind(keys.to_vec()).push(")");
        let rows: Vec<EntityRow> = reader.rows(query).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }
}

/// How an entity is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntityName {
    /// By its slug.
    Slug(String),
    /// By its key in the oracle contract.
    Key(Vec<u8>),
    /// By what it is and where.
    At { chain: i64, kind: i16, address: Vec<u8>, set: i64 },
}

struct EntityByName;

impl Batch for EntityByName {
    type Group = ();
    type Key = EntityName;
    type Value = EntityRow;

    async fn fetch(
        reader: &mut Reader,
        (): &(),
        keys: &[EntityName],
    ) -> Result<BTreeMap<EntityName, EntityRow>, ApiError> {
        let (mut slugs, mut entity_keys) = (Vec::new(), Vec::new());
        let (mut chains, mut kinds, mut addresses, mut sets) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            match key {
                EntityName::Slug(slug) => slugs.push(slug.clone()),
                EntityName::Key(key) => entity_keys.push(key.clone()),
                EntityName::At { chain, kind, address, set } => {
                    chains.push(*chain);
                    kinds.push(*kind);
                    addresses.push(address.clone());
                    sets.push(*set);
                }
            }
        }
        let mut query: QueryBuilder<Postgres> = QueryBuilder::new(format!(
            "SELECT {ENTITY_COLUMNS} FROM read_model.entities e WHERE e.slug = ANY("
        ));
        query.push_bind(slugs).push(") OR e.key = ANY(").push_bind(entity_keys);
        query.push(
            ") OR (e.chain_id, e.kind, e.address, e.operator_set_id) IN (SELECT * FROM unnest(",
        );
        query.push_bind(chains).push(", ").push_bind(kinds).push(", ");
        query.push_bind(addresses).push(", ").push_bind(sets).push("))");
        let rows: Vec<EntityRow> = reader.rows(query).await?;
        let names_it = |key: &EntityName, row: &EntityRow| match key {
            EntityName::Slug(slug) => *slug == row.slug,
            EntityName::Key(key) => *key == row.key,
            EntityName::At { chain, kind, address, set } => {
                (*chain, *kind, *set) == (row.chain_id, row.kind, row.operator_set_id)
                    && *address == row.address
            }
        };
        let find = |key: &EntityName| rows.iter().find(|row| names_it(key, row)).cloned();
        Ok(keys.iter().filter_map(|key| Some((key.clone(), find(key)?))).collect())
    }
}
