//! What if: scenarios played on the state of the log, and what the ratings would be.
//!
//! The read model holds no state that could be played on, so the binary brings a [`Simulator`]; it
//! is told which log the read model reflects and which position is asked about. What comes back is
//! what `assay stress` says.

use std::sync::Arc;

use alloy_primitives::B256;
use assay_domain::decimal::Ppt;
use assay_domain::scenario::{
    DAYS_MAX, Effect, Scenario, ScenarioError, Shock, StressSet, Targets,
};
use assay_domain::{AvsId, EntityKind as Kind, OperatorId, OperatorSetId};
use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, InputObject, Object, SimpleObject};
pub use futures_util::future::BoxFuture;

use crate::entity::{EntityKind, EntityName, RatedEntity};
use crate::error::ApiError;
use crate::frontier::{FoundFrontier, FrontierQuestion};
use crate::limit::{PAGE_DEFAULT, PAGE_MAX, SHOCKS_MAX};
use crate::network::FoundNetwork;
use crate::scalar::{Address, BigInt, Bytes32, ChainId, Grade};
use crate::scope::Scope;
use crate::session::Session;

/// Drivers of an effect that are shown.
const DRIVERS_MAX: usize = 20;

/// Plays scenarios on the state of the log.
pub trait Simulator: std::fmt::Debug + Send + Sync {
    /// What each scenario does at a moment, in their order.
    fn play(
        &self,
        moment: Moment,
        scenarios: Vec<Scenario>,
    ) -> BoxFuture<'static, Result<Simulated, SimulationError>>;

    /// The frontier of an entity's positions at a moment.
    fn frontier(
        &self,
        moment: Moment,
        asked: FrontierQuestion,
    ) -> BoxFuture<'static, Result<Arc<FoundFrontier>, SimulationError>>;

    /// The restaking network at a moment.
    fn network(&self, moment: Moment) -> BoxFuture<'static, Result<FoundNetwork, SimulationError>>;
}

/// The state that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The log as the read model reflects it: up to this storage position.
    pub storage_position: u64,
    /// Of that, everything up to this canonical position.
    pub position: u64,
    /// How often ratings had been made anew.
    pub revision: u32,
    /// The chain; `None`: the only one.
    pub chain_id: Option<u64>,
}

/// What scenarios do.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The chain.
    pub chain_id: u64,
    /// The methodology in force.
    pub methodology_hash: B256,
    /// Each scenario with whom it moves.
    pub played: Vec<(Scenario, Arc<Vec<Effect>>)>,
}

/// Why nothing was played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The scenario cannot be played.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// There is no frontier, with the reason.
    #[error("{0}")]
    Refused(String),
    /// The log holds nothing of the chain at that position.
    #[error("the log holds nothing of that chain at this position")]
    NoChain,
    /// The chain has to be named.
    #[error("the log has several chains: say chainId")]
    SeveralChains,
    /// Too many ask at once.
    #[error("too many scenarios are being played")]
    Busy,
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Unavailable,
}

impl From<SimulationError> for ApiError {
    fn from(error: SimulationError) -> Self {
        match error {
            SimulationError::Scenario(ScenarioError::Corrupt(_)) => {
                Self::Corrupt("a scenario contradicts the log")
            }
            SimulationError::Scenario(_)
            | SimulationError::Refused(_)
            | SimulationError::SeveralChains => Self::BadArgument(error.to_string()),
            SimulationError::NoChain => Self::NotFound(error.to_string()),
            SimulationError::Busy => Self::Unavailable("too many scenarios are being played"),
            SimulationError::Unavailable => Self::Unavailable("the log cannot be read"),
        }
    }
}

/// An operator that is slashed in every set it serves.
#[derive(Debug, Clone, InputObject)]
pub(crate) struct SlashInput {
    /// Who.
    pub operator: Address,
    /// Share of each of its allocations, 1e-12.
    pub share_ppt: BigInt,
}

/// An operator set.
#[derive(Debug, Clone, InputObject)]
pub(crate) struct OperatorSetInput {
    /// Its AVS.
    pub avs: Address,
    /// Its number within the AVS.
    pub operator_set_id: u32,
}

/// A price that falls.
#[derive(Debug, Clone, InputObject)]
pub(crate) struct PriceFallInput {
    /// The strategy or token whose price the log has.
    pub asset: Address,
    /// Share of the price that is lost, 1e-12; less than all of it.
    pub share_ppt: BigInt,
}

