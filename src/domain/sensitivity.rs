//! What would move a rating: the model run again with one input changed, and the losses at which
//! the next boundary is crossed.
//!
//! Nothing here is estimated: a sensitivity is a second run, a threshold is solved in integers.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::attribution::Attribution;
use crate::decimal::{Atto, Ppt};
use crate::grade::{ExpectedLossPpt, Grade, RatingScale};
use crate::hazard::Slack;
use crate::id::{OperatorId, OperatorSetId};
use crate::loss_block::{LossBlock, LossClass, Provenance};
use crate::methodology::Methodology;
use crate::mitigation::{Mitigant, VerificationLevel};
use crate::operator_set::{
    Redistribution, SetInputs, SetProvenance, SlasherAuthority, VetoProfile, set_caps, set_profile,
};
use crate::ruleset::Complexity;
use crate::uncertainty::with_coverage_cap;

/// One input that is changed.
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
pub enum Change {
    /// Somebody else can slash.
    Authority(SlasherAuthority),
    /// Slashed stake goes elsewhere.
    Redistribution(Redistribution),
    /// A ruleset of this complexity is published.
    Ruleset(Complexity),
    /// A qualified resolver can veto, attested by a third party.
    VetoAdded,
    /// The profit from corruption is attested, with this slack.
    SlackKnown(Slack),
    /// One more incident of a class is seen.
    OneMoreIncident(LossClass),
    /// A year passes without an incident.
    QuietYear,
    /// A mitigant is put in place and verified.
    MitigantAdded(Mitigant),
    /// A mitigant's attestation lapses.
    MitigantLost(Mitigant),
    /// This share of the stake is allocated.
    Allocated(Ppt),
    /// The operator's allocation delay is at least the exit window.
    AllocationDelayAboveExit,
    /// The operator's allocation delay is below the exit window.
    AllocationDelayBelowExit,
    /// A first-loss reserve of so many bp is verified, and no other.
    FirstLoss(u16),
    /// This share is redeemed before a loss is recognised.
    Redeemed(Ppt),
    /// This share of a token's validators runs one client.
    ClientShare(Ppt),
    /// An operator set can slash nothing any more.
    SetLeft(OperatorSetId),
    /// Somebody else can slash for one set.
    AuthorityOf(OperatorSetId, SlasherAuthority),
    /// One more incident of one operator is seen.
    OneMoreIncidentOf(OperatorId),
}

/// What the rating would be after one change.
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
pub struct Sensitivity {
    /// What is changed.
    pub change: Change,
    /// Expected loss after it.
    pub expected_loss: ExpectedLossPpt,
    /// Grade after it, and after caps.
    pub grade: Grade,
}

/// Runs the model of a set again, once for each input that could be otherwise. `all_in` are the
/// blocks that the rating counts beside the set's own.
#[must_use]
pub fn set_sensitivities(
    inputs: &SetInputs,
    all_in: &[LossBlock],
    methodology: &Methodology,
) -> Vec<Sensitivity> {
    let run = |(change, changed): (Change, SetInputs)| {
        let profile = set_profile(&changed, methodology).with(all_in.iter().cloned());
        let expected_loss = profile.expected_loss();
        let caps = with_coverage_cap(&set_caps(&changed, methodology), &profile, methodology);
        let grade = crate::cap::capped(methodology.scale.grade(expected_loss), &caps);
        Sensitivity { change, expected_loss, grade }
    };
    let is_other = |(_, changed): &(Change, SetInputs)| changed != inputs;
    let mut changes = authority_changes(inputs);
    changes.extend(evidence_changes(inputs, methodology));
    changes.extend(time_changes(inputs));
    changes.into_iter().filter(is_other).map(run).collect()
}

fn authority_changes(inputs: &SetInputs) -> Vec<(Change, SetInputs)> {
    let authorities = [
        SlasherAuthority::Immutable,
        SlasherAuthority::TimelockedMultisig,
        SlasherAuthority::Multisig,
        SlasherAuthority::EoaOrUnknown,
    ];
    let mut changes: Vec<(Change, SetInputs)> = authorities
        .into_iter()
        .map(|authority| (Change::Authority(authority), SetInputs { authority, ..inputs.clone() }))
        .collect();
    let redistribution = Redistribution::Burned;
    let burned = SetInputs { redistribution, ..inputs.clone() };
    changes.push((Change::Redistribution(redistribution), burned));
    changes
}

/// Slacks told where it is unknown: stake worth one and a half times the profit, and twice.
const SLACKS: [Slack; 2] = [Slack(500_000_000_000), Slack(1_000_000_000_000)];

