//! Experience: decayed incidents and decayed time at risk, in integers.
//!
//! Both are decayed by the same factor, once an epoch and never in between, so that it does not
//! matter in how many steps a node arrives at an epoch. Rates are made from this in `frailty`.

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::decimal::{Atto, PPT_ONE};
use crate::parameters::{Clock, Decay, Exposure};

/// Incidents and live days of one (operator, set) or one AVS, decayed to the end of an epoch.
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
pub struct DecayedExposure {
    epoch: u64,
    is_live: bool,
    incidents: Atto,
    live_days: Atto,
}

/// The caller is behind: epochs only advance. Events arrived out of order; stop the fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("experience is already at epoch {at}, asked for {asked}")]
pub struct EpochReversed {
    /// Where the experience is.
    pub at: u64,
    /// What was asked.
    pub asked: u64,
}

impl DecayedExposure {
    /// No experience, not live, at the end of `epoch`.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { epoch, is_live: false, incidents: Atto::ZERO, live_days: Atto::ZERO }
    }

    /// The epoch it is decayed to.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether time counts at the moment.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Decayed incidents.
    #[must_use]
    pub fn incidents(&self) -> Atto {
        self.incidents
    }

    /// Decayed time at risk, in years.
    #[must_use]
    pub fn years(&self, clock: &Clock) -> Atto {
        self.live_days.saturating_div(clock.days_per_year)
    }

    /// Decays to the end of `epoch`, one epoch at a time; each live epoch adds a day.
    ///
    /// # Errors
    /// When `epoch` lies before the one already reached.
    pub fn advance_to(&mut self, epoch: u64, decay: &Decay) -> Result<(), EpochReversed> {
        if epoch < self.epoch {
            return Err(EpochReversed { at: self.epoch, asked: epoch });
        }
        while self.epoch < epoch {
            if !self.is_live && self.incidents == Atto::ZERO && self.live_days == Atto::ZERO {
                self.epoch = epoch;
                break;
            }
            let today = if self.is_live { Atto::ONE } else { Atto::ZERO };
            self.incidents = self.incidents.saturating_mul(decay.daily_factor);
            self.live_days =
                self.live_days.saturating_mul(decay.daily_factor).saturating_add(today);
            self.epoch = self.epoch.saturating_add(1);
        }
        Ok(())
    }

    /// Counts one incident in `epoch`.
    ///
    /// # Errors
    /// When `epoch` lies before the one already reached.
    pub fn record_incident(&mut self, epoch: u64, decay: &Decay) -> Result<(), EpochReversed> {
        self.advance_to(epoch, decay)?;
        self.incidents = self.incidents.saturating_add(Atto::ONE);
        Ok(())
    }

    /// From the epoch after `epoch` on, time counts or does not.
    ///
    /// # Errors
    /// When `epoch` lies before the one already reached.
    pub fn set_live(
        &mut self,
        epoch: u64,
        is_live: bool,
        decay: &Decay,
    ) -> Result<(), EpochReversed> {
        self.advance_to(epoch, decay)?;
        self.is_live = is_live;
        Ok(())
    }
}

/// Whether slashable stake is enough for time to count as experience: clean time on dust does not.
///
/// Both amounts in wei of ether value.
#[must_use]
pub fn is_above_dust(slashable_wei: U256, set_total_wei: U256, parameters: &Exposure) -> bool {
    let share = U256::from(parameters.dust_share_of_set.0);
    let of_set =
        slashable_wei.saturating_mul(U256::from(PPT_ONE)) >= set_total_wei.saturating_mul(share);
    slashable_wei >= U256::from(parameters.dust_eth.0) && of_set
}
