//! What if: things that have not happened, applied to a state and rated.
//!
//! A scenario is made into the events that the contracts would emit and folded by the fold that
//! knows no difference. The fixed set of stress scenarios lies beside the methodology and has a
//! hash of its own; a scenario of one's own is built from the same shocks.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::assess::{Opinion, When, assess, grade_of};
use crate::block::{BLOCKS_PER_EPOCH, BlockRef, ChainId};
use crate::decimal::{Ppt, mul_div_half_even, ppt_from_decimal};
use crate::event::{Event, Fact};
use crate::evidence::Evidence;
use crate::grade::{ExpectedLossPpt, Grade};
use crate::id::{OperatorId, OperatorSetId, RatedEntity, StakerId, StrategyId};
use crate::methodology::Methodology;
use crate::state::experience::BEACON_CHAIN_ETH;
use crate::state::operator::WAD;
use crate::state::staker::{mul_div_floor, mul_wad_floor};
use crate::state::{ChainState, CorruptHistory, State};
use crate::text::UntrustedText;
use crate::uncertainty::not_rated;

/// The fixed scenarios of version 1.
const STRESS_1: &str = include_str!("methodology/stress-1.json");

/// Days that exits may stop in a scenario: a year.
pub const DAYS_MAX: u64 = 366;

/// Shocks of one scenario.
pub const SHOCKS_MAX: usize = 1_000;

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Shock {
    /// Operators lose a share of all their allocations.
    OperatorsSlashed {
        /// Who.
        operators: Targets<OperatorId>,
        /// Share of each allocation, ppt; a decimal in a file.
        #[serde(deserialize_with = "ppt_from_decimal")]
        share: Ppt,
    },
    /// Whoever can slash for these sets takes all that is allocated to them.
    SlashersCompromised {
        /// Which.
        sets: Targets<OperatorSetId>,
    },
    /// A client has a consensus bug: its validators lose three times its share, all from a third on.
    /// Which client an operator runs is not known, so each has the network's mix.
    ClientBug {
        /// Share of all validators that run it.
        #[serde(deserialize_with = "ppt_from_decimal")]
        affected: Ppt,
    },
    /// Nobody can leave for this much longer than the contracts' delays.
    ExitsStopped {
        /// Days.
        days: u64,
    },
    /// What is staked, or a token, is worth less: the price that the log has of it falls.
    PriceFallen {
        /// Strategy or token.
        asset: Address,
        /// By this share.
        #[serde(deserialize_with = "ppt_from_decimal")]
        share: Ppt,
    },
}

/// Who is hit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets<T> {
    /// These.
    Named(Vec<T>),
    /// So many, by slashable stake of known value, then by allocated magnitude.
    Largest(usize),
}

/// Shocks with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name.
    pub name: String,
    /// What happens, in words.
    pub title: String,
    /// What happens, in order.
    pub shocks: Vec<Shock>,
}

impl Scenario {
    /// Shocks that somebody made up.
    #[must_use]
    pub fn own(shocks: Vec<Shock>) -> Self {
        let (name, title) = ("own".to_owned(), "a scenario of your own".to_owned());
        Self { name, title, shocks }
    }
}

/// The fixed scenarios.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StressSet {
    /// Version.
    pub version: String,
    /// The scenarios, in the order of the file.
    pub scenarios: Vec<Scenario>,
    /// sha256 of the file.
    pub hash: B256,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StressFile {
    version: String,
    scenarios: Vec<Scenario>,
}

impl StressSet {
    /// Version 1, from the file in this binary.
    ///
    /// # Errors
    /// When the file is wrong; a test reads it, so a released binary never says so.
    pub fn version_1() -> Result<Self, serde_json::Error> {
        let file: StressFile = serde_json::from_str(STRESS_1)?;
        let hash = B256::from(<[u8; 32]>::from(Sha256::digest(STRESS_1)));
        Ok(Self { version: file.version, scenarios: file.scenarios, hash })
    }

    /// The scenario of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }
}

