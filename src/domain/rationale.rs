//! A rating in plain sentences, written from its numbers.
//!
//! No sentence contains text from a chain or from an attestation: only causes, shortened addresses,
//! grades and numbers. What would move the rating is worked out in `sensitivity`.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::attribution::{Attribution, BlockLine};
use crate::cap::CapReason;
use crate::decimal::{PPT_PER_BP, Ppt, mul_div_half_even};
use crate::grade::{ExpectedLossPpt, Grade, RatingScale};
use crate::hazard::Slack;
use crate::loss_block::LossClass;
use crate::lrt::LrtOpinion;
use crate::methodology::Methodology;
use crate::mitigation::{Mitigant, VerificationLevel};
use crate::operator_set::{RecipientKind, Redistribution, SlasherAuthority};
use crate::sensitivity::{Change, Sensitivity, thresholds};
use crate::uncertainty::{NotRated, Uncertainty};

/// Blocks that are named one by one; the others are summed up. A reader stops after five.
const DRIVERS_MAX: usize = 5;

/// Blocks whose thresholds are told. More repeat the same distance.
const THRESHOLDS_MAX: usize = 2;

/// The sentences of a rating.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Rationale {
    /// Grade and expected loss.
    pub headline: String,
    /// What the score consists of, the largest part first, then the ceilings that bind.
    pub drivers: Vec<String>,
    /// What would make the rating better.
    pub raises: Vec<String>,
    /// What would make it worse.
    pub lowers: Vec<String>,
    /// How sure it is.
    pub limits: Vec<String>,
}

/// Writes the sentences. `published` is the grade after hysteresis and caps.
#[must_use]
pub fn rationale(
    published: Grade,
    attribution: &Attribution,
    uncertainty: &Uncertainty,
    sensitivities: &[Sensitivity],
    methodology: &Methodology,
) -> Rationale {
    let (better, worse): (Vec<&Sensitivity>, Vec<&Sensitivity>) = sensitivities
        .iter()
        .filter(|sensitivity| moves(sensitivity, attribution))
        .partition(|sensitivity| improves(sensitivity, attribution));
    let (falls, rises) = threshold_sentences(attribution, &methodology.scale);
    Rationale {
        headline: headline(published, attribution, uncertainty, methodology),
        drivers: drivers(attribution),
        raises: ceilings_lifted(attribution)
            .into_iter()
            .chain(better.into_iter().map(sensitivity_sentence))
            .chain(falls)
            .collect(),
        lowers: worse.into_iter().map(sensitivity_sentence).chain(rises).collect(),
        limits: limits(uncertainty, methodology),
    }
}

/// Says why there is no rating.
#[must_use]
pub fn not_rated_sentence(reason: NotRated) -> String {
    match reason {
        NotRated::NothingKnown => {
            "Not rated: no allocation of it is in the log, so nothing that it could lose is known."
                .to_owned()
        }
        NotRated::NoOperatorSet => "Not rated: it has no operator set. Whoever is registered with \
             it is so in the older AVSDirectory, which cannot slash."
            .to_owned(),
        NotRated::CoverageTooLow { coverage, needed } => format!(
            "Not rated: {} % of the expected loss rests on evidence, {} % is needed, and no \
             component was read from the chain.",
            percent(coverage.0),
            percent(needed.0),
        ),
        NotRated::PriceUnknown { strategy } => format!(
            "Not rated: operator sets can slash shares of strategy {strategy} that it holds, and \
             no price of the strategy is recorded."
        ),
    }
}

