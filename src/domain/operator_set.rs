//! Loss blocks of an operator set and of the AVS that owns it, per unit allocated.
//!
//! Without known members a set has its intrinsic rating: a benchmark operator without mitigants, so
//! that the set is not judged by who happens to serve it. Operators are rated in `operator`.

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::attribution::hamilton;
use crate::cap::{Cap, CapReason};
use crate::decimal::{Atto, PPT_ONE, Ppt};
use crate::frailty::Hazard;
use crate::grade::ExpectedLossPpt;
use crate::hazard::{GammaRate, Slack, corruption_rate, one_year_probability, power_of_two};
use crate::loss_block::{LossBlock, LossClass, LossProfile, LossShape, Provenance};
use crate::methodology::Methodology;
use crate::ruleset::Complexity;
use crate::severity::{Severity, SeverityRecord};

/// Who can slash.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum SlasherAuthority {
    /// A verified contract that nobody can change.
    Immutable,
    /// A multisig behind a timelock of at least the exit window.
    TimelockedMultisig,
    /// A multisig.
    Multisig,
    /// A single key, or nobody knows.
    EoaOrUnknown,
}

/// What an address is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    /// A contract.
    Contract,
    /// A single key.
    Eoa,
}

/// Where slashed stake goes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Redistribution {
    /// It is burned.
    Burned,
    /// It is paid out at once.
    Immediate(RecipientKind),
    /// It is paid out after the delay and pause of ELIP-016.
    Delayed(RecipientKind),
    /// It is paid to the AVS, its slasher, or an address either controls.
    SelfControlled(RecipientKind),
}

impl Redistribution {
    fn recipient(self) -> Option<RecipientKind> {
        match self {
            Self::Burned => None,
            Self::Immediate(kind) | Self::Delayed(kind) | Self::SelfControlled(kind) => Some(kind),
        }
    }
}

/// A resolver that can stop a slash.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct VetoProfile {
    /// Independent signers of the resolver.
    pub signers: u32,
    /// Blocks it has to decide.
    pub window_blocks: u64,
    /// Credit of the attestation that says so, 0 to 1.
    pub credit: Atto,
}

impl VetoProfile {
    /// Share of false slashes that it stops.
    #[must_use]
    pub fn stopped(&self, methodology: &Methodology) -> Ppt {
        let veto = &methodology.veto;
        let counts =
            self.signers >= veto.signers_min && self.window_blocks >= veto.window_blocks_min;
        if counts { veto.weight.times(self.credit.to_ppt()) } else { Ppt::ZERO }
    }
}

/// One operator in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The operator's id.
    pub operator: String,
    /// Slashable stake of the operator in the set, any unit.
    pub slashable: U256,
    /// Signing faults.
    pub c1: Hazard,
    /// Liveness slashes; unused where the ruleset does not slash liveness.
    pub c2: Hazard,
    /// Where its hazards come from.
    pub provenance: Provenance,
}

/// Who serves the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// Members or weights are unknown, or the intrinsic rating is asked: a benchmark operator.
    Benchmark {
        /// The group's rate of signing faults.
        c1: GammaRate,
        /// The group's rate of liveness slashes.
        c2: GammaRate,
        /// Where the rates come from.
        provenance: Provenance,
    },
    /// The members, weighted by slashable stake.
    Members(Vec<Member>),
}

impl Service {
    /// The benchmark operator at the methodology's priors.
    #[must_use]
    pub fn prior_benchmark(methodology: &Methodology) -> Self {
        Self::Benchmark {
            c1: methodology.priors.c1.into(),
            c2: methodology.priors.c2.into(),
            provenance: Provenance::Prior,
        }
    }
}

/// What the set's incidents took, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the classes name themselves")]
pub struct SetSeverities {
    pub c1: SeverityRecord,
    pub c2: SeverityRecord,
    pub c3: SeverityRecord,
    pub c4: SeverityRecord,
}

/// Where the numbers of the set's own classes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the classes name themselves")]
pub struct SetProvenance {
    pub c3: Provenance,
    pub c4: Provenance,
    pub c5: Provenance,
}

/// All that is known about a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetInputs {
    /// The set's id.
    pub set: String,
    /// The group that shares operator rates: vertical and platform.
    pub group: String,
    /// Complexity of the ruleset; `None` where nobody published one.
    pub complexity: Option<Complexity>,
    /// The ruleset slashes liveness. Assumed where there is no ruleset.
    pub slashes_liveness: bool,
    /// The bound on a slash that a verified slasher enforces.
    pub slash_max: Option<Ppt>,
    /// Who can slash.
    pub authority: SlasherAuthority,
    /// Where slashed stake goes.
    pub redistribution: Redistribution,
    /// A resolver that can stop a slash.
    pub veto: Option<VetoProfile>,
    /// Share of stake that an attack loses.
    pub alpha: Option<Ppt>,
    /// Cryptoeconomic slack; `None` where the profit from corruption is unknown.
    pub slack: Option<Slack>,
    /// Decayed years the AVS was live with slashable stake.
    pub live_years: Atto,
    /// Decayed incidents of class C3.
    pub incidents_c3: Atto,
    /// Decayed incidents of class C4.
    pub incidents_c4: Atto,
    /// What incidents took so far.
    pub severities: SetSeverities,
    /// Where the numbers come from.
    pub provenance: SetProvenance,
    /// Who serves the set.
    pub service: Service,
}

