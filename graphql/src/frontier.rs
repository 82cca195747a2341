//! The risk-return frontier of an operator or a token: the least tail risk for each reward, over
//! the positions that the log knows it by. The same function as `assay frontier --of`.

use std::sync::Arc;

use assay_domain::assess::positions::{HeldPosition, PositionId};
use assay_domain::decimal::Ppt;
use assay_domain::{EntityKind as Kind, RatedEntity as Id};
use async_graphql::{Context, Object, SimpleObject};

use crate::entity::{EntityName, Operator, OperatorSet, RatedEntity};
use crate::error::ApiError;
use crate::limit::FRONTIER_POINTS_MAX;
use crate::scalar::{Address, BigInt, DateTime};
use crate::scope::Scope;
use crate::stress::{moment_of, simulator_of};

/// Whose frontier is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontierQuestion {
    /// An operator or a liquid restaking token.
    pub entity: Id,
    /// Level of the tail.
    pub level: Ppt,
    /// Points, 2 or more.
    pub points: u16,
}

/// What was found; shares and yearly rewards are ppt of the whole.
#[derive(Debug, Clone)]
pub struct FoundFrontier {
    /// The positions; what is idle is none of them.
    pub positions: Vec<HeldPosition>,
    /// Days over which rewards were earned, and their begin and end in seconds.
    pub window: Option<(u64, u64, u64)>,
    /// The frontier, rising reward.
    pub points: Vec<FoundPoint>,
    /// Reward and tail risk of what is held now.
    pub held: Option<(Ppt, Ppt)>,
}

/// One point of it.
#[derive(Debug, Clone)]
pub struct FoundPoint {
    /// Its reward.
    pub reward: Ppt,
    /// Its tail risk.
    pub risk: Ppt,
    /// At most so far from the least there can be.
    pub gap: Ppt,
    /// Weight of each position.
    pub weights: Vec<Ppt>,
}

/// Answers the field.
pub(crate) async fn frontier(
    ctx: &Context<'_>,
    scope: Scope,
    slug: String,
    level_ppt: Option<BigInt>,
    points: Option<i32>,
) -> Result<Option<Frontier>, ApiError> {
    let name = EntityName::Slug(slug.to_ascii_lowercase());
    let Some(entity) = RatedEntity::by_name(ctx, &scope, name).await? else { return Ok(None) };
    let id = entity.domain_id()?;
    if !matches!(id.kind, Kind::Operator | Kind::Lrt) {
        let message = "only operators and liquid restaking tokens hold positions";
        return Err(ApiError::BadArgument(message.to_owned()));
    }
    let level = match level_ppt {
        None => Some(Ppt(950_000_000_000)),
        Some(level) => level.0.parse().ok().map(Ppt),
    };
    let level = level.filter(|level| *level > Ppt::ZERO && *level < Ppt::ONE);
    let level = level.ok_or_else(|| {
        ApiError::BadArgument("a level is above 0 and below 1000000000000".to_owned())
    })?;
    let points = u16::try_from(points.unwrap_or(11)).ok();
    let points = points.filter(|points| (2..=FRONTIER_POINTS_MAX).contains(points));
    let points = points.ok_or_else(|| {
        ApiError::BadArgument(format!("a frontier has 2 to {FRONTIER_POINTS_MAX} points"))
    })?;
    let simulator = simulator_of(ctx)?;
    let moment = moment_of(ctx, &scope, Some(id.chain_id)).await?;
    let asked = FrontierQuestion { entity: id, level, points };
    let found = simulator.frontier(moment, asked).await?;
    Ok(Some(Frontier { found, level, chain: id.chain_id.cast_signed(), scope }))
}

/// A frontier, as it is told.
#[derive(Debug)]
pub(crate) struct Frontier {
    found: Arc<FoundFrontier>,
    level: Ppt,
    chain: i64,
    scope: Scope,
}

/// Reward against tail risk, both shares of the whole a year in 1e-12.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct FrontierPoint {
    /// The reward.
    pub reward_ppt: BigInt,
    /// Expected shortfall at the frontier's level, of the exact loss distribution of these weights.
    pub risk_ppt: BigInt,
    /// No other weights that earn as much have a risk that is lower by more than this. Null for
    /// what is held now.
    pub gap_ppt: Option<BigInt>,
    /// Weight of each position, in their order; the rest is idle. Empty for what is held now.
    pub weights_ppt: Vec<BigInt>,
}