/// How well a token can be left, and what that rests on.
#[must_use]
pub fn exit_sentences(lrt: &LrtOpinion) -> Vec<String> {
    let liquidity = &lrt.liquidity;
    let redemption = match liquidity.days {
        _ if liquidity.redemption.is_paused => "redemptions are stopped".to_owned(),
        None => "nobody knows how long it takes to redeem 5 % of it".to_owned(),
        Some(days) => format!("to redeem 5 % of it takes {days} days"),
    };
    let sale = match &liquidity.by_cost {
        None => "what a sale costs is not known, since nobody attested it".to_owned(),
        Some((grade, sale)) => format!(
            "to sell 1 % costs {} % (L{}), as {}",
            percent(sale.cost.0),
            grade.number(),
            who(sale.level),
        ),
    };
    let mut sentences = vec![format!(
        "Liquidity is L{}, which is no part of the grade: {redemption} (L{}), and {sale}.",
        liquidity.grade.number(),
        liquidity.by_days.number(),
    )];
    let (guard, leaving) = (percent(lrt.run.guard.0), percent(lrt.run.redeemed.0));
    let mut run = format!(
        "Before a loss above {guard} % is recognised, {leaving} % of it is taken to leave at the \
         old value."
    );
    if let Some(lending) = &lrt.lending {
        let added = lrt.run.forced.map_or(Ppt::ZERO, |sale| sale.share);
        run.push_str(&format!(
            " {} % stands behind loans that buy more of it, as {}: lenders sell from a loss of \
             {} % on, and {} % more leaves.",
            percent(lending.looped.0),
            who(lending.level),
            percent(lending.sold_from.0),
            percent(added.0),
        ));
    }
    sentences.push(run);
    sentences
}

const fn who(level: Option<VerificationLevel>) -> &'static str {
    match level {
        Some(_) => "a third party attests",
        None => "somebody concerned says",
    }
}

