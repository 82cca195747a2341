//! Slashes and the incidents they form: the unit that hazards count (methodology §2.2).

use alloy_primitives::{B256, U256};

use super::ChainState;
use super::operator::WAD;
use crate::attestation::Cause;
use crate::block::BlockRef;
use crate::decimal::Ppt;
use crate::event::{Event, Fact};
use crate::id::{OperatorId, OperatorSetId, StrategyId};
use crate::loss_block::LossClass;
use crate::state::staker::mul_div_floor;

/// Slashes of one operator by one set within this many blocks of the incident's first are one
/// incident: one day.
pub const INCIDENT_WINDOW_BLOCKS: u64 = 7_200;

/// How far a recomputed wad may be from the event's: the contract rounds down once.
const ROUNDING: U256 = U256::from_limbs([1, 0, 0, 0]);

/// A maximum magnitude that fell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fallen {
    before: u64,
    slashed: u64,
}

/// One `OperatorSlashed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slash {
    /// Where and when.
    pub block: BlockRef,
    /// Its transaction.
    pub tx_hash: B256,
    /// Its place in the block.
    pub log_index: u32,
    /// Who was slashed.
    pub operator: OperatorId,
    /// By whom.
    pub operator_set: OperatorSetId,
    /// How much, a strategy each.
    pub strategies: Vec<SlashedStrategy>,
    /// Index of its incident in `ChainState::incidents`.
    pub incident: usize,
}

/// One strategy of a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlashedStrategy {
    /// The strategy.
    pub strategy: StrategyId,
    /// What the event says: share of the operator's whole stake before, 1e-18.
    pub wad_slashed: U256,
    /// The same, computed from the magnitudes in the log; `None` where they are not in it.
    pub wad_recomputed: Option<U256>,
    /// Share of the *allocation* slashed, 1e-18; `None` where the log holds no state before the
    /// slash, and then `wad_slashed` is a lower bound of it.
    pub allocation_slashed: Option<U256>,
}

impl SlashedStrategy {
    /// Share of the allocation slashed, 1e-18, or the lower bound that the log gives for it.
    pub fn severity_at_least(&self) -> U256 {
        self.allocation_slashed.unwrap_or(self.wad_slashed)
    }
}

/// Slashes that count once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Block of the first slash.
    pub first_block: BlockRef,
    /// Who was slashed.
    pub operator: OperatorId,
    /// By whom.
    pub operator_set: OperatorSetId,
    /// Share of the allocation lost over the incident, 1e-18: the worst strategy's
    /// `1 − Π(1 − slash)`.
    pub severity_wad: u64,
    /// Whether severity is a lower bound, for want of the state before.
    pub is_lower_bound: bool,
    /// Whether the slashed stake went to someone whom the AVS or its slasher is.
    pub is_self_dealing: bool,
    /// The operator's share of the set's slashable stake at the last epoch's end; `None`: the log
    /// does not tell. A set of which no member is known counts as this operator alone.
    pub share_of_set: Option<Ppt>,
    /// Whether the AVS answers for it, and not the operator it hit (methodology §2.2): the AVS paid
    /// itself, or half of the set (at least three operators) was hit within a day.
    pub is_avs_incident: bool,
    /// Why it happened, if third parties say so; else the rule decides.
    pub attested_cause: Option<Cause>,
    /// Members that the set could slash when it began.
    members: usize,
    /// What is left of the allocation, a strategy each, 1e-18.
    left: Vec<(StrategyId, U256)>,
}

impl ChainState {
    pub(super) fn max_magnitude_updated(
        &mut self,
        operator: OperatorId,
        strategy: StrategyId,
        max: u64,
        at: u64,
    ) {
        let known = self.operators.entry(operator).or_default();
        let magnitude = known.magnitude(strategy);
        let before = magnitude.max.unwrap_or(WAD);
        magnitude.max = Some(max);
        // Of several falls in a block the first tells what was before it.
        known.fallen_from.entry((strategy, at)).or_insert(before);
        let slashed = before.saturating_sub(max);
        self.fallen.insert((operator, strategy), Fallen { before, slashed });
    }

    pub(super) fn operator_slashed(&mut self, fact: &Fact) {
        let Event::OperatorSlashed { operator, operator_set, strategies, wad_slashed, .. } =
            &fact.event
        else {
            return;
        };
        self.operators.entry(*operator).or_default();
        self.operator_set(*operator_set, fact);
        let slashed: Vec<SlashedStrategy> = strategies
            .iter()
            .zip(wad_slashed)
            .map(|(strategy, wad)| self.slashed_strategy(fact, *strategy, *wad))
            .collect();
        let incident = self.join_incident(fact.block, *operator, *operator_set, &slashed);
        self.slashes.push(Slash {
            block: fact.block,
            tx_hash: fact.tx_hash,
            log_index: fact.log_index,
            operator: *operator,
            operator_set: *operator_set,
            strategies: slashed,
            incident,
        });
    }