fn ppt(share: Ppt) -> BigInt {
    BigInt(share.0.to_string())
}

/// The least tail risk for each reward that the positions can earn together. Rewards in a token
/// without a recorded price count as nothing.
#[Object]
impl Frontier {
    /// Level of the expected shortfall, 1e-12.
    async fn level_ppt(&self) -> BigInt {
        ppt(self.level)
    }

    /// Begin of the window over which rewards were earned. Null when none were.
    async fn rewards_from(&self) -> Option<DateTime> {
        self.found.window.map(|(_, from, _)| DateTime::from_seconds(from.cast_signed()))
    }

    /// Its end.
    async fn rewards_to(&self) -> Option<DateTime> {
        self.found.window.map(|(_, _, to)| DateTime::from_seconds(to.cast_signed()))
    }

    /// The positions.
    async fn positions(&self) -> Vec<FrontierPosition> {
        let held = |held: &HeldPosition| FrontierPosition {
            id: held.id,
            held: held.clone(),
            chain: self.chain,
            scope: self.scope.clone(),
        };
        self.found.positions.iter().map(held).collect()
    }

    /// The frontier, in the order of rising rewards.
    async fn points(&self) -> Vec<FrontierPoint> {
        let point = |point: &FoundPoint| FrontierPoint {
            reward_ppt: ppt(point.reward),
            risk_ppt: ppt(point.risk),
            gap_ppt: Some(ppt(point.gap)),
            weights_ppt: point.weights.iter().copied().map(ppt).collect(),
        };
        self.found.points.iter().map(point).collect()
    }

    /// What is held now.
    async fn held(&self) -> Option<FrontierPoint> {
        self.found.held.map(|(reward, risk)| FrontierPoint {
            reward_ppt: ppt(reward),
            risk_ppt: ppt(risk),
            gap_ppt: None,
            weights_ppt: Vec::new(),
        })
    }
}

/// An operator in an operator set.
#[derive(Debug)]
pub(crate) struct FrontierPosition {
    id: PositionId,
    held: HeldPosition,
    chain: i64,
    scope: Scope,
}

/// An operator in an operator set, what is held there and what it earns.
#[Object]
impl FrontierPosition {
    /// The operator's address.
    async fn operator_address(&self) -> Address {
        self.id.0.0.into()
    }

    /// The operator. Null when it is not among the entities.
    async fn operator(&self, ctx: &Context<'_>) -> Result<Option<Operator>, ApiError> {
        Operator::find(ctx, &self.scope, self.chain, self.id.0.0.as_slice(), 0).await
    }

    /// The operator set. Null when it is not among the entities.
    async fn operator_set(&self, ctx: &Context<'_>) -> Result<Option<OperatorSet>, ApiError> {
        let set = self.id.1;
        let (avs, id) = (set.avs.0, i64::from(set.id));
        OperatorSet::find(ctx, &self.scope, self.chain, avs.as_slice(), id).await
    }

    /// Share of the whole that is held in it, 1e-12.
    async fn weight_ppt(&self) -> BigInt {
        ppt(self.held.weight)
    }

    /// The most that can be held in it, 1e-12.
    async fn limit_ppt(&self) -> BigInt {
        ppt(self.held.limit)
    }

    /// What it earns a year, net of the operator's split, 1e-12 of the stake.
    async fn yearly_reward_ppt(&self) -> BigInt {
        ppt(self.held.reward.yearly)
    }

    /// Tokens that were earned too and have no recorded price.
    async fn unpriced_tokens(&self) -> Vec<Address> {
        self.held.reward.unpriced.iter().copied().map(Address::from).collect()
    }

    /// Tokens of which the operator got less than it should have, as attested; no more counts.
    async fn realised_tokens(&self) -> Vec<RealisedReward> {
        let realised = self.held.reward.realised.iter();
        realised
            .map(|(token, share)| RealisedReward { token: (*token).into(), share_ppt: ppt(*share) })
            .collect()
    }

    /// Whether the reward is what the set's members earn together, for want of own stake.
    async fn is_of_set(&self) -> bool {
        self.held.reward.is_of_set
    }
}

/// What an operator got of a token at most.
#[derive(Debug, SimpleObject)]
pub(crate) struct RealisedReward {
    /// The token.
    pub token: Address,
    /// Share of what it should have got, 1e-12.
    pub share_ppt: BigInt,
}