/// Per cent with at most three significant digits, or all whole per cents, rounded half-even.
#[must_use]
pub fn percent(ppt: u64) -> String {
    const PERCENT_DIGITS: u32 = 10;
    let length = ppt.checked_ilog10().unwrap_or(0);
    let dropped = length.saturating_sub(2).min(PERCENT_DIGITS);
    let kept = mul_div_half_even(ppt.into(), 1, 10_u128.saturating_pow(dropped));
    let decimals = usize::try_from(PERCENT_DIGITS.saturating_sub(dropped)).unwrap_or(0);
    let text = format!("{kept:0>width$}", width = decimals.saturating_add(1));
    let (whole, fraction) = text.split_at(text.len().saturating_sub(decimals));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

fn headline(
    published: Grade,
    attribution: &Attribution,
    uncertainty: &Uncertainty,
    methodology: &Methodology,
) -> String {
    let suffix = if uncertainty.is_provisional(methodology) { " (p)" } else { "" };
    let loss = percent(attribution.expected_loss.0);
    let mut text =
        format!("{published}{suffix}: {loss} % of the exposure is expected to be lost in a year.");
    if attribution.grade != attribution.model_grade {
        text.push_str(&format!(
            " That alone is {}; a ceiling holds it at {}.",
            attribution.model_grade, attribution.grade,
        ));
    }
    if published != attribution.grade {
        text.push_str(&format!(
            " Today's figures give {}; the rating follows when they have lasted.",
            attribution.grade,
        ));
    }
    text
}

fn drivers(attribution: &Attribution) -> Vec<String> {
    let mut lines: Vec<&BlockLine> = attribution.blocks.iter().collect();
    let all = lines.iter().fold(0_u64, |sum, line| sum.saturating_add(line.expected_loss.0));
    lines.sort_by(|a, b| b.expected_loss.cmp(&a.expected_loss).then_with(|| a.id.cmp(&b.id)));
    let mut sentences: Vec<String> = lines
        .iter()
        .take(DRIVERS_MAX)
        .filter(|line| line.expected_loss > ExpectedLossPpt::ZERO)
        .map(|line| driver_sentence(line, attribution, all))
        .collect();
    let others = lines.iter().skip(DRIVERS_MAX);
    let (count, points) = others.fold((0_u32, 0_u16), |(count, points), line| {
        (count.saturating_add(1), points.saturating_add(line.points))
    });
    if count > 0 {
        sentences.push(format!("The other {count} causes add {points} points."));
    }
    sentences.extend(attribution.reserve.as_ref().map(|reserve| {
        format!(
            "A reserve of {} % of its value that bears the first loss takes off {} points and {} % \
             of expected loss.",
            percent(u64::from(reserve.bp).saturating_mul(PPT_PER_BP)),
            reserve.points,
            percent(reserve.expected_loss.0),
        )
    }));
    let binding = attribution.caps.iter().filter(|cap| cap.points > 0);
    sentences.extend(binding.map(|cap| {
        let reason = cap_text(cap.reason);
        format!("A ceiling of {} adds {} points: {reason}.", cap.ceiling, cap.points)
    }));
    sentences
}

fn driver_sentence(line: &BlockLine, attribution: &Attribution, all: u64) -> String {
    let share = mul_div_half_even(line.expected_loss.0.into(), Ppt::ONE.0.into(), all.into());
    format!(
        "{}: {} of {} points, expected loss {} %, {} % of all.",
        what(line.class, &line.id),
        line.points,
        attribution.score.0,
        percent(line.expected_loss.0),
        percent(u64::try_from(share).unwrap_or(u64::MAX)),
    )
}

/// What the grade would be without one of the ceilings, or without all where one does not help.
fn ceilings_lifted(attribution: &Attribution) -> Vec<String> {
    let without = |gone: CapReason| {
        let others = attribution.caps.iter().filter(|cap| cap.reason != gone);
        others.fold(attribution.model_grade, |grade, cap| grade.worse(cap.ceiling))
    };
    let lifted: Vec<String> = attribution
        .caps
        .iter()
        .map(|cap| (cap.reason, without(cap.reason)))
        .filter(|(_, grade)| *grade < attribution.grade)
        .map(|(reason, grade)| {
            let reason = cap_text(reason);
            format!("Without the ceiling because {reason}, the grade would be {grade}.")
        })
        .collect();
    if lifted.is_empty() && attribution.model_grade < attribution.grade {
        return vec![format!(
            "Without any ceiling the grade would be {}.",
            attribution.model_grade
        )];
    }
    lifted
}

fn moves(sensitivity: &Sensitivity, attribution: &Attribution) -> bool {
    (sensitivity.grade, sensitivity.expected_loss) != (attribution.grade, attribution.expected_loss)
}

fn improves(sensitivity: &Sensitivity, attribution: &Attribution) -> bool {
    (sensitivity.grade, sensitivity.expected_loss) < (attribution.grade, attribution.expected_loss)
}

fn sensitivity_sentence(sensitivity: &Sensitivity) -> String {
    format!(
        "If {}, the expected loss would be {} % ({}).",
        change_text(sensitivity.change),
        percent(sensitivity.expected_loss.0),
        sensitivity.grade,
    )
}

/// What single causes would have to come to for the next grade, better and worse.
fn threshold_sentences(
    attribution: &Attribution,
    scale: &RatingScale,
) -> (Vec<String>, Vec<String>) {
    let thresholds = thresholds(attribution, scale);
    let falls = thresholds.iter().filter_map(|threshold| {
        let (grade, loss) = threshold.better?;
        let (now, then) = (percent(threshold.expected_loss.0), percent(loss.0));
        let what = what(threshold.class, &threshold.id);
        Some(format!("{what} would have to fall from {now} % to {then} % for {grade}."))
    });
    let rises = thresholds.iter().filter_map(|threshold| {
        let (grade, loss) = threshold.worse?;
        let (now, then) = (percent(threshold.expected_loss.0), percent(loss.0));
        let what = what(threshold.class, &threshold.id);
        Some(format!("{what} rising from {now} % to {then} % would make it {grade}."))
    });
    (falls.take(THRESHOLDS_MAX).collect(), rises.take(THRESHOLDS_MAX).collect())
}

fn limits(uncertainty: &Uncertainty, methodology: &Methodology) -> Vec<String> {
    let parameters = &methodology.uncertainty;
    vec![
        format!(
            "With {} % probability the expected loss is between {} % ({}) and {} % ({}).",
            percent(parameters.interval_level.0),
            percent(uncertainty.low.0),
            uncertainty.low_grade,
            percent(uncertainty.high.0),
            uncertainty.high_grade,
        ),
        format!(
            "With {} % probability the grade before ceilings is {} or better.",
            percent(parameters.conservative_level.0),
            uncertainty.conservative_grade,
        ),
        format!(
            "{} % of the expected loss rests on evidence; own data have a weight of {} %.",
            percent(uncertainty.coverage.0),
            percent(uncertainty.data_sufficiency.0),
        ),
    ]
}

/// A block in words: its cause, and who it is about.
fn what(class: LossClass, id: &str) -> String {
    let about = id.split_once('|').map_or(id, |(_, about)| about);
    let (one, two) = about.split_once('|').map_or((about, None), |(one, two)| (one, Some(two)));
    match (class, two) {
        (LossClass::C1, Some(set)) => {
            format!("Signing faults of operator {} in set {}", short(one), short(set))
        }
        (LossClass::C1, None) => format!("Signing faults in set {}", short(one)),
        (LossClass::C1Wide, _) => {
            format!("Signing faults of operator {} in all sets at once", short(one))
        }
        (LossClass::C2, Some(set)) => {
            format!("Slashes of operator {} for being absent in set {}", short(one), short(set))
        }
        (LossClass::C2, None) => format!("Slashes for being absent in set {}", short(one)),
        (LossClass::C3, _) => format!("Bugs and false slashes of the logic of set {}", short(one)),
        (LossClass::C4, _) => {
            format!("Abuse or loss of the keys that can slash for set {}", short(one))
        }
        (LossClass::C5, _) => format!("Corruption of set {} that pays", short(one)),
        (LossClass::C6, _) if one == "client" => "A bug in a client of the base layer".to_owned(),
        (LossClass::C6, _) => format!("Slashed validators of operator {}", short(one)),
        (LossClass::C7, _) => "The platform's contracts".to_owned(),
        (LossClass::C8, Some(_)) => "Reserves that are missing".to_owned(),
        (LossClass::C8, None) => "The token's own contracts and governance".to_owned(),
    }
}

/// An address by its ends; a set's number behind it; how many more sets share the cause.
fn short(text: &str) -> String {
    let (name, others) = text.split_once('+').map_or((text, None), |(name, n)| (name, Some(n)));
    let (address, number) = name.split_once(':').map_or((name, None), |(a, n)| (a, Some(n)));
    let mut shown = match (address.get(..6), address.get(38..)) {
        (Some(head), Some(tail)) if address.len() == 42 => format!("{head}…{tail}"),
        _ => address.to_owned(),
    };
    if let Some(number) = number {
        shown.push_str(&format!(":{number}"));
    }
    if let Some(others) = others {
        shown.push_str(&format!(" and {others} more with the same keys"));
    }
    shown
}

fn cap_text(reason: CapReason) -> &'static str {
    match reason {
        CapReason::SlasherEoaOrUnknown => "the slasher is a single key or unknown",
        CapReason::RecipientEoa => "the recipient of slashed stake is a single key",
        CapReason::RulesetUnpublished => "the ruleset is unpublished",
        CapReason::CorruptionProfitUnknown => "the profit from corruption is unknown",
        CapReason::ReserveBelowFull => "reserves are below liabilities",
        CapReason::ReserveStaleOrAbsent => "the proof of reserve is stale or absent",
        CapReason::RedemptionsPaused => "redemptions are paused",
        CapReason::TailAboveHalf => "the worst year in a thousand takes more than half",
        CapReason::CoverageBelowThreeQuarters => "under three quarters of it rest on evidence",
        CapReason::CoverageBelowHalf => "less than half of it rests on evidence",
        CapReason::MitigationUplift => "the operator is too young for all of its mitigants",
        CapReason::DefaultEvent => "a default is not resolved",
    }
}