/// Why a scenario cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Nobody of that name is in the log.
    #[error("{0} is not in the log of this chain")]
    Unknown(String),
    /// A share is above one, or a number too large.
    #[error("{0}")]
    OutOfRange(&'static str),
    /// The events contradict the log; a bug.
    #[error(transparent)]
    Corrupt(#[from] CorruptHistory),
}

/// A state to which a scenario happened.
#[derive(Debug, Clone)]
pub struct Stressed {
    /// The chain after it.
    pub chain: ChainState,
    /// The methodology, with the exits of the scenario.
    pub methodology: Methodology,
    /// The day after it.
    pub when: When,
}

/// Plays a scenario on one chain.
///
/// # Errors
/// When it names somebody who is not in the log, or a figure is out of range.
pub fn apply(
    chain: &ChainState,
    chain_id: ChainId,
    scenario: &Scenario,
    methodology: &Methodology,
) -> Result<Stressed, ScenarioError> {
    if scenario.shocks.len() > SHOCKS_MAX {
        return Err(ScenarioError::OutOfRange("a scenario has at most 1000 shocks"));
    }
    let mut state = State::default();
    state.chains.insert(chain_id, chain.clone());
    let mut stage = Stage {
        chain_id,
        block: BlockRef {
            number: chain.block_number.saturating_add(1),
            hash: B256::ZERO,
            timestamp: chain.time.saturating_add(12),
        },
        log_index: 0,
        state,
        methodology: methodology.clone(),
    };
    for shock in &scenario.shocks {
        stage.play(shock)?;
    }
    let chain = stage.state.chains.remove(&chain_id).unwrap_or_default();
    let when = When::newest(&chain);
    Ok(Stressed { chain, methodology: stage.methodology, when })
}

struct Stage {
    chain_id: ChainId,
    block: BlockRef,
    log_index: u32,
    state: State,
    methodology: Methodology,
}

impl Stage {
    fn play(&mut self, shock: &Shock) -> Result<(), ScenarioError> {
        match shock {
            Shock::OperatorsSlashed { operators, share } => {
                if *share > Ppt::ONE {
                    return Err(ScenarioError::OutOfRange("a slash takes at most 100 %"));
                }
                for operator in self.operators(operators)? {
                    for set in self.sets_of(operator) {
                        self.slash(operator, set, *share)?;
                    }
                }
            }
            Shock::SlashersCompromised { sets } => {
                for set in self.sets(sets)? {
                    for operator in self.operators_in(set) {
                        self.slash(operator, set, Ppt::ONE)?;
                    }
                }
            }
            Shock::ClientBug { affected } => {
                if *affected > Ppt::ONE {
                    return Err(ScenarioError::OutOfRange("a client has at most 100 %"));
                }
                let tripled = Ppt(affected.0.saturating_mul(3)).min(Ppt::ONE);
                self.lose_native(affected.times(tripled))?;
            }
            Shock::ExitsStopped { days } => {
                if *days > DAYS_MAX {
                    return Err(ScenarioError::OutOfRange("exits stop for at most 366 days"));
                }
                let more = days.saturating_mul(BLOCKS_PER_EPOCH);
                let clock = &mut self.methodology.clock;
                clock.exit_window_blocks = clock.exit_window_blocks.saturating_add(more);
            }
            Shock::PriceFallen { asset, share } => self.cheapen(*asset, *share)?,
        }
        Ok(())
    }

    fn chain(&self) -> Option<&ChainState> {
        self.state.chains.get(&self.chain_id)
    }

    fn happen(&mut self, event: Event) -> Result<(), ScenarioError> {
        let fact = Fact {
            chain_id: self.chain_id,
            block: self.block,
            tx_hash: B256::ZERO,
            log_index: self.log_index,
            emitter: alloy_primitives::Address::ZERO,
            event,
        };
        self.log_index = self.log_index.saturating_add(1);
        Ok(self.state.apply(&fact)?)
    }

    /// What `slashOperator` emits, in its order, for every strategy with an allocation.
    fn slash(
        &mut self,
        operator: OperatorId,
        set: OperatorSetId,
        share: Ppt,
    ) -> Result<(), ScenarioError> {
        let (mut strategies, mut wads) = (Vec::new(), Vec::new());
        for cut in self.cuts(operator, set, share) {
            let at = u32::try_from(self.block.number).unwrap_or(u32::MAX);
            let update = |magnitude, effect_block| Event::AllocationUpdated {
                operator,
                operator_set: set,
                strategy: cut.strategy,
                magnitude,
                effect_block,
            };
            if let Some((magnitude, effect_block)) = cut.pending {
                self.happen(update(magnitude, effect_block))?;
            }
            self.happen(update(cut.current, at))?;
            let (strategy, max_magnitude) = (cut.strategy, cut.max);
            self.happen(Event::MaxMagnitudeUpdated { operator, strategy, max_magnitude })?;
            if !cut.shares.is_zero() {
                let staker = StakerId(alloy_primitives::Address::ZERO);
                let shares = cut.shares;
                let lost = Event::OperatorSharesDecreased { operator, staker, strategy, shares };
                self.happen(lost)?;
            }
            strategies.push(strategy);
            wads.push(cut.wad);
        }
        if strategies.is_empty() {
            return Ok(());
        }
        self.happen(Event::OperatorSlashed {
            operator,
            operator_set: set,
            strategies,
            wad_slashed: wads,
            description: UntrustedText(Vec::new()),
        })
    }

    fn cuts(&self, operator: OperatorId, set: OperatorSetId, share: Ppt) -> Vec<Cut> {
        let Some(chain) = self.chain() else { return Vec::new() };
        let Some(known) = chain.operators.get(&operator) else { return Vec::new() };
        let zero = StrategyId(alloy_primitives::Address::ZERO);
        let held = chain.allocations.range((operator, set, zero)..);
        let held = held.take_while(|((who, of, _), _)| *who == operator && *of == set);
        held.filter_map(|((_, _, strategy), allocation)| {
            let now = allocation.current_at(self.block.number);
            let max = known.max_magnitude(*strategy);
            // Rounded against the operator, as the contract does.
            let cut = |magnitude: u64| {
                let product = u128::from(magnitude).saturating_mul(share.0.into());
                u64::try_from(product.div_ceil(u128::from(Ppt::ONE.0))).unwrap_or(u64::MAX)
            };
            let slashed = cut(now).min(now).min(max);
            if slashed == 0 {
                return None;
            }
            let pending = allocation.pending_at(self.block.number).map(|pending| {
                let left = pending.magnitude.saturating_sub(cut(pending.magnitude));
                (left, u32::try_from(pending.effect_block).unwrap_or(u32::MAX))
            });
            let part = |of: U256| mul_div_floor(of, U256::from(slashed), U256::from(max));
            Some(Cut {
                strategy: *strategy,
                current: now.saturating_sub(slashed),
                pending,
                max: max.saturating_sub(slashed),
                shares: known.shares.get(strategy).copied().and_then(part).unwrap_or_default(),
                wad: part(U256::from(WAD)).unwrap_or_default(),
            })
        })
        .collect()
    }

    /// A price is recorded anew, lower.
    fn cheapen(&mut self, asset: Address, share: Ppt) -> Result<(), ScenarioError> {
        if share >= Ppt::ONE {
            return Err(ScenarioError::OutOfRange("a price falls by less than 100 %"));
        }
        if StrategyId(asset) == BEACON_CHAIN_ETH {
            return Err(ScenarioError::OutOfRange("prices are in ether, so its own is always one"));
        }
        let known = self.chain().and_then(|chain| chain.price(StrategyId(asset)));
        let known = known.ok_or_else(|| ScenarioError::Unknown(format!("a price of {asset}")))?;
        let left = U256::from(share.complement().0);
        let price = mul_div_floor(known, left, U256::from(Ppt::ONE.0)).unwrap_or(known);
        // A price of zero would mean that there is none.
        self.happen(Event::PriceUpdated { asset, price: price.max(U256::ONE) })
    }

    /// Every operator's native ether shrinks, and every pod of a token.
    fn lose_native(&mut self, share: Ppt) -> Result<(), ScenarioError> {
        let held = |chain: &ChainState| -> Vec<(OperatorId, U256)> {
            let shares =
                |known: &crate::state::Operator| known.shares.get(&BEACON_CHAIN_ETH).copied();
            let found = chain.operators.iter();
            found.filter_map(|(id, known)| Some((*id, shares(known)?))).collect()
        };
        for (operator, shares) in self.chain().map(held).unwrap_or_default() {
            let lost = mul_div_floor(shares, U256::from(share.0), U256::from(Ppt::ONE.0));
            self.happen(Event::OperatorSharesDecreased {
                operator,
                staker: StakerId(alloy_primitives::Address::ZERO),
                strategy: BEACON_CHAIN_ETH,
                shares: lost.unwrap_or_default(),
            })?;
        }
        let lrts = self.chain().into_iter().flat_map(|chain| chain.lrts.values());
        let stakers: BTreeSet<StakerId> = lrts.flat_map(|lrt| lrt.stakers.clone()).collect();
        for staker in stakers {
            let known = self.chain().and_then(|chain| chain.stakers.get(&staker));
            let previous_factor =
                known.and_then(|known| known.beacon_chain_slashing_factor).unwrap_or(WAD);
            let left = share.complement().0;
            let left = mul_div_half_even(previous_factor.into(), left.into(), Ppt::ONE.0.into());
            let new_factor = u64::try_from(left).unwrap_or(u64::MAX);
            self.happen(Event::BeaconChainSlashingFactorDecreased {
                staker,
                previous_factor,
                new_factor,
            })?;
        }
        Ok(())
    }

    fn operators(&self, targets: &Targets<OperatorId>) -> Result<Vec<OperatorId>, ScenarioError> {
        let Some(chain) = self.chain() else { return Ok(Vec::new()) };
        match targets {
            Targets::Named(named) => {
                let unknown = named.iter().find(|id| !chain.operators.contains_key(*id));
                unknown.map_or(Ok(named.clone()), |id| Err(ScenarioError::Unknown(id.to_string())))
            }
            Targets::Largest(count) => {
                let size = |id: &OperatorId| (stake_of(chain, *id), self.magnitude_of(*id));
                Ok(largest(chain.operators.keys().copied(), size, *count))
            }
        }
    }

    fn sets(&self, targets: &Targets<OperatorSetId>) -> Result<Vec<OperatorSetId>, ScenarioError> {
        let Some(chain) = self.chain() else { return Ok(Vec::new()) };
        match targets {
            Targets::Named(named) => {
                let unknown = named.iter().find(|id| !chain.operator_sets.contains_key(id));
                unknown.map_or(Ok(named.clone()), |id| Err(ScenarioError::Unknown(id.to_string())))
            }
            Targets::Largest(count) => {
                let evidence =
                    Evidence { chain, when: When::newest(chain), methodology: &self.methodology };
                let size = |set: &OperatorSetId| {
                    let stake = evidence.stake_at_risk(*set).unwrap_or_default();
                    (stake, U256::from(self.operators_in(*set).len()))
                };
                Ok(largest(chain.operator_sets.keys().copied(), size, *count))
            }
        }
    }

    fn sets_of(&self, operator: OperatorId) -> BTreeSet<OperatorSetId> {
        let Some(chain) = self.chain() else { return BTreeSet::new() };
        let zero = alloy_primitives::Address::ZERO;
        let first = OperatorSetId { avs: crate::id::AvsId(zero), id: 0 };
        let held = chain.allocations.range((operator, first, StrategyId(zero))..);
        held.take_while(|((who, _, _), _)| *who == operator).map(|((_, set, _), _)| *set).collect()
    }

    fn operators_in(&self, set: OperatorSetId) -> BTreeSet<OperatorId> {
        let keys = self.chain().into_iter().flat_map(|chain| chain.allocations.keys());
        keys.filter(|(_, of, _)| *of == set).map(|(operator, _, _)| *operator).collect()
    }

    fn magnitude_of(&self, operator: OperatorId) -> U256 {
        let sets = self.sets_of(operator);
        let cuts = sets.into_iter().flat_map(|set| self.cuts(operator, set, Ppt::ONE));
        cuts.fold(U256::ZERO, |sum, cut| sum.saturating_add(cut.wad))
    }
}

/// What one strategy of a slash leaves.
struct Cut {
    strategy: StrategyId,
    current: u64,
    pending: Option<(u64, u32)>,
    max: u64,
    shares: U256,
    wad: U256,
}

fn largest<T: Copy + Ord, K: Ord>(
    all: impl Iterator<Item = T>,
    size: impl Fn(&T) -> K,
    count: usize,
) -> Vec<T> {
    let mut all: Vec<(std::cmp::Reverse<K>, T)> =
        all.map(|id| (std::cmp::Reverse(size(&id)), id)).collect();
    all.sort();
    all.into_iter().take(count).map(|(_, id)| id).collect()
}

/// Delegated stake of known value, wei.
fn stake_of(chain: &ChainState, operator: OperatorId) -> U256 {
    let shares = chain.operators.get(&operator).into_iter().flat_map(|known| &known.shares);
    shares.fold(U256::ZERO, |sum, (strategy, shares)| {
        let value = chain.price(*strategy).and_then(|price| mul_wad_floor(*shares, price));
        sum.saturating_add(value.unwrap_or_default())
    })
}

/// What a scenario does to one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Who.
    #[serde(serialize_with = "as_text")]
    pub entity: RatedEntity,
    /// Share of the stake that is rated which is lost at once; `None` where stakes are unknown.
    pub lost: Option<Ppt>,
    /// The same in wei, of what has a known price.
    #[serde(serialize_with = "maybe_text")]
    pub lost_wei: Option<U256>,
    /// Grade by the figures alone before; `None`: not rated.
    pub grade_before: Option<Grade>,
    /// And after.
    pub grade_after: Option<Grade>,
    /// Expected loss of the year before.
    pub expected_loss_before: ExpectedLossPpt,
    /// And after.
    pub expected_loss_after: ExpectedLossPpt,
    /// Loss blocks that it moves, the most moved first: their changes add up to the change of the
    /// expected loss.
    pub drivers: Vec<Driver>,
}