/// The loss blocks of a set, per unit allocated to it.
#[must_use]
pub fn set_profile(inputs: &SetInputs, methodology: &Methodology) -> LossProfile {
    let mut blocks = service_blocks(inputs, methodology);
    blocks.extend(common_blocks(inputs, methodology));
    LossProfile::settle(blocks)
}

/// The blocks that hit all members at once: C3, C4 and C5, per unit allocated.
#[must_use]
pub fn common_blocks(inputs: &SetInputs, methodology: &Methodology) -> Vec<LossBlock> {
    vec![
        logic_block(inputs, methodology),
        authority_block(inputs, methodology),
        corruption_block(inputs, methodology),
    ]
}

/// The severities of the operator classes in this set: signing faults and, where they are slashed,
/// liveness.
#[must_use]
pub fn operator_severities(
    inputs: &SetInputs,
    methodology: &Methodology,
) -> (Severity, Option<Severity>) {
    let table = &methodology.severity;
    let record = &inputs.severities;
    let c1 = Severity::estimate(&table.c1, &record.c1, inputs.slash_max, table);
    let is_slashed = inputs.slashes_liveness || inputs.complexity.is_none();
    let c2 = is_slashed.then(|| Severity::estimate(&table.c2, &record.c2, inputs.slash_max, table));
    (c1, c2)
}

/// The ceilings that the set's design puts on every rating of it.
#[must_use]
pub fn set_caps(inputs: &SetInputs, methodology: &Methodology) -> Vec<Cap> {
    let conditions = [
        (inputs.authority == SlasherAuthority::EoaOrUnknown, CapReason::SlasherEoaOrUnknown),
        (inputs.redistribution.recipient() == Some(RecipientKind::Eoa), CapReason::RecipientEoa),
        (inputs.complexity.is_none(), CapReason::RulesetUnpublished),
        (inputs.slack.is_none(), CapReason::CorruptionProfitUnknown),
    ];
    let applying = conditions.into_iter().filter(|(applies, _)| *applies);
    applying.filter_map(|(_, reason)| Cap::of(reason, methodology)).collect()
}

fn service_blocks(inputs: &SetInputs, methodology: &Methodology) -> Vec<LossBlock> {
    let (severity, liveness) = operator_severities(inputs, methodology);
    let pair = |about: &str, share: Ppt, c1: &Hazard, c2: &Hazard, provenance: Provenance| {
        let block = |class, hazard: &Hazard, severity: &Severity| {
            LossBlock::of_hazard(class, about, hazard, severity, provenance)
                .in_group(&inputs.group, hazard)
                .on(share)
        };
        let signing = block(LossClass::C1, c1, &severity);
        let absent = liveness.map(|severity| block(LossClass::C2, c2, &severity));
        std::iter::once(signing).chain(absent)
    };
    match &inputs.service {
        Service::Benchmark { c1, c2, provenance } => {
            let (c1, c2) = (Hazard::benchmark(*c1), Hazard::benchmark(*c2));
            pair(&inputs.set, Ppt::ONE, &c1, &c2, *provenance).collect()
        }
        Service::Members(members) => {
            let mut members: Vec<&Member> = members.iter().collect();
            members.sort_by(|a, b| a.operator.cmp(&b.operator));
            let weights: Vec<U256> = members.iter().map(|member| member.slashable).collect();
            let shares = shares_by_weight(&weights);
            let of_member = |(member, share): (&&Member, Ppt)| {
                let about = format!("{}|{}", member.operator, inputs.set);
                pair(&about, share, &member.c1, &member.c2, member.provenance)
                    .collect::<Vec<LossBlock>>()
            };
            members.iter().zip(shares).flat_map(of_member).collect()
        }
    }
}

fn logic_block(inputs: &SetInputs, methodology: &Methodology) -> LossBlock {
    let complexity = inputs.complexity.unwrap_or(methodology.rulesets.unpublished);
    let prior = methodology.priors.c3;
    let mean = prior.base_mean.saturating_mul(power_of_two(complexity.to_atto()));
    let rate = GammaRate::from_mean(prior.shape, mean);
    let hazard = Hazard::of_avs(rate, inputs.incidents_c3, inputs.live_years);
    let table = &methodology.severity;
    let severity = Severity::estimate(&table.c3, &inputs.severities.c3, inputs.slash_max, table);
    let stopped = inputs.veto.map_or(Ppt::ZERO, |veto| veto.stopped(methodology));
    let severity = severity.after_veto(stopped);
    LossBlock::of_hazard(LossClass::C3, &inputs.set, &hazard, &severity, inputs.provenance.c3)
}

