//! Caps: ceilings on a grade that no model result passes.
//!
//! Each has a reason and becomes its own line of the attribution. A cap never makes a grade better.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, Ppt};
use crate::grade::Grade;
use crate::methodology::Methodology;

/// Why a grade cannot be better.
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
pub enum CapReason {
    /// The slasher is a single key, or unknown.
    SlasherEoaOrUnknown,
    /// The redistribution recipient is a single key.
    RecipientEoa,
    /// Nobody published the ruleset.
    RulesetUnpublished,
    /// The profit from corruption is unknown.
    CorruptionProfitUnknown,
    /// Reserves are between 99 and 100 % of liabilities.
    ReserveBelowFull,
    /// The proof of reserve is stale or absent.
    ReserveStaleOrAbsent,
    /// Redemptions are paused.
    RedemptionsPaused,
    /// The 99.9 % expected shortfall takes more than half of the exposure.
    TailAboveHalf,
    /// Less than three quarters of the expected loss rests on evidence.
    CoverageBelowThreeQuarters,
    /// Less than half of the expected loss rests on evidence.
    CoverageBelowHalf,
    /// Mitigants lift a young operator only so far.
    MitigationUplift,
    /// A default happened and is not resolved.
    DefaultEvent,
}

impl CapReason {
    /// The name of the attribution line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SlasherEoaOrUnknown => "cap|slasher_eoa_or_unknown",
            Self::RecipientEoa => "cap|recipient_eoa",
            Self::RulesetUnpublished => "cap|ruleset_unpublished",
            Self::CorruptionProfitUnknown => "cap|corruption_profit_unknown",
            Self::ReserveBelowFull => "cap|reserve_below_full",
            Self::ReserveStaleOrAbsent => "cap|reserve_stale_or_absent",
            Self::RedemptionsPaused => "cap|redemptions_paused",
            Self::TailAboveHalf => "cap|tail_above_half",
            Self::CoverageBelowThreeQuarters => "cap|coverage_below_three_quarters",
            Self::CoverageBelowHalf => "cap|coverage_below_half",
            Self::MitigationUplift => "cap|mitigation_uplift",
            Self::DefaultEvent => "cap|default_event",
        }
    }
}

/// A ceiling with its reason.
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
pub struct Cap {
    /// The best grade that is still allowed.
    pub ceiling: Grade,
    /// Why.
    pub reason: CapReason,
}

impl Cap {
    /// The cap of a reason whose ceiling the methodology file sets; `None` for the uplift limit,
    /// whose ceiling depends on the rating.
    #[must_use]
    pub fn of(reason: CapReason, methodology: &Methodology) -> Option<Self> {
        let caps = &methodology.caps;
        let ceiling = match reason {
            CapReason::SlasherEoaOrUnknown => caps.slasher_eoa_or_unknown,
            CapReason::RecipientEoa => caps.recipient_eoa,
            CapReason::RulesetUnpublished => caps.ruleset_unpublished,
            CapReason::CorruptionProfitUnknown => caps.corruption_profit_unknown,
            CapReason::ReserveBelowFull => caps.reserve_below_full,
            CapReason::ReserveStaleOrAbsent => caps.reserve_stale_or_absent,
            CapReason::RedemptionsPaused => caps.redemptions_paused,
            CapReason::TailAboveHalf => caps.tail_above_half,
            CapReason::CoverageBelowThreeQuarters => caps.coverage_below_three_quarters,
            CapReason::CoverageBelowHalf => caps.coverage_below_half,
            CapReason::DefaultEvent => Grade::D,
            CapReason::MitigationUplift => return None,
        };
        Some(Self { ceiling, reason })
    }

    /// The cap that low coverage brings, if any.
    #[must_use]
    pub fn of_coverage(coverage: Ppt, methodology: &Methodology) -> Option<Self> {
        let reason = if coverage < methodology.caps.coverage_half {
            CapReason::CoverageBelowHalf
        } else if coverage < methodology.caps.coverage_three_quarters {
            CapReason::CoverageBelowThreeQuarters
        } else {
            return None;
        };
        Self::of(reason, methodology)
    }

    /// The cap on what mitigants may add while an operator is young: so many notches better than
    /// `unmitigated`, the grade its expected loss has without them.
    #[must_use]
    pub fn of_uplift(unmitigated: Grade, years: Atto, methodology: &Methodology) -> Option<Self> {
        let mitigation = &methodology.mitigation;
        (years < mitigation.uplift_limited_until_years).then(|| Self {
            ceiling: unmitigated.raised_by(mitigation.uplift_notches_max),
            reason: CapReason::MitigationUplift,
        })
    }
}

/// The grade that caps leave of a model grade.
#[must_use]
pub fn capped(model: Grade, caps: &[Cap]) -> Grade {
    caps.iter().fold(model, |grade, cap| grade.worse(cap.ceiling))
}