/// A loss block before and after, by its part of the expected loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// The block's id.
    pub block: String,
    /// Before; zero where there was no such block.
    pub before: ExpectedLossPpt,
    /// And after.
    pub after: ExpectedLossPpt,
}

fn drivers(
    before: &BTreeMap<String, ExpectedLossPpt>,
    after: &BTreeMap<String, ExpectedLossPpt>,
) -> Vec<Driver> {
    let of = |blocks: &BTreeMap<String, ExpectedLossPpt>, id: &str| {
        blocks.get(id).copied().unwrap_or_default()
    };
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let driver =
        |id: &String| Driver { block: id.clone(), before: of(before, id), after: of(after, id) };
    let mut moved: Vec<Driver> =
        ids.into_iter().map(driver).filter(|one| one.before != one.after).collect();
    moved.sort_by_key(|one| std::cmp::Reverse(one.before.0.abs_diff(one.after.0)));
    moved
}

fn as_text<S: serde::Serializer>(entity: &RatedEntity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(entity)
}

fn maybe_text<S: serde::Serializer>(wei: &Option<U256>, serializer: S) -> Result<S::Ok, S::Error> {
    match wei {
        Some(wei) => serializer.collect_str(wei),
        None => serializer.serialize_none(),
    }
}

/// Everyone's rating by the figures alone, before anything happens.
#[derive(Debug, Clone)]
pub struct Baseline(Vec<(RatedEntity, Figures)>);

