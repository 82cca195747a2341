//! The root of every query.

use async_graphql::{Context, ID, Interface, Object};

use crate::action::{ActionFilter, Actions, RatingAction, RatingActionWhere};
use crate::attestation::{Attestation, Attestations};
use crate::entity::{Avs, EntityKind, EntityName, Lrt, Operator, OperatorSet, RatedEntity};
use crate::error::ApiError;
use crate::frontier::{self, Frontier};
use crate::governance::{GovernanceChange, GovernanceChanges};
use crate::id::NodeId;
use crate::leaderboard::{Entities, EntityFilter, EntityOrder, EntityWhere};
use crate::network::{self, RestakingNetwork};
use crate::operator::{OperatorShares, OperatorSharesWhere, Shares, SharesFilter};
use crate::page::{Page, PageArgs, Parent, page, root_scope};
use crate::publication::{Publication, PublicationFilter, PublicationWhere, Publications};
use crate::rating::Rating;
use crate::scalar::{Address, BigInt, Bytes32, ChainId};
use crate::scope::{AsOf, Scope, Snapshot};
use crate::session::Session;
use crate::slashing::{SlashingEvent, SlashingFilter, SlashingWhere, Slashings};
use crate::status::{self, Status};
use crate::stress::{self, ShocksInput, StressTest};

/// An object with a globally unique, opaque id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The global id."))]
pub(crate) enum Node {
    /// An operator.
    Operator(Operator),
    /// An AVS.
    Avs(Avs),
    /// An operator set.
    OperatorSet(OperatorSet),
    /// A liquid restaking token.
    Lrt(Lrt),
    /// A rating.
    Rating(Rating),
    /// A rating action.
    RatingAction(RatingAction),
    /// A slashing event.
    SlashingEvent(SlashingEvent),
    /// A publication.
    Publication(Publication),
}

impl From<RatedEntity> for Node {
    fn from(entity: RatedEntity) -> Self {
        match entity {
            RatedEntity::Operator(operator) => Self::Operator(operator),
            RatedEntity::Avs(avs) => Self::Avs(avs),
            RatedEntity::OperatorSet(set) => Self::OperatorSet(set),
            RatedEntity::Lrt(lrt) => Self::Lrt(lrt),
        }
    }
}

/// The root of every query.
#[derive(Debug)]
pub struct Query;

/// Credit ratings of restaking, as of now or as of any point of the record. Lower scores are
/// safer, everywhere.
#[Object]
impl Query {
    /// Any object by its global id. Null when there is none.
    async fn node(
        &self,
        ctx: &Context<'_>,
        id: ID,
        as_of: Option<AsOf>,
    ) -> Result<Option<Node>, ApiError> {
        let id = NodeId::parse(&id)?;
        let scope = Scope::resolve(ctx, as_of).await?;
        Ok(match id {
            NodeId::Entity(slug) => {
                RatedEntity::by_name(ctx, &scope, EntityName::Slug(slug)).await?.map(Node::from)
            }
            NodeId::Rating { entity, position, block } => {
                Rating::at(ctx, &scope, 0, (entity, position, block)).await?.map(Node::Rating)
            }
            NodeId::Action(position) => {
                RatingAction::by_id(ctx, &scope, position).await?.map(Node::RatingAction)
            }
            NodeId::Slashing { chain, block_hash, log_index } => {
                let key = (chain, block_hash, log_index);
                SlashingEvent::by_id(ctx, &scope, key).await?.map(Node::SlashingEvent)
            }
            NodeId::Publication { chain, oracle, entity_key, seq } => {
                let key = (chain, oracle, entity_key, seq);
                Publication::by_id(ctx, &scope, key).await?.map(Node::Publication)
            }
        })
    }