/// What happens, in this order. At least one field.
#[derive(Debug, Clone, Default, InputObject)]
pub(crate) struct ShocksInput {
    /// Operators that are slashed.
    pub slash: Option<Vec<SlashInput>>,
    /// Operator sets whose slasher takes everything that is allocated to them.
    pub compromise: Option<Vec<OperatorSetInput>>,
    /// A consensus bug in a client with this share of the validators, 1e-12.
    pub client_bug_ppt: Option<BigInt>,
    /// Nobody can leave for so many days more.
    pub exits_stopped_days: Option<u32>,
    /// Prices that fall.
    pub price: Option<Vec<PriceFallInput>>,
}

impl ShocksInput {
    fn shocks(self) -> Result<Vec<Shock>, ApiError> {
        let slash = self.slash.unwrap_or_default();
        let compromise = self.compromise.unwrap_or_default();
        let prices = self.price.unwrap_or_default();
        if [slash.len(), compromise.len(), prices.len()].into_iter().sum::<usize>() > SHOCKS_MAX {
            let message =
                format!("at most {SHOCKS_MAX} operators, sets and prices can be hit at once");
            return Err(ApiError::BadArgument(message));
        }
        let mut shocks = Vec::new();
        for one in slash {
            let operator = OperatorId(one.operator.0.into());
            let operators = Targets::Named(vec![operator]);
            shocks.push(Shock::OperatorsSlashed { operators, share: share(&one.share_ppt)? });
        }
        for set in compromise {
            let avs = AvsId(set.avs.0.into());
            let sets = Targets::Named(vec![OperatorSetId { avs, id: set.operator_set_id }]);
            shocks.push(Shock::SlashersCompromised { sets });
        }
        if let Some(affected) = &self.client_bug_ppt {
            shocks.push(Shock::ClientBug { affected: share(affected)? });
        }
        if let Some(days) = self.exits_stopped_days {
            if u64::from(days) > DAYS_MAX {
                let message = format!("exits stop for at most {DAYS_MAX} days");
                return Err(ApiError::BadArgument(message));
            }
            shocks.push(Shock::ExitsStopped { days: days.into() });
        }
        for one in prices {
            let asset = one.asset.0.into();
            shocks.push(Shock::PriceFallen { asset, share: share(&one.share_ppt)? });
        }
        if shocks.is_empty() {
            return Err(ApiError::BadArgument("say what happens".to_owned()));
        }
        Ok(shocks)
    }
}

fn share(ppt: &BigInt) -> Result<Ppt, ApiError> {
    let share = ppt.0.parse().ok().map(Ppt).filter(|share| *share <= Ppt::ONE);
    share.ok_or_else(|| ApiError::BadArgument("a share is at most 1000000000000".to_owned()))
}

/// Scenarios played at one position.
#[derive(Debug, Clone)]
pub(crate) struct StressTest {
    set: Option<(String, B256)>,
    simulated: Simulated,
    scope: Scope,
}

/// The fixed scenarios, all or those named.
pub(crate) async fn fixed(
    ctx: &Context<'_>,
    scope: Scope,
    chain_id: Option<ChainId>,
    names: Option<Vec<String>>,
) -> Result<StressTest, ApiError> {
    let set =
        StressSet::version_1().map_err(|_| ApiError::Corrupt("the embedded stress scenarios"))?;
    let find = |name: &String| {
        set.find(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = set.scenarios.iter().map(|one| one.name.as_str()).collect();
            ApiError::NotFound(format!("there are the scenarios {}", names.join(", ")))
        })
    };
    let scenarios = match &names {
        Some(names) if names.len() > set.scenarios.len() => {
            return Err(ApiError::BadArgument("a scenario is named twice".to_owned()));
        }
        Some(names) => names.iter().map(find).collect::<Result<_, _>>()?,
        None => set.scenarios.clone(),
    };
    let simulated = play(ctx, &scope, chain_id, scenarios).await?;
    Ok(StressTest { set: Some((set.version, set.hash)), simulated, scope })
}

/// A scenario of one's own.
pub(crate) async fn own(
    ctx: &Context<'_>,
    scope: Scope,
    chain_id: Option<ChainId>,
    shocks: ShocksInput,
) -> Result<StressTest, ApiError> {
    let scenario = Scenario::own(shocks.shocks()?);
    let simulated = play(ctx, &scope, chain_id, vec![scenario]).await?;
    Ok(StressTest { set: None, simulated, scope })
}

async fn play(
    ctx: &Context<'_>,
    scope: &Scope,
    chain_id: Option<ChainId>,
    scenarios: Vec<Scenario>,
) -> Result<Simulated, ApiError> {
    let simulator = simulator_of(ctx)?;
    let moment = moment_of(ctx, scope, chain_id.map(|chain| chain.0.cast_unsigned())).await?;
    Ok(simulator.play(moment, scenarios).await?)
}

/// What plays scenarios for this request.
pub(crate) fn simulator_of<'a>(ctx: &Context<'a>) -> Result<&'a Arc<dyn Simulator>, ApiError> {
    let found = ctx.data::<Arc<dyn Simulator>>();
    found.map_err(|_| ApiError::Unavailable("the log is not here: ask a running node"))
}