/// What is compared of an opinion.
#[derive(Debug, Clone)]
struct Figures {
    /// `None`: not rated.
    grade: Option<Grade>,
    expected_loss: ExpectedLossPpt,
    /// Its parts, by block.
    blocks: BTreeMap<String, ExpectedLossPpt>,
    /// Of a token: what the log shows of it, and its net asset value, wei.
    held: Option<(U256, U256)>,
}

impl Baseline {
    /// Rates everyone on a chain, in the order of the entities.
    #[must_use]
    pub fn of(chain: &ChainState, chain_id: ChainId, methodology: &Methodology) -> Self {
        let now = When::newest(chain);
        let figures = |entity| (entity, Figures::of(chain, &entity, now, methodology));
        Self(chain.entities(chain_id).into_iter().map(figures).collect())
    }
}

impl Figures {
    fn of(chain: &ChainState, entity: &RatedEntity, when: When, methodology: &Methodology) -> Self {
        let opinion: Opinion = assess(chain, entity, when, methodology);
        let is_refused =
            opinion.refusal.is_some() || not_rated(&opinion.profile, methodology).is_some();
        let is_rated = opinion.is_default || !is_refused;
        let held = opinion.lrt.as_ref().map(|lrt| (lrt.look_through.seen, lrt.look_through.nav));
        Self {
            grade: is_rated.then(|| grade_of(&opinion, methodology)),
            expected_loss: opinion.profile.expected_loss(),
            blocks: opinion
                .profile
                .blocks()
                .iter()
                .map(|block| (block.id.clone(), block.expected_loss))
                .collect(),
            held,
        }
    }
}