/// What a changed input is assumed to rest on: the least that may improve a rating.
const THIRD_PARTY: Provenance = Provenance::Attested(VerificationLevel::SignedThirdParty);

/// Complexity of a simple published ruleset: one rule that somebody must challenge.
const SIMPLE_RULESET: Complexity = Complexity { quarters: 4 };

fn evidence_changes(inputs: &SetInputs, methodology: &Methodology) -> Vec<(Change, SetInputs)> {
    let mut changes = Vec::new();
    if inputs.complexity.is_none() {
        let provenance = SetProvenance { c3: THIRD_PARTY, ..inputs.provenance };
        let complexity = Some(SIMPLE_RULESET);
        let published = SetInputs { complexity, provenance, ..inputs.clone() };
        changes.push((Change::Ruleset(SIMPLE_RULESET), published));
    }
    if inputs.veto.is_none() {
        let veto = VetoProfile {
            signers: methodology.veto.signers_min,
            window_blocks: methodology.veto.window_blocks_min,
            credit: methodology.levels.signed_third_party,
        };
        changes.push((Change::VetoAdded, SetInputs { veto: Some(veto), ..inputs.clone() }));
    }
    if inputs.slack.is_none() {
        changes.extend(SLACKS.map(|slack| {
            let provenance = SetProvenance { c5: THIRD_PARTY, ..inputs.provenance };
            let known = SetInputs { slack: Some(slack), provenance, ..inputs.clone() };
            (Change::SlackKnown(slack), known)
        }));
    }
    changes
}

fn time_changes(inputs: &SetInputs) -> Vec<(Change, SetInputs)> {
    let one_more = |count: Atto| count.saturating_add(Atto::ONE);
    vec![
        (
            Change::OneMoreIncident(LossClass::C3),
            SetInputs { incidents_c3: one_more(inputs.incidents_c3), ..inputs.clone() },
        ),
        (
            Change::OneMoreIncident(LossClass::C4),
            SetInputs { incidents_c4: one_more(inputs.incidents_c4), ..inputs.clone() },
        ),
        (
            Change::QuietYear,
            SetInputs { live_years: one_more(inputs.live_years), ..inputs.clone() },
        ),
    ]
}

/// The expected losses of one block at which the grade would change, all others unchanged.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, BorshSerialize, BorshDeserialize,
)]
pub struct Threshold {
    /// The block.
    pub id: String,
    /// Its cause.
    pub class: LossClass,
    /// Its expected loss now.
    pub expected_loss: ExpectedLossPpt,
    /// The largest at which the grade is one better; `None` where the block alone cannot do it.
    pub better: Option<(Grade, ExpectedLossPpt)>,
    /// The smallest at which the grade is one worse; `None` where nothing is worse but default.
    pub worse: Option<(Grade, ExpectedLossPpt)>,
}

/// Solves the boundaries for each block of an attribution, largest loss first, ties by id. None
/// where a reserve bears the first loss: what it leaves of a block depends on all others.
#[must_use]
pub fn thresholds(attribution: &Attribution, scale: &RatingScale) -> Vec<Threshold> {
    if attribution.reserve.is_some() {
        return Vec::new();
    }
    let grade = attribution.grade;
    let total = attribution.expected_loss.0;
    let is_held_by_cap = attribution.caps.iter().any(|cap| cap.ceiling >= grade);
    let better = grade.one_better();
    let better_bound = (better != grade && !is_held_by_cap)
        .then(|| scale.upper_bound(better))
        .flatten()
        .map(|bound| total.saturating_sub(bound.0));
    let worse_bound =
        scale.upper_bound(grade).map(|bound| bound.0.saturating_add(1).saturating_sub(total));

    let mut lines: Vec<Threshold> = attribution
        .blocks
        .iter()
        .map(|line| {
            let now = line.expected_loss.0;
            let fall = better_bound.and_then(|fall| now.checked_sub(fall));
            let rise = worse_bound.map(|rise| now.saturating_add(rise));
            Threshold {
                id: line.id.clone(),
                class: line.class,
                expected_loss: line.expected_loss,
                better: fall.map(|loss| (better, ExpectedLossPpt(loss))),
                worse: rise.map(|loss| (grade.one_worse(), ExpectedLossPpt(loss))),
            }
        })
        .collect();
    lines.sort_by(|a, b| b.expected_loss.cmp(&a.expected_loss).then_with(|| a.id.cmp(&b.id)));
    lines
}