    /// One entity, by its slug or by its key in the oracle contract: give exactly one. Null when
    /// it was not known.
    async fn entity(
        &self,
        ctx: &Context<'_>,
        slug: Option<String>,
        key: Option<Bytes32>,
        as_of: Option<AsOf>,
    ) -> Result<Option<RatedEntity>, ApiError> {
        let name = match (slug, key) {
            (Some(slug), None) => EntityName::Slug(slug.to_ascii_lowercase()),
            (None, Some(key)) => EntityName::Key(key.0.to_vec()),
            _ => return Err(ApiError::BadArgument("give either slug or key".to_owned())),
        };
        let scope = Scope::resolve(ctx, as_of).await?;
        RatedEntity::by_name(ctx, &scope, name).await
    }

    /// The operator at an address. Null when it was not known.
    async fn operator(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "ChainId(1)")] chain_id: ChainId,
        address: Address,
        as_of: Option<AsOf>,
    ) -> Result<Option<Operator>, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        Operator::find(ctx, &scope, chain_id.0, &address.0, 0).await
    }

    /// The AVS at an address. Null when it was not known.
    async fn avs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "ChainId(1)")] chain_id: ChainId,
        address: Address,
        as_of: Option<AsOf>,
    ) -> Result<Option<Avs>, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        Avs::find(ctx, &scope, chain_id.0, &address.0, 0).await
    }

    /// An operator set of an AVS. Null when it was not known.
    async fn operator_set(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "ChainId(1)")] chain_id: ChainId,
        #[graphql(desc = "The address of the AVS.")] avs: Address,
        #[graphql(desc = "The set's number within its AVS.")] operator_set_id: u32,
        as_of: Option<AsOf>,
    ) -> Result<Option<OperatorSet>, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        let set = i64::from(operator_set_id);
        OperatorSet::find(ctx, &scope, chain_id.0, &avs.0, set).await
    }

    /// The liquid restaking token at an address. Null when it was not known.
    async fn lrt(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "ChainId(1)")] chain_id: ChainId,
        address: Address,
        as_of: Option<AsOf>,
    ) -> Result<Option<Lrt>, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        Lrt::find(ctx, &scope, chain_id.0, &address.0, 0).await
    }

    /// Liquid restaking tokens, the safest first.
    async fn lrts(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<Lrt>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        let filter = EntityFilter::of_kind(EntityKind::Lrt)?;
        page::<Entities, _>(ctx, &scope, filter, Parent::default(), args, |row, scope| {
            match RatedEntity::new(row, scope)? {
                RatedEntity::Lrt(lrt) => Ok(lrt),
                _ => Err(ApiError::Corrupt("a liquid restaking token of another kind")),
            }
        })
        .await
    }

    /// All entities, the safest first unless told.
    #[expect(clippy::too_many_arguments, reason = "they are the field's arguments")]
    async fn entities(
        &self,
        ctx: &Context<'_>,
        r#where: Option<EntityWhere>,
        order_by: Option<EntityOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<RatedEntity>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        let filter = EntityFilter::new(r#where, order_by)?;
        page::<Entities, _>(ctx, &scope, filter, Parent::default(), args, RatedEntity::new).await
    }

    /// What was said about anyone, the newest first.
    #[expect(clippy::too_many_arguments, reason = "they are the field's arguments")]
    async fn rating_actions(
        &self,
        ctx: &Context<'_>,
        r#where: Option<RatingActionWhere>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<RatingAction>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        let filter = ActionFilter::new(r#where)?;
        page::<Actions, _>(ctx, &scope, filter, Parent::default(), args, |row, scope| {
            Ok(RatingAction::new(row, scope))
        })
        .await
    }

    /// Every slash, the newest first.
    #[expect(clippy::too_many_arguments, reason = "they are the field's arguments")]
    async fn slashings(
        &self,
        ctx: &Context<'_>,
        r#where: Option<SlashingWhere>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<SlashingEvent>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        let filter = SlashingFilter::new(r#where);
        page::<Slashings, _>(ctx, &scope, filter, Parent::default(), args, |row, scope| {
            Ok(SlashingEvent::new(row, scope))
        })
        .await
    }

    /// Shares delegated to operators, by chain, operator and strategy.
    #[expect(clippy::too_many_arguments, reason = "they are the field's arguments")]
    async fn operator_shares(
        &self,
        ctx: &Context<'_>,
        r#where: Option<OperatorSharesWhere>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<OperatorShares>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        let filter = SharesFilter::new(r#where);
        page::<Shares, _>(ctx, &scope, filter, Parent::default(), args, |row, scope| {
            Ok(OperatorShares::new(row, scope))
        })
        .await
    }

    /// Every signed claim that counts or counted, the newest first.
    async fn attestations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<Attestation>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        page::<Attestations, _>(ctx, &scope, false, Parent::default(), args, |row, scope| {
            Ok(Attestation::new(row, scope))
        })
        .await
    }

    /// Who can change the contracts that hold slashing power, the newest change first: all, or
    /// those that concern the entity with this slug.
    #[expect(clippy::too_many_arguments, reason = "they are the field's arguments")]
    async fn governance_changes(
        &self,
        ctx: &Context<'_>,
        entity: Option<String>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        as_of: Option<AsOf>,
    ) -> Result<Page<GovernanceChange>, ApiError> {
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, as_of, &args).await?;
        page::<GovernanceChanges, _>(ctx, &scope, entity, Parent::default(), args, |row, scope| {
            Ok(GovernanceChange::new(row, scope))
        })
        .await
    }

    /// What the fixed stress scenarios would do to the ratings: all of them, or those named.
    async fn stress(
        &self,
        ctx: &Context<'_>,
        scenarios: Option<Vec<String>>,
        #[graphql(desc = "The chain, where the log has several.")] chain_id: Option<ChainId>,
        as_of: Option<AsOf>,
    ) -> Result<StressTest, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        stress::fixed(ctx, scope, chain_id, scenarios).await
    }

    /// What would become of the ratings if this happened.
    async fn what_if(
        &self,
        ctx: &Context<'_>,
        shocks: ShocksInput,
        #[graphql(desc = "The chain, where the log has several.")] chain_id: Option<ChainId>,
        as_of: Option<AsOf>,
    ) -> Result<StressTest, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        stress::own(ctx, scope, chain_id, shocks).await
    }

    /// The restaking network of a chain: how far the stake behind its operator sets is above what
    /// corrupting them would gain, and how far a shock can spread.
    async fn network(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The chain, where the log has several.")] chain_id: Option<ChainId>,
        as_of: Option<AsOf>,
    ) -> Result<RestakingNetwork, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        network::network(ctx, scope, chain_id).await
    }

    /// The least tail risk for each reward that an operator or a liquid restaking token can earn
    /// with its positions. Null when it was not known.
    async fn frontier(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Slug of the operator or token.")] entity: String,
        #[graphql(desc = "Level of the tail, 1e-12; 95 % unless told.")] level_ppt: Option<BigInt>,
        #[graphql(desc = "Points, 2 to 41; 11 unless told.")] points: Option<i32>,
        as_of: Option<AsOf>,
    ) -> Result<Option<Frontier>, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        frontier::frontier(ctx, scope, entity, level_ppt, points).await
    }

    /// What stands in oracle contracts, the newest first. Not pinned: it tells how things stand
    /// now.
    async fn publications(
        &self,
        ctx: &Context<'_>,
        r#where: Option<PublicationWhere>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Publication>, ApiError> {
        Session::of(ctx)?.used_live();
        let args = PageArgs { first, after, last, before };
        let scope = root_scope(ctx, None, &args).await?;
        let filter = PublicationFilter::new(r#where)?;
        page::<Publications, _>(ctx, &scope, filter, Parent::default(), args, |row, scope| {
            Ok(Publication::new(row, scope))
        })
        .await
    }

    /// The position that an `asOf` stands for, and its block.
    async fn snapshot(&self, ctx: &Context<'_>, as_of: Option<AsOf>) -> Result<Snapshot, ApiError> {
        let scope = Scope::resolve(ctx, as_of).await?;
        scope.snapshot(ctx).await
    }

    /// How far Assay has come.
    async fn status(&self, ctx: &Context<'_>) -> Result<Status, ApiError> {
        let session = Session::of(ctx)?;
        session.used_live();
        let mut reader = session.reader().await;
        status::status(&mut reader).await
    }
}
