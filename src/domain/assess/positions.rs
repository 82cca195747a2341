//! Positions as the log has them: what each may lose, and what it earns a year (methodology §2.11).
//!
//! A position is an operator in an operator set. What it earns is what submissions name for it, and
//! its part of what they pay by a rule, after the operator's split, over the stake that earned it;
//! gas is in no log. Where somebody attests that an operator got less of a token than submissions
//! say, no more of it counts. Rewards in a token without a recorded price count as nothing. The protocol's
//! own incentives, and rewards for being in the AVSDirectory, are earned without slashable stake
//! and are no position's.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};

use super::{Assessor, PLATFORM, When, assess, platform};
use crate::attestation::{Claim, Topic};
use crate::block::DAY_SECONDS;
use crate::decimal::{ATTO_ONE, PPT_ONE, Ppt};
use crate::event::RewardedService;
use crate::frontier::PositionBlock;
use crate::id::{EntityKind, LrtId, OperatorId, OperatorSetId, RatedEntity, StrategyId};
use crate::loss::LossModel;
use crate::loss_block::LossClass;
use crate::lrt::Place;
use crate::methodology::Methodology;
use crate::operator::{OperatorInputs, SetPosition, operator_profile};
use crate::state::ChainState;
use crate::state::operator::WAD;
use crate::state::rewards::{Earner, Window};
use crate::state::staker::{mul_div_floor, slashable_shares};
use crate::tail::{loss_model, on_positions};
use crate::what_if::Tweak;

/// Positions of one book; more is no question that a solver answers in time.
pub const POSITIONS_MAX: usize = 100;

/// An operator in an operator set.
pub type PositionId = (OperatorId, OperatorSetId);

/// Whose positions are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// An operator's, per unit delegated to it, or a liquid restaking token's, per unit of its net
    /// asset value.
    Entity(&'a RatedEntity),
    /// These, each with its share of the whole.
    Positions(&'a [(PositionId, Ppt)]),
}

/// A position and what it earns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPosition {
    /// Who and where.
    pub id: PositionId,
    /// Share of the whole that is held in it now.
    pub weight: Ppt,
    /// The most that can be held in it.
    pub limit: Ppt,
    /// What it earns.
    pub reward: Reward,
}

/// What a position earns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reward {
    /// Net of the operator's split, a year, ppt of the stake.
    pub yearly: Ppt,
    /// Wei of ether earned within the window by all of the operator's stake in the set.
    pub wei: U256,
    /// Wei of stake times days that earned it.
    pub stake_days: U256,
    /// Tokens that were earned too and have no recorded price.
    pub unpriced: BTreeSet<Address>,
    /// Tokens of which the operator got less than it should have, as attested, with the share that
    /// it got at most; no more of them counts.
    pub realised: BTreeMap<Address, Ppt>,
    /// Whether it is what the set's members earn together, for want of own stake.
    pub is_of_set: bool,
}

/// Positions, what limits them, and what can happen to them.
#[derive(Debug)]
pub struct Book {
    /// By operator and set.
    pub positions: Vec<HeldPosition>,
    /// Positions that share an operator's stake, and the most they can have together.
    pub groups: Vec<(Vec<usize>, Ppt)>,
    /// What can happen. The last loss of an outcome is that of what is idle.
    pub blocks: Vec<PositionBlock>,
    /// The window over which rewards were earned.
    pub window: Option<Window>,
    /// The rated distribution of a liquid restaking token.
    pub rated: Option<LossModel>,
    /// What selling 1 % of a liquid restaking token costs, if anybody attests it.
    pub sale_cost: Option<Ppt>,
}

/// Why there is no book.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// Only operators and liquid restaking tokens hold positions.
    #[error("{0} holds no positions; ask for an operator, a liquid restaking token or positions")]
    NotAHolder(RatedEntity),
    /// The log knows no position.
    #[error("the log has no position whose value is known; stake without a price has none")]
    Empty,
    /// The set is in no event.
    #[error("the log has no operator set {0}")]
    UnknownSet(OperatorSetId),
    /// Shares of a whole are at most the whole.
    #[error("the positions' shares come to more than 100 %")]
    MoreThanAll,
    /// Too many positions.
    #[error("{0} positions, expected at most {POSITIONS_MAX}")]
    TooMany(usize),
}

