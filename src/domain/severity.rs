//! How much of an allocation an incident takes: a full loss with some probability, else a part.
//!
//! Both are priors that move with each incident. Only chain-observed shares of the allocation
//! count; what is known only as a lower bound is the caller's to leave out.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, Ppt};
use crate::parameters::{Severities, SeverityPrior};

/// What incidents of one class took so far.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct SeverityRecord {
    /// Incidents that took all, or nearly.
    pub full: u32,
    /// Incidents that took less.
    pub partial: u32,
    /// Sum of the shares that partial incidents took.
    pub partial_sum: Atto,
}

impl SeverityRecord {
    /// Adds an incident that took `share` of the allocation.
    pub fn record(&mut self, share: Ppt, parameters: &Severities) {
        if share >= parameters.full_threshold {
            self.full = self.full.saturating_add(1);
        } else {
            self.partial = self.partial.saturating_add(1);
            self.partial_sum = self.partial_sum.saturating_add(share.to_atto());
        }
    }
}

/// The severity expected of the next incident.
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
pub struct Severity {
    /// Mean share of the allocation that is lost.
    pub mean: Ppt,
    /// Probability of a full loss.
    pub full: Ppt,
    /// Share lost then: all, or the bound.
    pub full_loss: Ppt,
    /// Mean share of a partial loss.
    pub partial: Ppt,
    /// Squared coefficient of variation of the mean, as far as it is uncertain.
    pub cv2: Atto,
}

impl Severity {
    /// A severity that is set and not estimated.
    #[must_use]
    pub fn fixed(mean: Ppt) -> Self {
        Self { mean, full: Ppt::ZERO, full_loss: Ppt::ONE, partial: mean, cv2: Atto::ZERO }
    }

    /// The posterior of a class. `slash_max` is the bound that a verified slasher enforces.
    ///
    /// The bound is put on the full and on the mean partial loss, which is never below the mean of
    /// the bounded loss.
    #[must_use]
    pub fn estimate(
        prior: &SeverityPrior,
        record: &SeverityRecord,
        slash_max: Option<Ppt>,
        parameters: &Severities,
    ) -> Self {
        let full_count = prior.full.0.saturating_add(Atto::from_whole(record.full.into()));
        let partial_count = prior.full.1.saturating_add(Atto::from_whole(record.partial.into()));
        let counts = full_count.saturating_add(partial_count);
        let full = full_count.saturating_div(counts);

        let prior_count = parameters.partial_pseudo_count;
        let seen = prior_count.saturating_add(Atto::from_whole(record.partial.into()));
        let partial = prior_count
            .saturating_mul(prior.partial_mean)
            .saturating_add(record.partial_sum)
            .saturating_div(seen);

        let bound = slash_max.unwrap_or(Ppt::ONE).to_atto();
        let not_full = Atto::ONE.saturating_sub(full);
        let capped_partial = partial.min(bound);
        let mean = full
            .saturating_mul(bound.min(Atto::ONE))
            .saturating_add(not_full.saturating_mul(capped_partial));

        let full_variance = beta_variance(full, counts);
        let partial_variance = beta_variance(partial, seen);
        let gap = Atto::ONE.saturating_sub(partial);
        let variance = gap
            .saturating_mul(gap)
            .saturating_mul(full_variance)
            .saturating_add(not_full.saturating_mul(not_full).saturating_mul(partial_variance));
        let uncapped = full.saturating_add(not_full.saturating_mul(partial));
        Self {
            mean: mean.to_ppt(),
            full: full.to_ppt(),
            full_loss: bound.min(Atto::ONE).to_ppt(),
            partial: capped_partial.to_ppt(),
            cv2: variance.saturating_div(uncapped.saturating_mul(uncapped).max(Atto(1))),
        }
    }

    /// The part that a veto does not stop.
    #[must_use]
    pub fn after_veto(self, stopped: Ppt) -> Self {
        let passes = stopped.complement();
        Self {
            mean: self.mean.times(passes),
            full_loss: self.full_loss.times(passes),
            partial: self.partial.times(passes),
            ..self
        }
    }
}

/// Variance of a Beta with this mean and this many observations.
fn beta_variance(mean: Atto, count: Atto) -> Atto {
    mean.saturating_mul(Atto::ONE.saturating_sub(mean))
        .saturating_div(count.saturating_add(Atto::ONE))
}