    /// What one strategy lost. `slashOperator` lowers the maximum and the current magnitude by the
    /// same amount and says so before it emits `OperatorSlashed`; so the state before is the state
    /// now plus that amount.
    fn slashed_strategy(
        &mut self,
        fact: &Fact,
        strategy: StrategyId,
        wad: U256,
    ) -> SlashedStrategy {
        let mut found = SlashedStrategy {
            strategy,
            wad_slashed: wad,
            wad_recomputed: None,
            allocation_slashed: None,
        };
        let Event::OperatorSlashed { operator, operator_set, .. } = &fact.event else {
            return found;
        };
        let Some(fallen) = self.fallen.remove(&(*operator, strategy)) else {
            if wad.is_zero() {
                found.wad_recomputed = Some(U256::ZERO);
                found.allocation_slashed = Some(U256::ZERO);
            }
            return found;
        };
        let share =
            |of: u64| mul_div_floor(U256::from(fallen.slashed), U256::from(WAD), U256::from(of));
        found.wad_recomputed = share(fallen.before);
        // A maximum that was never seen before the slash contradicts the event: then its own share
        // of the whole is the bound.
        if found.wad_recomputed.is_none_or(|found| found.abs_diff(wad) > ROUNDING) {
            return found;
        }
        found.allocation_slashed = self
            .allocations
            .get(&(*operator, *operator_set, strategy))
            .map(|allocation| allocation.current_at(fact.block.number))
            .and_then(|now| share(now.saturating_add(fallen.slashed)));
        found
    }

    fn join_incident(
        &mut self,
        block: BlockRef,
        operator: OperatorId,
        operator_set: OperatorSetId,
        slashed: &[SlashedStrategy],
    ) -> usize {
        let is_self_dealing = self.is_self_dealing(operator_set, block.number);
        let members: Vec<OperatorId> = self
            .operator_sets
            .get(&operator_set)
            .map(|set| {
                let can_slash = |id: &&OperatorId| set.can_slash(**id, block.number);
                set.members.keys().filter(can_slash).copied().collect()
            })
            .unwrap_or_default();
        let open = self.incidents.iter().rposition(|incident| {
            incident.operator == operator
                && incident.operator_set == operator_set
                && block.number
                    <= incident.first_block.number.saturating_add(INCIDENT_WINDOW_BLOCKS)
        });
        let index = open.unwrap_or(self.incidents.len());
        if open.is_none() {
            self.incidents.push(Incident {
                first_block: block,
                operator,
                operator_set,
                severity_wad: 0,
                is_lower_bound: false,
                is_self_dealing,
                share_of_set: self
                    .experience
                    .shares_of_set
                    .get(&(operator, operator_set))
                    .copied()
                    .or_else(|| members.is_empty().then_some(Ppt::ONE)),
                is_avs_incident: is_self_dealing,
                attested_cause: None,
                members: members.len(),
                left: Vec::new(),
            });
        }
        if let Some(incident) = self.incidents.get_mut(index) {
            incident.is_self_dealing |= is_self_dealing;
            incident.is_avs_incident |= is_self_dealing;
            for strategy in slashed {
                incident.add(strategy);
            }
        }
        self.blame_the_avs_if_many_were_hit(index);
        index
    }

    /// Marks every incident of a day in which half of the set was hit.
    fn blame_the_avs_if_many_were_hit(&mut self, index: usize) {
        let Some(newest) = self.incidents.get(index) else { return };
        let (set, at, members) = (newest.operator_set, newest.first_block.number, newest.members);
        let is_same_day = |other: &Incident| {
            other.operator_set == set
                && other.first_block.number.abs_diff(at) <= INCIDENT_WINDOW_BLOCKS
        };
        let hit: std::collections::BTreeSet<OperatorId> = self
            .incidents
            .iter()
            .filter(|other| is_same_day(other))
            .map(|other| other.operator)
            .collect();
        if hit.len() >= 3 && hit.len().saturating_mul(2) >= members {
            for incident in self.incidents.iter_mut().filter(|other| is_same_day(other)) {
                incident.is_avs_incident = true;
            }
        }
    }

    /// Whether what a set slashes goes to the AVS itself or to whoever may slash.
    pub fn is_self_dealing(&self, set: OperatorSetId, block: u64) -> bool {
        self.operator_sets.get(&set).is_some_and(|found| {
            found.redistribution_recipient.is_some_and(|recipient| {
                recipient == set.avs.0 || Some(recipient) == found.slasher.at(block)
            })
        })
    }
}

impl Incident {
    /// The class it counts in: what is attested, else the most severe that fits the evidence.
    pub fn class(&self) -> LossClass {
        match self.attested_cause {
            Some(cause) => cause.class(),
            None if self.is_avs_incident => LossClass::C4,
            None => LossClass::C1,
        }
    }

    fn add(&mut self, slashed: &SlashedStrategy) {
        let wad = U256::from(WAD);
        let severity = slashed.severity_at_least().min(wad);
        self.is_lower_bound |= slashed.allocation_slashed.is_none();
        let index = self.left.iter().position(|(strategy, _)| *strategy == slashed.strategy);
        let before = index.and_then(|index| self.left.get(index)).map_or(wad, |(_, left)| *left);
        let after = mul_div_floor(before, wad.saturating_sub(severity), wad).unwrap_or(U256::ZERO);
        match index.and_then(|index| self.left.get_mut(index)) {
            Some((_, left)) => *left = after,
            None => self.left.push((slashed.strategy, after)),
        }
        let lost = wad.saturating_sub(after).try_into().unwrap_or(WAD);
        self.severity_wad = self.severity_wad.max(lost);
    }
}