/// What a scenario does to everyone whom it touches, in the order of the entities.
#[must_use]
pub fn effects(
    chain: &ChainState,
    baseline: &Baseline,
    stressed: &Stressed,
    methodology: &Methodology,
) -> Vec<Effect> {
    let effect = |(entity, before): &(RatedEntity, Figures)| {
        let after = Figures::of(&stressed.chain, entity, stressed.when, &stressed.methodology);
        // What a protocol states goes on being stated: what is lost is lost of what is seen.
        let (lost, lost_wei) = match (before.held, after.held) {
            (Some((seen, nav)), Some((left, _))) => share_lost(seen.saturating_sub(left), nav),
            _ => lost(chain, stressed, *entity, methodology),
        };
        Effect {
            entity: *entity,
            lost,
            lost_wei,
            grade_before: before.grade,
            grade_after: after.grade,
            expected_loss_before: before.expected_loss,
            expected_loss_after: after.expected_loss,
            drivers: drivers(&before.blocks, &after.blocks),
        }
    };
    let has_moved = |effect: &Effect| {
        effect.lost.is_some_and(|lost| lost > Ppt::ZERO)
            || effect.grade_before != effect.grade_after
            || effect.expected_loss_before != effect.expected_loss_after
    };
    baseline.0.iter().map(effect).filter(has_moved).collect()
}