fn change_text(change: Change) -> String {
    match change {
        Change::Authority(authority) => format!("the slasher were {}", authority_text(authority)),
        Change::Redistribution(to) => redistribution_text(to).to_owned(),
        Change::Ruleset(complexity) => {
            format!("a ruleset of complexity {} were published", complexity.to_atto())
        }
        Change::VetoAdded => {
            "an independent resolver attested by a third party could veto slashes".to_owned()
        }
        Change::SlackKnown(slack) => {
            format!("the profit from corruption were known, with a slack of {}", slack_text(slack))
        }
        Change::OneMoreIncident(class) => format!("one more incident of {class} were seen"),
        Change::QuietYear => "another year passed without an incident".to_owned(),
        Change::MitigantAdded(mitigant) => format!("{} were verified", mitigant_text(mitigant)),
        Change::MitigantLost(mitigant) => format!("{} lapsed", mitigant_text(mitigant)),
        Change::Allocated(share) => format!("{} % were allocated", percent(share.0)),
        Change::AllocationDelayAboveExit => {
            "new allocations took longer than a delegator needs to leave".to_owned()
        }
        Change::AllocationDelayBelowExit => {
            "new allocations were faster than a delegator can leave".to_owned()
        }
        Change::FirstLoss(0) => "nothing bore the first loss".to_owned(),
        Change::FirstLoss(bp) => format!(
            "a reserve of {} % of its value, verified by a third party, bore the first loss",
            percent(u64::from(bp).saturating_mul(PPT_PER_BP)),
        ),
        Change::Redeemed(Ppt::ZERO) => "losses were recognised before anybody left".to_owned(),
        Change::Redeemed(share) => {
            format!("{} % left before a loss was recognised", percent(share.0))
        }
        Change::ClientShare(share) => {
            format!("one client ran {} % of its validators", percent(share.0))
        }
        Change::SetLeft(set) => format!("set {} could slash none of it", short(&set.to_string())),
        Change::AuthorityOf(set, authority) => format!(
            "the slasher of set {} were {}",
            short(&set.to_string()),
            authority_text(authority),
        ),
        Change::OneMoreIncidentOf(operator) => {
            format!("one more incident of operator {} were seen", short(&operator.to_string()))
        }
    }
}