/// The positions of a subject, and one more that it might opt in to.
///
/// # Errors
/// When there are none, or too many.
pub fn book(
    chain: &ChainState,
    subject: Subject<'_>,
    opt_in: Option<PositionId>,
    when: When,
    methodology: &Methodology,
) -> Result<Book, BookError> {
    let assessor = Assessor { chain, when, methodology, tweak: Tweak::NONE };
    let (mut rated, mut sale_cost) = (None, None);
    let mut everywhere = vec![platform(chain, when, methodology)];
    // What each operator has of the whole: no more can be in its sets.
    let mut stakes: BTreeMap<OperatorId, Ppt> = BTreeMap::new();
    let mut weights: BTreeMap<PositionId, Ppt> = BTreeMap::new();
    match subject {
        Subject::Positions(positions) => {
            for (id, weight) in positions {
                let held = weights.entry(*id).or_insert(Ppt::ZERO);
                held.0 = held.0.saturating_add(weight.0);
                stakes.insert(id.0, Ppt::ONE);
            }
        }
        Subject::Entity(entity) => match entity.kind {
            EntityKind::Operator => {
                let operator = OperatorId(entity.address);
                weights = assessor.weights_of_operator(operator);
                stakes.insert(operator, Ppt::ONE);
            }
            EntityKind::Lrt => {
                (weights, stakes) = assessor.weights_of_token(LrtId(entity.address));
                let opinion = assess(chain, entity, when, methodology);
                let is_base =
                    |class| matches!(class, LossClass::C6 | LossClass::C7 | LossClass::C8);
                let blocks = opinion.profile.blocks().iter();
                everywhere = blocks.filter(|block| is_base(block.class)).cloned().collect();
                let run = opinion.lrt.as_ref().map(|lrt| lrt.run);
                rated = loss_model(&opinion.profile, run, methodology).ok();
                let sale = opinion.lrt.as_ref().and_then(|lrt| lrt.liquidity.by_cost);
                sale_cost = sale.map(|(_, sale)| sale.cost);
            }
            EntityKind::Avs | EntityKind::OperatorSet => {
                return Err(BookError::NotAHolder(*entity));
            }
        },
    }
    if weights.is_empty() {
        return Err(BookError::Empty);
    }
    if weights.values().fold(0, |sum: u64, weight| sum.saturating_add(weight.0)) > PPT_ONE {
        return Err(BookError::MoreThanAll);
    }
    if let Some(id) = opt_in {
        weights.entry(id).or_insert(Ppt::ZERO);
        stakes.entry(id.0).or_insert(Ppt::ONE);
    }
    if weights.len() > POSITIONS_MAX {
        return Err(BookError::TooMany(weights.len()));
    }
    let ids: Vec<PositionId> = weights.keys().copied().collect();
    if let Some((_, set)) = ids.iter().find(|(_, set)| !chain.operator_sets.contains_key(set)) {
        return Err(BookError::UnknownSet(*set));
    }
    let limit = |operator| stakes.get(&operator).copied().unwrap_or(Ppt::ONE);
    let held = |(id, weight): (&PositionId, &Ppt)| HeldPosition {
        id: *id,
        weight: *weight,
        limit: limit(id.0).max(*weight),
        reward: assessor.reward(*id),
    };
    let positions: Vec<HeldPosition> = weights.iter().map(held).collect();
    let groups = stakes
        .keys()
        .map(|operator| {
            let own = (0..).zip(&positions).filter(|(_, position)| position.id.0 == *operator);
            let (own, held): (Vec<usize>, Vec<Ppt>) =
                own.map(|(index, position)| (index, position.weight)).unzip();
            let held = held.into_iter().fold(Ppt::ZERO, Ppt::capped_add);
            (own, limit(*operator).max(held))
        })
        .filter(|(own, limit)| own.len() > 1 && *limit < Ppt::ONE)
        .collect();
    let mut blocks = assessor.blocks_on(&ids);
    let all = vec![true; ids.len().saturating_add(1)];
    blocks.extend(everywhere.iter().filter_map(|block| on_positions(block, &all, methodology)));
    let window = chain.rewards.window();
    Ok(Book { positions, groups, blocks, window, rated, sale_cost })
}