/// The state at a scope, by the log that this request's snapshot reflects.
pub(crate) async fn moment_of(
    ctx: &Context<'_>,
    scope: &Scope,
    chain_id: Option<u64>,
) -> Result<Moment, ApiError> {
    let session = Session::of(ctx)?;
    // The next version of this program may have other fixed scenarios: no cache keeps an answer
    // for ever.
    session.used_live();
    let pin = session.reader().await.pin().await?;
    Ok(Moment {
        storage_position: pin.storage_position.cast_unsigned(),
        position: scope.position.cast_unsigned(),
        revision: pin.revision.cast_unsigned(),
        chain_id,
    })
}

/// What scenarios do to the ratings, by the figures alone: no hysteresis, no outlook, no watch.
/// The same function as `assay stress`.
#[Object]
impl StressTest {
    /// Version of the set of fixed scenarios. Null for a scenario of one's own.
    async fn version(&self) -> Option<&str> {
        self.set.as_ref().map(|(version, _)| version.as_str())
    }

    /// sha256 of the file of fixed scenarios. Null for a scenario of one's own.
    async fn hash(&self) -> Option<Bytes32> {
        self.set.as_ref().map(|(_, hash)| (*hash).into())
    }

    /// The chain on which it happens.
    async fn chain_id(&self) -> ChainId {
        ChainId(self.simulated.chain_id.cast_signed())
    }

    /// Hash of the methodology in force.
    async fn methodology_hash(&self) -> Bytes32 {
        self.simulated.methodology_hash.into()
    }

    /// The scenarios.
    async fn scenarios(&self) -> Vec<PlayedScenario> {
        let played = self.simulated.played.iter();
        played
            .map(|(scenario, effects)| PlayedScenario {
                scenario: scenario.clone(),
                effects: effects.clone(),
                scope: self.scope.clone(),
            })
            .collect()
    }

    /// Whom the scenarios move, scenario by scenario, the worst hit first.
    async fn effects(
        &self,
        kind: Option<Vec<EntityKind>>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<usize, ScenarioEffect, EffectTotals>, ApiError> {
        let mut all = Vec::new();
        for (scenario, effects) in &self.simulated.played {
            all.extend(select(&scenario.name, effects, kind.as_deref(), &self.scope));
        }
        cut(all, first, after)
    }
}

/// A scenario, and whom it moves.
#[derive(Debug, Clone)]
pub(crate) struct PlayedScenario {
    scenario: Scenario,
    effects: Arc<Vec<Effect>>,
    scope: Scope,
}

/// A scenario, and what it does to the ratings.
#[Object]
impl PlayedScenario {
    /// Its short name.
    async fn name(&self) -> &str {
        &self.scenario.name
    }

    /// What happens, in words.
    async fn title(&self) -> &str {
        &self.scenario.title
    }

    /// How many entities end in a worse grade, or in none.
    async fn downgraded(&self) -> i32 {
        count(self.effects.iter().filter(|effect| notches(effect) > 0))
    }

    /// Whom it moves, the worst hit first.
    async fn effects(
        &self,
        kind: Option<Vec<EntityKind>>,
        first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<usize, ScenarioEffect, EffectTotals>, ApiError> {
        let (name, effects) = (&self.scenario.name, &self.effects);
        cut(select(name, effects, kind.as_deref(), &self.scope), first, after)
    }
}

/// What a scenario does to one entity.
#[derive(Debug, Clone)]
pub(crate) struct ScenarioEffect {
    scenario: String,
    effect: Effect,
    scope: Scope,
}

/// What a scenario does to one entity, by the figures alone.
#[Object]
impl ScenarioEffect {
    /// Short name of the scenario.
    async fn scenario(&self) -> &str {
        &self.scenario
    }

    /// The entity's slug.
    async fn slug(&self) -> String {
        self.effect.entity.to_string()
    }

    /// The entity. Null when it is not among the entities.
    async fn entity(&self, ctx: &Context<'_>) -> Result<Option<RatedEntity>, ApiError> {
        let slug = self.effect.entity.to_string();
        RatedEntity::by_name(ctx, &self.scope, EntityName::Slug(slug)).await
    }

    /// Share of the stake, or of a token's net asset value, that is lost at once, 1e-12. Null where
    /// stakes are unknown.
    async fn lost_ppt(&self) -> Option<BigInt> {
        self.effect.lost.map(|lost| BigInt(lost.0.to_string()))
    }

    /// The same in wei of ether, of what has a known price. Null where nothing has.
    async fn lost_wei(&self) -> Option<BigInt> {
        self.effect.lost_wei.map(|lost| BigInt(lost.to_string()))
    }

