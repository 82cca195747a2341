//! What would move the rating of an operator or of a token: its model run again with one input
//! changed.
//!
//! The same idea as `sensitivity` has for sets; here the input is changed where the state is read.

use std::collections::BTreeMap;

use alloy_primitives::U256;

use crate::assess::{Opinion, When, assess, assess_with, grade_of};
use crate::decimal::{Atto, Ppt};
use crate::evidence::Mitigants;
use crate::id::{OperatorId, OperatorSetId, RatedEntity};
use crate::loss_block::LossClass;
use crate::lrt::Place;
use crate::methodology::Methodology;
use crate::mitigation::Mitigant;
use crate::operator::SetPosition;
use crate::operator_set::SlasherAuthority;
use crate::sensitivity::{Change, Sensitivity};
use crate::state::ChainState;
use crate::tail::Run;

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

    /// Decayed incidents of an operator.
    pub(crate) fn incidents(&self, operator: OperatorId, incidents: Atto) -> Atto {
        let more = self.is(Change::OneMoreIncident(LossClass::C1))
            || self.is(Change::OneMoreIncidentOf(operator));
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

    /// What bears a token's first loss, bp.
    pub(crate) fn first_loss(&self, by_log: Option<u16>) -> Option<u16> {
        match self.change {
            Some(Change::FirstLoss(bp)) => Some(bp),
            _ => by_log,
        }
    }

    /// Who leaves a token before a loss is recognised.
    pub(crate) const fn run(&self, by_log: Run) -> Run {
        match self.change {
            Some(Change::Redeemed(redeemed)) => Run { redeemed, forced: None, ..by_log },
            _ => by_log,
        }
    }

    /// Share of a token's validators that run one client.
    pub(crate) const fn client_share(&self, assumed: Ppt) -> Ppt {
        match self.change {
            Some(Change::ClientShare(share)) => share,
            _ => assumed,
        }
    }

    /// Whether a set can slash nothing any more.
    pub(crate) fn has_left(&self, set: OperatorSetId) -> bool {
        self.is(Change::SetLeft(set))
    }

    /// Who can slash for a set.
    pub(crate) fn authority(
        &self,
        set: OperatorSetId,
        by_log: SlasherAuthority,
    ) -> SlasherAuthority {
        match self.change {
            Some(Change::AuthorityOf(of, authority)) if of == set => authority,
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
    let mut changes = vec![
        Change::OneMoreIncident(LossClass::C1),
        Change::QuietYear,
        Change::AllocationDelayAboveExit,
        Change::AllocationDelayBelowExit,
    ];
    changes.extend(MITIGANTS.map(Change::MitigantAdded));
    changes.extend(MITIGANTS.map(Change::MitigantLost));
    changes.extend(SHARES.map(Change::Allocated));
    let base = assess(chain, entity, when, methodology);
    that_move(changes, &base, chain, entity, when, methodology)
}

/// First-loss reserves that are tried, bp.
const RESERVES_BP: [u16; 2] = [100, 300];
/// Shares redeemed before a loss is recognised that are tried: none, and a tenth.
const REDEEMED: [Ppt; 2] = [Ppt::ZERO, Ppt(100_000_000_000)];
/// Shares of validators on one client that are tried: a fifth, and two thirds.
const CLIENT_SHARES: [Ppt; 2] = [Ppt(200_000_000_000), Ppt(666_666_666_667)];
/// Operators and sets that are tried, those with most of the token first.
const NAMED_MAX: usize = 2;

/// Runs the model of a token again, once for each input that could be otherwise. The operators and
/// sets that are named are those with most of it.
#[must_use]
pub fn lrt_sensitivities(
    chain: &ChainState,
    entity: &RatedEntity,
    when: When,
    methodology: &Methodology,
) -> Vec<Sensitivity> {
    let base = assess(chain, entity, when, methodology);
    let Some(lrt) = &base.lrt else { return Vec::new() };
    let mut sets: BTreeMap<OperatorSetId, U256> = BTreeMap::new();
    let mut operators: BTreeMap<OperatorId, U256> = BTreeMap::new();
    for position in &lrt.look_through.positions {
        if let Place::Slashable { operator, operator_set, .. } = position.place {
            for sum in
                [sets.entry(operator_set).or_default(), operators.entry(operator).or_default()]
            {
                *sum = sum.saturating_add(position.value);
            }
        }
    }
    let held = lrt.first_loss.as_ref().map_or(0, |first_loss| first_loss.bp);
    let mut changes: Vec<Change> =
        RESERVES_BP.into_iter().filter(|bp| *bp > held).map(Change::FirstLoss).collect();
    if held > 0 {
        changes.push(Change::FirstLoss(0));
    }
    changes.extend(REDEEMED.map(Change::Redeemed));
    changes.extend(CLIENT_SHARES.map(Change::ClientShare));
    for set in largest(sets) {
        changes.push(Change::SetLeft(set));
        changes.push(Change::AuthorityOf(set, SlasherAuthority::TimelockedMultisig));
    }
    changes.extend(largest(operators).map(Change::OneMoreIncidentOf));
    that_move(changes, &base, chain, entity, when, methodology)
}

/// The keys of the largest values, ties by key.
fn largest<K: Copy + Ord>(values: BTreeMap<K, U256>) -> impl Iterator<Item = K> {
    let mut values: Vec<(K, U256)> = values.into_iter().collect();
    values.sort_by(|(a, one), (b, two)| two.cmp(one).then(a.cmp(b)));
    values.into_iter().map(|(key, _)| key).take(NAMED_MAX)
}

/// The changes that move a rating, and where to.
fn that_move(
    changes: Vec<Change>,
    base: &Opinion,
    chain: &ChainState,
    entity: &RatedEntity,
    when: When,
    methodology: &Methodology,
) -> Vec<Sensitivity> {
    let graded =
        |opinion: &Opinion| (opinion.profile.expected_loss(), grade_of(opinion, methodology));
    let base = graded(base);
    let run = |change| {
        let tweak = Tweak { change: Some(change), ..Tweak::NONE };
        (change, graded(&assess_with(chain, entity, when, tweak, methodology)))
    };
    changes
        .into_iter()
        .map(run)
        .filter(|(_, found)| *found != base)
        .map(|(change, (expected_loss, grade))| Sensitivity { change, expected_loss, grade })
        .collect()
}