fn authority_block(inputs: &SetInputs, methodology: &Methodology) -> LossBlock {
    let mean = authority_mean(inputs.authority, inputs.redistribution, methodology);
    let rate = GammaRate::from_mean(methodology.priors.c4.shape, mean);
    let hazard = Hazard::of_avs(rate, inputs.incidents_c4, inputs.live_years);
    let table = &methodology.severity;
    // Whoever can replace the slasher can lift its bound.
    let bound = match inputs.authority {
        SlasherAuthority::Immutable => inputs.slash_max,
        _ => None,
    };
    let severity = Severity::estimate(&table.c4, &inputs.severities.c4, bound, table);
    LossBlock::of_hazard(LossClass::C4, &inputs.set, &hazard, &severity, inputs.provenance.c4)
}

/// Prior incidents a year of class C4.
#[must_use]
pub fn authority_mean(
    authority: SlasherAuthority,
    redistribution: Redistribution,
    methodology: &Methodology,
) -> Atto {
    let table = &methodology.authority;
    let mean = match authority {
        SlasherAuthority::Immutable => table.immutable,
        SlasherAuthority::TimelockedMultisig => table.timelocked_multisig,
        SlasherAuthority::Multisig => table.multisig,
        SlasherAuthority::EoaOrUnknown => table.eoa_or_unknown,
    };
    match redistribution {
        Redistribution::Burned => mean,
        Redistribution::Immediate(_) => mean.saturating_mul(table.redistributing),
        Redistribution::Delayed(_) => mean.saturating_mul(table.redistributing_delayed),
        Redistribution::SelfControlled(_) => table.self_controlled_recipient,
    }
}

fn corruption_block(inputs: &SetInputs, methodology: &Methodology) -> LossBlock {
    let corruption = &methodology.corruption;
    let rate = corruption_rate(inputs.slack, corruption);
    LossBlock {
        id: format!("{}|{}", LossClass::C5, inputs.set),
        class: LossClass::C5,
        hazard: one_year_probability(rate),
        severity: inputs.slash_max.unwrap_or(Ppt::ONE),
        shape: LossShape::certain(inputs.slash_max.unwrap_or(Ppt::ONE)),
        exposure: inputs.alpha.unwrap_or(corruption.default_alpha),
        expected_loss: ExpectedLossPpt::ZERO,
        provenance: inputs.provenance.c5,
        rate: None,
        group: None,
        own_cv2: corruption.cv2,
        credibility: Ppt::ZERO,
    }
}

/// Splits one into integer shares by weight, largest remainder first, ties by position; all zero
/// where no weight is above zero.
#[must_use]
pub fn shares_by_weight(weights: &[U256]) -> Vec<Ppt> {
    hamilton(PPT_ONE, weights).into_iter().map(Ppt).collect()
}

/// One set of an AVS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedSet {
    /// The set's id.
    pub set: String,
    /// Slashable stake of the set, any unit; `None` where it is unknown.
    pub slashable: Option<U256>,
    /// The set's blocks, per unit allocated.
    pub profile: LossProfile,
}

/// An AVS over its sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvsProfile {
    /// The AVS's blocks, per unit allocated to it.
    pub profile: LossProfile,
    /// The set with the largest expected loss, ties to the first id; published beside the rating.
    pub worst_set: String,
}

/// Weighs the sets of an AVS by exposure, or takes the worst where a weight is unknown. `None`
/// without sets.
#[must_use]
pub fn avs_profile(sets: &[WeightedSet]) -> Option<AvsProfile> {
    let mut sets: Vec<&WeightedSet> = sets.iter().collect();
    sets.sort_by(|a, b| a.set.cmp(&b.set));
    let losses = |set: &&&WeightedSet| set.profile.expected_loss();
    let worst = *sets.iter().rev().max_by_key(losses)?;
    let weights: Option<Vec<U256>> = sets.iter().map(|set| set.slashable).collect();
    let shares = shares_by_weight(&weights.unwrap_or_default());
    let is_weighted = shares.iter().any(|share| *share > Ppt::ZERO);
    let profile = if is_weighted {
        let scaled = sets.iter().zip(shares).flat_map(|(set, share)| {
            set.profile.blocks().iter().map(move |block| block.clone().on(share))
        });
        LossProfile::settle(scaled.collect())
    } else {
        worst.profile.clone()
    };
    Some(AvsProfile { profile, worst_set: worst.set.clone() })
}