    /// The grade before, by the figures alone. Null: not rated.
    async fn grade_before(&self) -> Result<Option<Grade>, ApiError> {
        grade(self.effect.grade_before)
    }

    /// And after.
    async fn grade_after(&self) -> Result<Option<Grade>, ApiError> {
        grade(self.effect.grade_after)
    }

    /// Expected loss of the year before, 1e-12.
    async fn expected_loss_before_ppt(&self) -> BigInt {
        BigInt(self.effect.expected_loss_before.0.to_string())
    }

    /// And after.
    async fn expected_loss_after_ppt(&self) -> BigInt {
        BigInt(self.effect.expected_loss_after.0.to_string())
    }

    /// Loss blocks that it moves, the most moved first, at most 20. The changes of all add up to
    /// the change of the expected loss.
    async fn drivers(&self) -> Vec<EffectDriver> {
        let shown = self.effect.drivers.iter().take(DRIVERS_MAX);
        shown
            .map(|driver| EffectDriver {
                block: driver.block.clone(),
                before_ppt: BigInt(driver.before.0.to_string()),
                after_ppt: BigInt(driver.after.0.to_string()),
            })
            .collect()
    }
}

/// A loss block that a scenario moves, by its part of the expected loss.
#[derive(Debug, Clone, SimpleObject)]
pub(crate) struct EffectDriver {
    /// The block's id.
    pub block: String,
    /// Its part before, 1e-12; zero where there was no such block.
    pub before_ppt: BigInt,
    /// And after.
    pub after_ppt: BigInt,
}

/// How many there are.
#[derive(Debug, Clone, Copy, SimpleObject)]
pub(crate) struct EffectTotals {
    /// How many there are in all, on this page and on all others.
    pub total_count: i32,
}

fn grade(grade: Option<assay_domain::grade::Grade>) -> Result<Option<Grade>, ApiError> {
    grade.map(|grade| Grade::from_number(grade.number().into())).transpose()
}

/// Notches downwards; a rating that is lost is worse than any grade.
fn notches(effect: &Effect) -> i32 {
    const NOT_RATED: i32 = 21;
    let number = |grade: Option<assay_domain::grade::Grade>| {
        grade.map_or(NOT_RATED, |grade| grade.number().into())
    };
    number(effect.grade_after) - number(effect.grade_before)
}

fn select(
    scenario: &str,
    effects: &[Effect],
    kinds: Option<&[EntityKind]>,
    scope: &Scope,
) -> Vec<ScenarioEffect> {
    let is_wanted = |kind: Kind| {
        kinds.is_none_or(|kinds| kinds.iter().any(|one| one.number() == i16::from(kind.number())))
    };
    let mut found: Vec<&Effect> =
        effects.iter().filter(|effect| is_wanted(effect.entity.kind)).collect();
    let rise = |effect: &Effect| {
        effect.expected_loss_after.0.saturating_sub(effect.expected_loss_before.0)
    };
    found.sort_by_key(|effect| {
        std::cmp::Reverse((
            notches(effect),
            effect.lost,
            rise(effect),
            std::cmp::Reverse(effect.entity),
        ))
    });
    let shown = found.into_iter().map(|effect| ScenarioEffect {
        scenario: scenario.to_owned(),
        effect: effect.clone(),
        scope: scope.clone(),
    });
    shown.collect()
}

/// A page of what was played: a place in it is its number.
fn cut(
    all: Vec<ScenarioEffect>,
    first: Option<i32>,
    after: Option<String>,
) -> Result<Connection<usize, ScenarioEffect, EffectTotals>, ApiError> {
    let wanted = first.map_or(PAGE_DEFAULT, i64::from);
    if wanted > PAGE_MAX {
        return Err(ApiError::PageTooLarge { asked: wanted, limit: PAGE_MAX });
    }
    let wanted = usize::try_from(wanted)
        .map_err(|_| ApiError::BadArgument("first is not negative".to_owned()))?;
    let start = match after {
        None => 0,
        Some(text) => {
            let place: usize =
                text.parse().map_err(|_| ApiError::BadCursor("it is not a cursor of this list"))?;
            place.saturating_add(1)
        }
    };
    let total = all.len();
    let totals = EffectTotals { total_count: i32::try_from(total).unwrap_or(i32::MAX) };
    let has_next = start.saturating_add(wanted) < total;
    let mut page = Connection::with_additional_fields(start > 0, has_next, totals);
    let shown = all.into_iter().enumerate().skip(start).take(wanted);
    page.edges.extend(shown.map(|(place, effect)| Edge::new(place, effect)));
    Ok(page)
}

fn count<T>(found: impl Iterator<Item = T>) -> i32 {
    i32::try_from(found.count()).unwrap_or(i32::MAX)
}
