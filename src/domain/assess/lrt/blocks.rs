//! What can happen to a token: the loss blocks of its positions, of its base layer, and what
//! reserves that bear the first loss leave of them.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::U256;

use super::{Assessor, Held, share_of};
use crate::attribution::hamilton;
use crate::beacon::{Gwei, slashing_penalty};
use crate::decimal::{Atto, PPT_ONE, PPT_PER_BP, Ppt};
use crate::frailty::Hazard;
use crate::id::{LrtId, OperatorId, OperatorSetId};
use crate::loss::severity::round_to_grid;
use crate::loss::{BasisPoints, CELLS, Probability};
use crate::loss_block::{LossBlock, LossClass, LossProfile, LossShape, Provenance};
use crate::lrt::{LookThrough, Place, Reserve};
use crate::operator::{OperatorInputs, SetPosition, operator_profile};
use crate::operator_set::common_blocks;
use crate::severity::Severity;
use crate::state::experience::BEACON_CHAIN_ETH;
use crate::tail::{Run, loss_model};

/// Gwei of the stake that validators are penalised on, and of one ether.
const GWEI_PER_ETH: u64 = 1_000_000_000;

impl Assessor<'_> {
    /// C1, C1w and C2 of each operator, C3 to C5 of each set or of sets with one owner or slasher,
    /// and C6a, each on its share of the net asset value.
    pub(super) fn position_blocks(&self, held: &Held, found: &LookThrough) -> Vec<LossBlock> {
        let mut slashable: BTreeMap<(OperatorId, OperatorSetId), U256> = BTreeMap::new();
        for position in &found.positions {
            if let Place::Slashable { operator, operator_set, .. } = position.place {
                let sum = slashable.entry((operator, operator_set)).or_default();
                *sum = sum.saturating_add(position.value);
            }
        }
        let mut amounts: Vec<U256> = slashable.values().copied().collect();
        let rest = amounts.iter().fold(found.nav, |rest, amount| rest.saturating_sub(*amount));
        amounts.push(rest);
        let cells = round_to_grid(&amounts, CELLS);
        let on_grid: BTreeMap<(OperatorId, OperatorSetId), Ppt> = slashable
            .keys()
            .copied()
            .zip(cells)
            .map(|(key, cell)| (key, Ppt(u64::from(cell).saturating_mul(PPT_PER_BP))))
            .collect();

        let operators: BTreeSet<OperatorId> =
            held.delegated.keys().map(|(operator, _)| *operator).collect();
        let mut blocks = Vec::new();
        let mut exposed: BTreeMap<OperatorSetId, Ppt> = BTreeMap::new();
        for operator in operators {
            let inputs = self.operator_inputs(operator, held, found, &on_grid);
            for (set, position) in &inputs.1 {
                let sum = exposed.entry(*set).or_insert(Ppt::ZERO);
                *sum = sum.capped_add(position.exposure(self.methodology));
            }
            let inputs = OperatorInputs {
                operator: operator.to_string(),
                positions: inputs.1.into_values().collect(),
                unencumbered: inputs.0,
            };
            blocks.extend(operator_profile(&inputs, self.methodology).blocks().iter().cloned());
        }
        blocks.extend(self.shock_blocks(&exposed));
        blocks
    }

    /// An operator's positions as shares of the net asset value, and what it could still allocate
    /// before the token can leave.
    fn operator_inputs(
        &self,
        operator: OperatorId,
        held: &Held,
        found: &LookThrough,
        on_grid: &BTreeMap<(OperatorId, OperatorSetId), Ppt>,
    ) -> (Ppt, BTreeMap<OperatorSetId, SetPosition>) {
        let mut unencumbered = Ppt::ZERO;
        let mut positions: BTreeMap<OperatorSetId, SetPosition> = BTreeMap::new();
        let of_operator = held.delegated.iter().filter(|((who, _), _)| *who == operator);
        for ((_, strategy), shares) in of_operator {
            let Some(value) = self.value(*strategy, *shares) else { continue };
            let weight = share_of(value, found.nav);
            unencumbered =
                unencumbered.capped_add(self.unencumbered(operator, *strategy).times(weight));
            for set in self.sets_allocated(operator, *strategy) {
                let Some(known) = self.chain.operator_sets.get(&set) else { continue };
                let inputs = self.set_inputs(set, known, self.benchmark());
                let one = self.position((operator, *strategy), set, known, &inputs);
                let latent = one.latent.times(weight);
                let allocated = on_grid.get(&(operator, set)).copied().unwrap_or(Ppt::ZERO);
                let position = positions.entry(set).or_insert(SetPosition {
                    allocated,
                    latent: Ppt::ZERO,
                    common: Vec::new(),
                    ..one
                });
                position.latent = position.latent.capped_add(latent);
            }
        }
        (unencumbered, positions)
    }

    /// Common shocks: one block for all sets with one owner or one slasher.
    pub(in crate::assess) fn shock_blocks(
        &self,
        exposed: &BTreeMap<OperatorSetId, Ppt>,
    ) -> Vec<LossBlock> {
        let sets = exposed.keys().copied().collect();
        self.groups_of(&sets).iter().flat_map(|group| self.group_blocks(group, exposed)).collect()
    }

    /// Sets that one owner or one slasher joins.
    pub(in crate::assess) fn groups_of(
        &self,
        sets: &BTreeSet<OperatorSetId>,
    ) -> Vec<Vec<OperatorSetId>> {
        let mut groups: Vec<Vec<OperatorSetId>> = Vec::new();
        for set in sets {
            let joins =
                |group: &Vec<OperatorSetId>| group.iter().any(|it| self.share_keys(*it, *set));
            let (joined, mut apart): (Vec<_>, Vec<_>) = groups.into_iter().partition(joins);
            let mut group: Vec<OperatorSetId> = joined.into_iter().flatten().collect();
            group.push(*set);
            apart.push(group);
            groups = apart;
        }
        groups
    }

    fn share_keys(&self, one: OperatorSetId, two: OperatorSetId) -> bool {
        let slasher = |set| {
            self.chain.operator_sets.get(&set).and_then(|set| set.slasher.at(self.when.block))
        };
        one.avs == two.avs || (slasher(one).is_some() && slasher(one) == slasher(two))
    }

    /// C3 and C4 once, as in the worst set of the group, on what all of it exposes; C5 set by set.
    pub(in crate::assess) fn group_blocks(
        &self,
        group: &[OperatorSetId],
        exposed: &BTreeMap<OperatorSetId, Ppt>,
    ) -> Vec<LossBlock> {
        let exposure = |set: &OperatorSetId| exposed.get(set).copied().unwrap_or(Ppt::ZERO);
        let whole = group.iter().fold(Ppt::ZERO, |sum, set| sum.capped_add(exposure(set)));
        let mut blocks = Vec::new();
        let mut shared: BTreeMap<LossClass, LossBlock> = BTreeMap::new();
        for set in group {
            let Some(found) = self.chain.operator_sets.get(set) else { continue };
            let inputs = self.set_inputs(*set, found, self.benchmark());
            for block in common_blocks(&inputs, self.methodology) {
                if block.class == LossClass::C5 {
                    blocks.push(block.on(exposure(set)));
                    continue;
                }
                let badness = |block: &LossBlock| block.hazard.times(block.severity);
                match shared.get(&block.class) {
                    Some(worst) if badness(worst) >= badness(&block) => {}
                    _ => {
                        shared.insert(block.class, block);
                    }
                }
            }
        }
        let others = group.len().saturating_sub(1);
        blocks.extend(shared.into_values().map(|block| {
            let id = if others == 0 { block.id.clone() } else { format!("{}+{others}", block.id) };
            LossBlock { id, ..block.on(whole) }
        }));
        blocks
    }

    /// C6: a consensus bug of a client, and an incident of each operator's validators.
    pub(in crate::assess) fn base_layer_blocks(&self, found: &LookThrough) -> Vec<LossBlock> {
        let mut native: BTreeMap<Option<OperatorId>, U256> = BTreeMap::new();
        for position in &found.positions {
            let (operator, strategy) = match position.place {
                Place::Slashable { operator, strategy, .. }
                | Place::Unallocated { operator, strategy } => (Some(operator), strategy),
                Place::Undelegated { strategy } => (None, strategy),
                Place::Exiting { .. } | Place::Buffer | Place::Unseen => continue,
            };
            if strategy == BEACON_CHAIN_ETH {
                let sum = native.entry(operator).or_default();
                *sum = sum.saturating_add(position.value);
            }
        }
        let total = native.values().fold(U256::ZERO, |sum, value| sum.saturating_add(*value));
        if total.is_zero() {
            return Vec::new();
        }
        let parameters = &self.methodology.lrt;
        let share = self.tweak.client_share(parameters.client_share);
        let severity = Ppt(share.0.saturating_mul(3).min(PPT_ONE));
        let hazard = Hazard::benchmark(self.methodology.priors.c6b.into());
        let client = LossBlock::of_hazard(
            LossClass::C6,
            "client",
            &hazard,
            &Severity::fixed(severity),
            Provenance::Prior,
        );
        let mut blocks = vec![client.on(share_of(total, found.nav).times(share))];
        let active = Gwei(parameters.beacon_active_eth.saturating_mul(GWEI_PER_ETH));
        for (operator, value) in native {
            let Some(operator) = operator else { continue };
            let stake = value.checked_div(U256::from(GWEI_PER_ETH)).unwrap_or_default();
            let stake = Gwei(u64::try_from(stake).unwrap_or(u64::MAX));
            let one = Gwei(GWEI_PER_ETH.saturating_mul(32));
            let Ok(penalty) = slashing_penalty(one, stake, active) else { continue };
            let severity = share_of(U256::from(penalty.total.0), U256::from(one.0));
            let (hazard, _) = self.operator_hazards(operator, None);
            let block = LossBlock::of_hazard(
                LossClass::C6,
                &operator.to_string(),
                &hazard,
                &Severity::fixed(severity),
                self.operator_provenance(operator),
            );
            blocks.push(block.on(share_of(value, found.nav)));
        }
        blocks
    }

    /// The profile with each block's probability mixed over the common factor and its severity as
    /// it is on the grid, the run of those who redeem first in it: its sum is the mean of the
    /// distribution before the cap. Left as it is where the blocks are too many to be exact.
    pub(super) fn with_factor(&self, profile: &LossProfile, run: Option<Run>) -> LossProfile {
        let Ok(model) = loss_model(profile, run, self.methodology) else { return profile.clone() };
        let mixed: BTreeMap<String, (Ppt, BasisPoints)> = model
            .losses_by_block()
            .into_iter()
            .map(|loss| (loss.id.to_string(), (Ppt(loss.probability.to_ppt()), loss.mean_loss)))
            .collect();
        let settled = |block: &LossBlock| {
            let mut block = block.clone();
            if let Some((hazard, mean)) = mixed.get(&block.id) {
                block.hazard = *hazard;
                let severity = u128::from(mean.to_ppt()).saturating_mul(PPT_ONE.into());
                let severity = severity.checked_div(block.exposure.0.into());
                block.severity = Ppt(severity.and_then(|it| u64::try_from(it).ok()).unwrap_or(0));
            }
            block
        };
        LossProfile::settle(profile.blocks().iter().map(settled).collect())
    }

    /// The profile of those who bear what is left after a reserve of so many bp: together
    /// E[(L − d)⁺] of the exact distribution, each block by what is left of it alone. Left as it is
    /// where the blocks are too many to be exact.
    pub(super) fn after_reserve(
        &self,
        profile: LossProfile,
        run: Run,
        reserve_bp: u16,
    ) -> LossProfile {
        let Ok(model) = loss_model(&profile, Some(run), self.methodology) else { return profile };
        let left = model.distribution().expected_loss_after(reserve_bp).to_ppt();
        let alone = model.blocks().iter().zip(model.losses_by_block()).map(|(block, loss)| {
            let beyond = block.severity().losses().fold(BasisPoints::ZERO, |sum, (cell, p)| {
                let p: Probability = p.times(loss.probability);
                sum.plus(BasisPoints::expected(cell.saturating_sub(reserve_bp), p))
            });
            (block.id().to_string(), U256::from(beyond.to_ppt()))
        });
        let (ids, weights): (Vec<String>, Vec<U256>) = alone.unzip();
        let parts: BTreeMap<String, u64> = ids.into_iter().zip(hamilton(left, &weights)).collect();
        let net = |block: &LossBlock| {
            let part = parts.get(&block.id).copied().unwrap_or(0);
            let whole = u128::from(block.hazard.0).saturating_mul(block.exposure.0.into());
            let ppt = u128::from(PPT_ONE);
            // Part / (hazard · exposure), in ppt; above one where those who left took more.
            let severity = mul_div_u128(u128::from(part).saturating_mul(ppt), ppt, whole);
            LossBlock { severity: Ppt(severity), ..block.clone() }
        };
        LossProfile::settle(profile.blocks().iter().map(net).collect())
    }
}

/// What a fresh proof of reserve misses is lost already, with certainty.
pub(super) fn shortfall_block(token: LrtId, reserve: &Reserve) -> Option<LossBlock> {
    let shortfall = reserve.shortfall();
    (shortfall > Ppt::ZERO).then(|| LossBlock {
        id: format!("{}|{token}|shortfall", LossClass::C8),
        class: LossClass::C8,
        hazard: Ppt::ONE,
        severity: shortfall,
        shape: LossShape::certain(shortfall),
        exposure: Ppt::ONE,
        expected_loss: crate::grade::ExpectedLossPpt::ZERO,
        provenance: reserve.proof.map_or(Provenance::Log, Provenance::Attested),
        rate: None,
        group: None,
        own_cv2: Atto::ZERO,
        credibility: Ppt::ONE,
    })
}

/// `a · b / d` to the nearest, zero where `d` is.
fn mul_div_u128(a: u128, b: u128, d: u128) -> u64 {
    let product = U256::from(a).saturating_mul(U256::from(b));
    let half = U256::from(d / 2);
    let quotient = product.saturating_add(half).checked_div(U256::from(d));
    quotient.and_then(|quotient| u64::try_from(quotient).ok()).unwrap_or(0)
}