fn authority_text(authority: SlasherAuthority) -> &'static str {
    match authority {
        SlasherAuthority::Immutable => "an immutable verified contract",
        SlasherAuthority::TimelockedMultisig => "a multisig with a 14-day timelock",
        SlasherAuthority::Multisig => "a multisig without a timelock",
        SlasherAuthority::EoaOrUnknown => "a single key or unknown",
    }
}

fn redistribution_text(to: Redistribution) -> &'static str {
    match to {
        Redistribution::Burned => "slashed stake were burned",
        Redistribution::Immediate(RecipientKind::Contract) => {
            "slashed stake were paid to a contract"
        }
        Redistribution::Immediate(RecipientKind::Eoa) => "slashed stake were paid to a single key",
        Redistribution::Delayed(RecipientKind::Contract) => {
            "slashed stake were paid to a contract after the delay"
        }
        Redistribution::Delayed(RecipientKind::Eoa) => {
            "slashed stake were paid to a single key after the delay"
        }
        Redistribution::SelfControlled(_) => "slashed stake were paid to those who can slash",
    }
}

fn mitigant_text(mitigant: Mitigant) -> &'static str {
    match mitigant {
        Mitigant::AntiSlasher => "an anti-slasher in secure hardware",
        Mitigant::RemoteSigner => "a remote signer with a slashing-protection database",
        Mitigant::Dvt => "distributed validator technology",
        Mitigant::Doppelganger => "doppelganger detection",
    }
}

fn slack_text(Slack(slack): Slack) -> String {
    let sign = if slack < 0 { "-" } else { "" };
    format!("{sign}{}", Ppt(slack.unsigned_abs()))
}