impl Assessor<'_> {
    /// Shares of an operator's delegated stake of known value that its sets can slash.
    fn weights_of_operator(&self, operator: OperatorId) -> BTreeMap<PositionId, Ppt> {
        let Some(known) = self.chain.operators.get(&operator) else { return BTreeMap::new() };
        let value = |strategy: StrategyId, shares: U256| {
            mul_div_floor(shares, self.chain.price(strategy)?, U256::from(WAD))
        };
        let all = known.shares.iter().filter_map(|(strategy, shares)| value(*strategy, *shares));
        let all = all.fold(U256::ZERO, U256::saturating_add);
        let mut slashable: BTreeMap<PositionId, U256> = BTreeMap::new();
        for (set, strategy) in self.allocations_of(operator) {
            let shares = self.slashable((operator, set), strategy);
            let sum = slashable.entry((operator, set)).or_default();
            *sum = sum.saturating_add(value(strategy, shares).unwrap_or_default());
        }
        shares_of(slashable, all)
    }

    /// Shares of a token's net asset value by position, and by operator.
    fn weights_of_token(
        &self,
        token: LrtId,
    ) -> (BTreeMap<PositionId, Ppt>, BTreeMap<OperatorId, Ppt>) {
        let opinion = self.lrt(token);
        let Some(lrt) = opinion.lrt else { return Default::default() };
        let mut slashable: BTreeMap<PositionId, U256> = BTreeMap::new();
        let mut with: BTreeMap<OperatorId, U256> = BTreeMap::new();
        for position in &lrt.look_through.positions {
            let operator = match position.place {
                Place::Slashable { operator, operator_set, .. } => {
                    let sum = slashable.entry((operator, operator_set)).or_default();
                    *sum = sum.saturating_add(position.value);
                    operator
                }
                Place::Unallocated { operator, .. } => operator,
                _ => continue,
            };
            let sum = with.entry(operator).or_default();
            *sum = sum.saturating_add(position.value);
        }
        let nav = lrt.look_through.nav;
        (shares_of(slashable, nav), shares_of(with, nav))
    }

    /// Shares of a strategy that a set can take from an operator.
    fn slashable(&self, (operator, set): PositionId, strategy: StrategyId) -> U256 {
        let found = || {
            let known = self.chain.operators.get(&operator)?;
            let allocation = self.chain.allocations.get(&(operator, set, strategy))?;
            let is_slashable =
                self.is_slashable(operator, strategy, self.chain.operator_sets.get(&set)?);
            let magnitude = if is_slashable { allocation.current_at(self.when.block) } else { 0 };
            let shares = known.shares.get(&strategy)?;
            slashable_shares(*shares, U256::ZERO, magnitude, known.max_magnitude(strategy))
        };
        found().unwrap_or_default()
    }

    /// What can happen to positions, each as a share of the position.
    fn blocks_on(&self, ids: &[PositionId]) -> Vec<PositionBlock> {
        let mut blocks = Vec::new();
        // The last place is that of what is idle.
        let touched = |is_in: &dyn Fn(&PositionId) -> bool| -> Vec<bool> {
            ids.iter().map(is_in).chain([false]).collect()
        };
        let operators: BTreeSet<OperatorId> = ids.iter().map(|(operator, _)| *operator).collect();
        for operator in operators {
            let own = ids.iter().filter(|(who, _)| *who == operator);
            let inputs = OperatorInputs {
                operator: operator.to_string(),
                positions: own.filter_map(|id| self.whole(*id)).collect(),
                unencumbered: Ppt::ZERO,
            };
            for block in operator_profile(&inputs, self.methodology).blocks() {
                let is_hit = |(who, set): &PositionId| {
                    *who == operator
                        && (block.class == LossClass::C1Wide
                            || block.id == format!("{}|{operator}|{set}", block.class))
                };
                blocks.extend(on_positions(block, &touched(&is_hit), self.methodology));
            }
        }
        let sets: BTreeSet<OperatorSetId> = ids.iter().map(|(_, set)| *set).collect();
        let whole: BTreeMap<OperatorSetId, Ppt> = sets.iter().map(|set| (*set, Ppt::ONE)).collect();
        for group in self.groups_of(&sets) {
            for block in self.group_blocks(&group, &whole) {
                let is_hit = |(_, set): &PositionId| match block.class {
                    LossClass::C5 => block.id == format!("{}|{set}", block.class),
                    _ => group.contains(set),
                };
                blocks.extend(on_positions(&block, &touched(&is_hit), self.methodology));
            }
        }
        blocks
    }

    /// A position as if all of a unit were allocated to it.
    pub(super) fn whole(&self, (operator, set): PositionId) -> Option<SetPosition> {
        let known = self.chain.operator_sets.get(&set)?;
        let inputs = self.set_inputs(set, known, self.benchmark());
        let any = StrategyId(Address::ZERO);
        let one = self.position((operator, any), set, known, &inputs);
        Some(SetPosition {
            group: PLATFORM.to_owned(),
            allocated: Ppt::ONE,
            latent: Ppt::ZERO,
            common: Vec::new(),
            ..one
        })
    }

    /// What a position earns; what its set's members earn together where it has no stake of its
    /// own, less its own split.
    fn reward(&self, id: PositionId) -> Reward {
        let own = self.rewards_of(&[id], id);
        if !own.stake_days.is_zero() {
            return own;
        }
        let members: Vec<PositionId> =
            self.members(id.1).map(|operator| (operator, id.1)).collect();
        Reward { is_of_set: true, ..self.rewards_of(&members, id) }
    }

    /// What positions in one set earn together, after the split of `splitting`.
    fn rewards_of(&self, positions: &[PositionId], splitting: PositionId) -> Reward {
        let rewards = &self.chain.rewards;
        let (operator, set) = splitting;
        let mut reward = Reward::default();
        let mut by_avs: BTreeMap<Address, U256> = BTreeMap::new();
        let mut by_set: BTreeMap<Address, U256> = BTreeMap::new();
        for (member, _) in positions {
            reward.stake_days = reward.stake_days.saturating_add(rewards.stake_days(*member, set));
            let (own, all) = self.stake_in_avs(*member, set);
            let servant = Earner::ServantOf(*member, set.avs);
            add_part(&mut by_avs, rewards.earned(&servant), own, all);
            add_part(
                &mut by_set,
                rewards.earned(&Earner::Member(*member, set)),
                U256::ONE,
                U256::ONE,
            );
        }
        for rule in rewards.rules_of(set) {
            let (own, all) = self.part_by_rule(rule, positions, set);
            add_part(&mut by_set, rewards.earned(rule), own, all);
        }
        for (tokens, service) in
            [(by_avs, RewardedService::Avs(set.avs)), (by_set, RewardedService::OperatorSet(set))]
        {
            for (token, amount) in tokens {
                let Some(price) = self.chain.price(StrategyId(token)) else {
                    reward.unpriced.insert(token);
                    continue;
                };
                let net = rewards.after_split(amount, operator, service, self.when.time);
                let net = match self.realised(operator, token) {
                    Some(share) => {
                        reward.realised.insert(token, share);
                        mul_div_floor(net, U256::from(share.0), U256::from(PPT_ONE))
                            .unwrap_or_default()
                    }
                    None => net,
                };
                let wei = mul_div_floor(net, price, U256::from(WAD)).unwrap_or(U256::MAX);
                reward.wei = reward.wei.saturating_add(wei);
            }
        }
        let year = U256::from(self.methodology.clock.days_per_year.0);
        let scaled = year.saturating_mul(U256::from(PPT_ONE));
        let stake = reward.stake_days.saturating_mul(U256::from(ATTO_ONE));
        let yearly = mul_div_floor(reward.wei, scaled, stake).unwrap_or_default();
        reward.yearly = Ppt(u64::try_from(yearly).unwrap_or(u64::MAX));
        reward
    }

    /// The share of what an operator keeps of its rewards in a token that it got at most, where
    /// somebody attests less than all: its sum of all time over what it should have got within the
    /// window until then. Of several claims the least share counts.
    fn realised(&self, operator: OperatorId, token: Address) -> Option<Ppt> {
        let topic = Topic::Earner(operator.0, token);
        let shares = self.chain.registry.current(topic, self.when.time).filter_map(|current| {
            let Claim::RewardRealisation { cumulative, .. } = current.claim else { return None };
            // Observed at least this long ago.
            let age = current.age_days.saturating_add(1).saturating_mul(DAY_SECONDS);
            let until = self.when.time.saturating_sub(age);
            let kept = self.chain.rewards.kept(operator, token, until);
            let share = mul_div_floor(*cumulative, U256::from(PPT_ONE), kept)?;
            Some(Ppt(u64::try_from(share).unwrap_or(u64::MAX)))
        });
        shares.min().filter(|share| *share < Ppt::ONE)
    }

    /// Operators that a set can slash.
    fn members(&self, set: OperatorSetId) -> impl Iterator<Item = OperatorId> {
        let found = self.chain.operator_sets.get(&set).into_iter();
        let all = found.flat_map(|set| set.members.keys().map(move |operator| (set, *operator)));
        all.filter(|(set, operator)| set.can_slash(*operator, self.when.block))
            .map(|(_, operator)| operator)
    }

    /// An operator's slashable stake in one set of an AVS, and in all of them.
    fn stake_in_avs(&self, operator: OperatorId, set: OperatorSetId) -> (U256, U256) {
        let mut own = U256::ZERO;
        let mut all = U256::ZERO;
        for one in self.sets_of(set.avs) {
            let stakes = self.chain.known_stakes(one, self.when.block);
            let stake = stakes.iter().find(|(who, _)| *who == operator);
            let stake = stake.map_or(U256::ZERO, |(_, stake)| *stake);
            all = all.saturating_add(stake);
            if one == set {
                own = stake;
            }
        }
        (own, all)
    }

    /// What some of a set's members have of the shares that a rule weighs, and what all have.
    fn part_by_rule(
        &self,
        rule: &Earner,
        positions: &[PositionId],
        set: OperatorSetId,
    ) -> (U256, U256) {
        let shares = |operator: OperatorId, strategy: StrategyId| match rule {
            Earner::UniqueStake(..) => self.slashable((operator, set), strategy),
            _ => {
                let known = self.chain.operators.get(&operator);
                known.and_then(|known| known.shares.get(&strategy)).copied().unwrap_or_default()
            }
        };
        let (Earner::UniqueStake(_, strategies) | Earner::TotalStake(_, strategies)) = rule else {
            return (U256::ZERO, U256::ZERO);
        };
        let weight = |operator: OperatorId| {
            strategies.iter().fold(U256::ZERO, |sum, (strategy, multiplier)| {
                let weighed = shares(operator, *strategy).saturating_mul(U256::from(*multiplier));
                sum.saturating_add(weighed)
            })
        };
        let all = self.members(set).map(weight);
        let own = positions.iter().map(|(operator, _)| weight(*operator));
        (own.fold(U256::ZERO, U256::saturating_add), all.fold(U256::ZERO, U256::saturating_add))
    }
}

/// Adds `own / all` of each amount.
fn add_part(
    sums: &mut BTreeMap<Address, U256>,
    amounts: BTreeMap<Address, U256>,
    own: U256,
    all: U256,
) {
    for (token, amount) in amounts {
        let part = mul_div_floor(amount, own, all).unwrap_or_default();
        let sum = sums.entry(token).or_default();
        *sum = sum.saturating_add(part);
    }
}

/// Values over a whole, rounded down; those of nothing are left out.
fn shares_of<K: Ord>(values: BTreeMap<K, U256>, whole: U256) -> BTreeMap<K, Ppt> {
    let share = |value| {
        let share = mul_div_floor(value, U256::from(PPT_ONE), whole)?;
        Some(Ppt(u64::try_from(share).ok()?.min(PPT_ONE)))
    };
    let known = values.into_iter().filter_map(|(key, value)| Some((key, share(value)?)));
    known.filter(|(_, share)| *share > Ppt::ZERO).collect()
}