/// A loss as a share of the whole and in wei; neither where there is no whole.
fn share_lost(lost: U256, whole: U256) -> (Option<Ppt>, Option<U256>) {
    let share = mul_div_floor(lost, U256::from(Ppt::ONE.0), whole);
    let share = share.and_then(|share| u64::try_from(share).ok()).map(Ppt);
    (share, (!whole.is_zero()).then_some(lost))
}

fn lost(
    chain: &ChainState,
    stressed: &Stressed,
    entity: RatedEntity,
    methodology: &Methodology,
) -> (Option<Ppt>, Option<U256>) {
    let value = |before: U256, after: U256| share_lost(before.saturating_sub(after), before);
    let sets = |wanted: &dyn Fn(&OperatorSetId) -> bool| {
        let total = |chain: &ChainState| {
            let evidence = Evidence { chain, when: When::newest(chain), methodology };
            let sets = chain.operator_sets.keys().filter(|set| wanted(set));
            let stakes = sets.filter_map(|set| evidence.stake_at_risk(*set));
            stakes.fold(U256::ZERO, U256::saturating_add)
        };
        value(total(chain), total(&stressed.chain))
    };
    match entity.kind {
        crate::id::EntityKind::Operator => {
            let id = OperatorId(entity.address);
            match value(stake_of(chain, id), stake_of(&stressed.chain, id)) {
                (None, _) => (magnitude_lost(chain, &stressed.chain, id), None),
                known => known,
            }
        }
        crate::id::EntityKind::Avs => sets(&|set| set.avs.0 == entity.address),
        crate::id::EntityKind::OperatorSet => {
            sets(&|set| set.avs.0 == entity.address && set.id == entity.operator_set_id)
        }
        // A token's is what its look-through loses; see [`effects`].
        crate::id::EntityKind::Lrt => (None, None),
    }
}

/// Without shares in the log, the worst strategy's loss of magnitude.
fn magnitude_lost(before: &ChainState, after: &ChainState, operator: OperatorId) -> Option<Ppt> {
    let (before, after) = (before.operators.get(&operator)?, after.operators.get(&operator)?);
    let lost = |strategy: &StrategyId| {
        let max = before.max_magnitude(*strategy);
        let gone = max.saturating_sub(after.max_magnitude(*strategy));
        let share = mul_div_half_even(gone.into(), Ppt::ONE.0.into(), max.max(1).into());
        Ppt(u64::try_from(share).unwrap_or(u64::MAX))
    };
    after.magnitudes.keys().map(lost).max()
}
