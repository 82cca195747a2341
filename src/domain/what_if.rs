//! What would move an operator's rating: its model run again with one input changed.
//!
//! The same idea as `sensitivity` has for sets; here the input is changed where the state is read.

use crate::assess::{Opinion, When, assess_with, grade_of};
use crate::decimal::{Atto, Ppt};
use crate::evidence::Mitigants;
use crate::id::RatedEntity;
use crate::loss_block::LossClass;
use crate::methodology::Methodology;
use crate::mitigation::Mitigant;
use crate::operator::SetPosition;
use crate::sensitivity::{Change, Sensitivity};
use crate::state::ChainState;

/// One input read otherwise than the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tweak {
    /// The change, if any.
    pub change: Option<Change>,
    /// Whether mitigants lower a hazard.
    pub mitigants: Mitigants,
}

impl Tweak {
    /// Nothing is changed.
    pub const NONE: Self = Self { change: None, mitigants: Mitigants::Counted };

    fn is(&self, change: Change) -> bool {
        self.change == Some(change)
    }

    /// Decayed incidents of the operator.
    pub(crate) fn incidents(&self, incidents: Atto) -> Atto {
        let more = self.is(Change::OneMoreIncident(LossClass::C1));
        if more { incidents.saturating_add(Atto::ONE) } else { incidents }
    }

    /// Years that are added without an incident.
    pub(crate) fn added_years(&self) -> Atto {
        if self.is(Change::QuietYear) { Atto::ONE } else { Atto::ZERO }
    }

    /// Mitigants and their credit.
    pub(crate) fn credits(
        &self,
        mut credits: Vec<(Mitigant, Atto)>,
        can_cover: bool,
        methodology: &Methodology,
    ) -> Vec<(Mitigant, Atto)> {
        if self.mitigants == Mitigants::Ignored {
            return Vec::new();
        }
        match self.change {
            // An anti-slasher is worth nothing for rules that nobody published.
            Some(Change::MitigantAdded(Mitigant::AntiSlasher)) if !can_cover => {}
            Some(Change::MitigantAdded(added)) => {
                credits.push((added, methodology.levels.signed_third_party));
            }
            Some(Change::MitigantLost(lost)) => credits.retain(|(held, _)| *held != lost),
            _ => {}
        }
        credits
    }

    /// Whether the operator can allocate before a delegator can leave.
    pub(crate) fn can_surprise(&self, by_log: bool) -> bool {
        match self.change {
            Some(Change::AllocationDelayAboveExit) => false,
            Some(Change::AllocationDelayBelowExit) => true,
            _ => by_log,
        }
    }

    /// Positions with their allocations scaled to a share of the stake.
    pub(crate) fn scale(&self, positions: &mut [SetPosition]) {
        let Some(Change::Allocated(wanted)) = self.change else { return };
        let total = positions.iter().fold(0_u64, |sum, p| sum.saturating_add(p.allocated.0));
        for position in positions {
            let scaled = crate::decimal::mul_div_half_even(
                position.allocated.0.into(),
                wanted.0.into(),
                total.max(1).into(),
            );
            position.allocated = Ppt(u64::try_from(scaled).unwrap_or(u64::MAX)).min(Ppt::ONE);
        }
    }
}

/// The shares of an operator's stake that are tried.
const SHARES: [Ppt; 2] = [Ppt(100_000_000_000), Ppt::ONE];

const MITIGANTS: [Mitigant; 4] =
    [Mitigant::AntiSlasher, Mitigant::RemoteSigner, Mitigant::Dvt, Mitigant::Doppelganger];

/// Runs the model of an operator again, once for each input that could be otherwise.
#[must_use]
pub fn operator_sensitivities(
    chain: &ChainState,
    entity: &RatedEntity,
    when: When,
    methodology: &Methodology,
) -> Vec<Sensitivity> {
    let run = |change| {
        let tweak = Tweak { change, ..Tweak::NONE };
        let opinion: Opinion = assess_with(chain, entity, when, tweak, methodology);
        (opinion.profile.expected_loss(), grade_of(&opinion, methodology))
    };
    let base = run(None);
    let mut changes = vec![
        Change::OneMoreIncident(LossClass::C1),
        Change::QuietYear,
        Change::AllocationDelayAboveExit,
        Change::AllocationDelayBelowExit,
    ];
    changes.extend(MITIGANTS.map(Change::MitigantAdded));
    changes.extend(MITIGANTS.map(Change::MitigantLost));
    changes.extend(SHARES.map(Change::Allocated));
    changes
        .into_iter()
        .map(|change| (change, run(Some(change))))
        .filter(|(_, found)| *found != base)
        .map(|(change, (expected_loss, grade))| Sensitivity { change, expected_loss, grade })
        .collect()
}
