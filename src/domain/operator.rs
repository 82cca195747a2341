//! Loss blocks of an operator, per unit delegated to it.
//!
//! Its own faults, set by set and across sets, and its share of what can happen to the sets it
//! serves. What could become slashable before a delegator can leave counts at a reduced weight.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, Ppt};
use crate::frailty::Hazard;
use crate::loss_block::{LossBlock, LossClass, LossProfile, Provenance};
use crate::methodology::Methodology;
use crate::severity::Severity;

/// An operator's place in one set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct SetPosition {
    /// The set's id.
    pub set: String,
    /// The group that shares operator rates: vertical and platform.
    pub group: String,
    /// Share of the delegated stake that is slashable now.
    pub allocated: Ppt,
    /// Share that could become slashable before a delegator can leave.
    pub latent: Ppt,
    /// Signing faults.
    pub c1: Hazard,
    /// How bad they are.
    pub c1_severity: Severity,
    /// Liveness slashes, where the ruleset has them.
    pub c2: Option<(Hazard, Severity)>,
    /// Where the operator's hazards come from.
    pub provenance: Provenance,
    /// C3, C4 and C5 of the set, per unit allocated.
    pub common: Vec<LossBlock>,
}

impl SetPosition {
    /// Exposure that counts: what is allocated and the weighted latent part, at most all.
    #[must_use]
    pub fn exposure(&self, methodology: &Methodology) -> Ppt {
        let latent = self.latent.times(methodology.exposure.latent_weight);
        self.allocated.capped_add(latent)
    }
}

/// An operator and the sets it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct OperatorInputs {
    /// The operator's id.
    pub operator: String,
    /// Its positions; each set once.
    pub positions: Vec<SetPosition>,
    /// Share of the delegated stake that is not allocated and could be before a delegator can
    /// leave. It counts as latent in the worst of the positions.
    pub unencumbered: Ppt,
}

/// The loss blocks of an operator, per unit delegated to it.
#[must_use]
pub fn operator_profile(inputs: &OperatorInputs, methodology: &Methodology) -> LossProfile {
    let positions = with_unencumbered(inputs, methodology);
    let mut blocks: Vec<LossBlock> = Vec::new();
    for position in &positions {
        blocks.extend(position_blocks(&inputs.operator, position, &positions, methodology));
    }
    blocks.extend(wide_block(&inputs.operator, &positions, methodology));
    LossProfile::settle(blocks)
}

/// Puts what could still be allocated where it would hurt most. Without a position there is none.
fn with_unencumbered(inputs: &OperatorInputs, methodology: &Methodology) -> Vec<SetPosition> {
    let mut positions = inputs.positions.clone();
    positions.sort_by(|a, b| a.set.cmp(&b.set));
    let per_unit = |position: &SetPosition| {
        let single = std::slice::from_ref(position);
        let unit = SetPosition { allocated: Ppt::ONE, ..position.clone() };
        LossProfile::settle(position_blocks(&inputs.operator, &unit, single, methodology))
            .expected_loss()
    };
    let worst = positions.iter_mut().rev().max_by_key(|position| per_unit(position));
    if let Some(worst) = worst {
        worst.latent = worst.latent.capped_add(inputs.unencumbered);
    }
    positions
}

fn position_blocks(
    operator: &str,
    position: &SetPosition,
    all: &[SetPosition],
    methodology: &Methodology,
) -> Vec<LossBlock> {
    let exposure = position.exposure(methodology);
    let about = format!("{operator}|{}", position.set);
    let own = |class, hazard: &Hazard, severity: &Severity| {
        LossBlock::of_hazard(class, &about, hazard, severity, position.provenance)
            .in_group(&position.group, hazard)
            .on(exposure)
    };
    let in_one_set = position.c1.times(single_set_share(all, methodology));
    let mut blocks = vec![own(LossClass::C1, &in_one_set, &position.c1_severity)];
    if let Some((hazard, severity)) = &position.c2 {
        blocks.push(own(LossClass::C2, hazard, severity));
    }
    blocks.extend(position.common.iter().map(|block| block.clone().on(exposure)));
    blocks
}

/// Share of the signing-fault rate that stays in one set: all of it where there is only one.
fn single_set_share(positions: &[SetPosition], methodology: &Methodology) -> Atto {
    if positions.len() < 2 {
        return Atto::ONE;
    }
    Atto::ONE.saturating_sub(methodology.frailty.operator_wide_share)
}

/// Signing faults of shared key infrastructure, in all sets at once: a share of the summed rates,
/// never more frequent than in the worst single set. `None` with fewer than two positions.
fn wide_block(
    operator: &str,
    positions: &[SetPosition],
    methodology: &Methodology,
) -> Option<LossBlock> {
    if positions.len() < 2 {
        return None;
    }
    let means = || positions.iter().map(|position| position.c1.rate.mean());
    let summed = means().fold(Atto::ZERO, Atto::saturating_add);
    let mean = summed.saturating_mul(methodology.frailty.operator_wide_share).min(means().max()?);
    // The least certain position lends its shape, the most severe its severity.
    let least_certain = positions.iter().min_by_key(|position| position.c1.rate.shape)?;
    let most_severe = positions.iter().max_by_key(|position| position.c1_severity.mean)?;
    let hazard = Hazard {
        rate: crate::hazard::GammaRate::from_mean(least_certain.c1.rate.shape, mean),
        ..least_certain.c1
    };
    let exposure = positions
        .iter()
        .fold(Ppt::ZERO, |sum, position| sum.capped_add(position.exposure(methodology)));
    let block = LossBlock::of_hazard(
        LossClass::C1Wide,
        operator,
        &hazard,
        &most_severe.c1_severity,
        least_certain.provenance,
    );
    Some(block.in_group(&least_certain.group, &hazard).on(exposure))
}
