//! Robust restaking networks after Durvasula and Roughgarden: slack γ and worst-case loss `R_ψ`.
//!
//! Validators stake σ, services yield a profit π to whoever corrupts them with a share α of their
//! stake. The slack is the largest γ such that every coalition that can attack stakes (1+γ) times
//! what it gains. All in exact fractions; small networks by trying every coalition, larger ones by
//! the sufficient condition. Under Unique Stake a validator here is one allocation.

use std::collections::BTreeMap;

use alloy_primitives::U256;

use crate::ratio::{self, Ratio, RatioError};
use crate::special;

/// Validators whose 2¹⁶ coalitions are tried one by one.
pub const EXACT_VALIDATORS_MAX: usize = 16;
/// Validators and services together for which every cascade is tried: about 3¹² steps.
pub const CASCADE_NODES_MAX: usize = 12;
/// Services in one network; a set of services is a bit mask.
pub const SERVICES_MAX: usize = 32;

/// A service that can be corrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// π: what an attacker gains.
    pub profit: Ratio,
    /// α: the share of the service's stake an attack needs, above 0 to 1.
    pub threshold: Ratio,
    /// Indices of the validators that secure it.
    pub validators: Vec<usize>,
}

/// Validators with their stake, and services.
#[derive(Clone, Debug)]
pub struct Network {
    stakes: Vec<Ratio>,
    services: Vec<Service>,
}

/// Why a network is refused or a question too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// A service names a validator that does not exist.
    #[error("service {service} names validator {validator}, expected an index below {validators}")]
    UnknownValidator {
        /// Index of the service.
        service: usize,
        /// The index it names.
        validator: usize,
        /// How many there are.
        validators: usize,
    },
    /// A stake or profit is negative, or a threshold is not above 0 to 1.
    #[error("{what} of number {index} is {found}, expected {expected}")]
    OutOfRange {
        /// Which figure.
        what: &'static str,
        /// Of which validator or service.
        index: usize,
        /// What was given.
        found: Ratio,
        /// What was expected.
        expected: &'static str,
    },
    /// The network is too large for an exact answer. Use the lower bound.
    #[error("found {found} {what}, expected at most {limit}; use the lower bound")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A fraction does not fit.
    #[error(transparent)]
    Ratio(#[from] RatioError),
}

/// The network in integers: every stake and profit times one common denominator.
struct Scaled {
    stakes: Vec<u128>,
    profits: Vec<u128>,
    /// α as numerator and denominator.
    thresholds: Vec<(U256, U256)>,
    members: Vec<u32>,
}

impl Network {
    /// A network of validators with these stakes and these services.
    ///
    /// # Errors
    /// When a figure is out of range or a service names no validator of the network.
    pub fn new(stakes: Vec<Ratio>, services: Vec<Service>) -> Result<Self, NetworkError> {
        if services.len() > SERVICES_MAX {
            let (found, limit) = (services.len(), SERVICES_MAX);
            return Err(NetworkError::TooLarge { what: "services", found, limit });
        }
        let negative = |what, index, found| {
            let expected = "zero or more";
            Err(NetworkError::OutOfRange { what, index, found, expected })
        };
        for (index, stake) in stakes.iter().enumerate() {
            if stake.is_negative() {
                return negative("stake", index, *stake);
            }
        }
        for (index, service) in services.iter().enumerate() {
            if service.profit.is_negative() {
                return negative("profit", index, service.profit);
            }
            if service.threshold <= Ratio::ZERO || service.threshold > Ratio::ONE {
                let (what, found, expected) = ("threshold", service.threshold, "above 0 to 1");
                return Err(NetworkError::OutOfRange { what, index, found, expected });
            }
            if let Some(&validator) = service.validators.iter().find(|v| **v >= stakes.len()) {
                let (service, validators) = (index, stakes.len());
                return Err(NetworkError::UnknownValidator { service, validator, validators });
            }
        }
        Ok(Self { stakes, services })
    }

    /// Total stake.
    ///
    /// # Errors
    /// When the fraction does not fit.
    pub fn total_stake(&self) -> Result<Ratio, NetworkError> {
        Ok(ratio::sum(self.stakes.iter().copied())?)
    }

    /// γ over every coalition; `None` if none can gain anything.
    ///
    /// For given attackers it is best to take every service they can corrupt, so only the
    /// coalitions of validators are tried.
    ///
    /// # Errors
    /// Above 16 validators, or when a fraction does not fit.
    pub fn slack(&self) -> Result<Option<Ratio>, NetworkError> {
        let scaled = self.scaled()?;
        let count = scaled.stakes.len();
        if count > EXACT_VALIDATORS_MAX {
            let (what, limit) = ("validators", EXACT_VALIDATORS_MAX);
            return Err(NetworkError::TooLarge { what, found: count, limit });
        }
        let sums = scaled.sums();
        let mut least: Option<(u128, u128)> = None;
        for attackers in (0_u32..).take(sums.len()).skip(1) {
            let stake = sum_of(&sums, attackers);
            let open = scaled.open(&sums, attackers, 0, 0);
            let profit = scaled.profit(open);
            if profit == 0 {
                continue;
            }
            let better = least.is_none_or(|(best_stake, best_profit)| {
                let product = |a, b| U256::from(a).saturating_mul(U256::from(b));
                product(stake, best_profit) < product(best_stake, profit)
            });
            if better {
                least = Some((stake, profit));
            }
        }
        let Some((stake, profit)) = least else { return Ok(None) };
        let stake = i128::try_from(stake).map_err(|_| RatioError::TooLong)?;
        Ok(Some(Ratio::new(stake, profit)?.minus(Ratio::ONE)?))
    }

    /// A lower bound of γ for networks of any size; `None` if no service has a profit.
    ///
    /// The sufficient condition: min over v of 1 / Σ π/(α σ(N(s))) over the services of v, less 1.
    ///
    /// # Errors
    /// When a service with a profit has no stake, or a fraction does not fit.
    pub fn slack_lower_bound(&self) -> Result<Option<Ratio>, NetworkError> {
        let mut burdens = vec![Ratio::ZERO; self.stakes.len()];
        for service in &self.services {
            if service.profit.is_zero() {
                continue;
            }
            let stakes = service.validators.iter().filter_map(|v| self.stakes.get(*v).copied());
            let needed = service.threshold.times(ratio::sum(stakes)?)?;
            let burden = service.profit.over(needed)?;
            for validator in &service.validators {
                if let Some(sum) = burdens.get_mut(*validator) {
                    *sum = sum.plus(burden)?;
                }
            }
        }
        match burdens.into_iter().max() {
            Some(worst) if !worst.is_zero() => Ok(Some(Ratio::ONE.over(worst)?.minus(Ratio::ONE)?)),
            _ => Ok(None),
        }
    }

    /// Stake lost to the worst sequence of profitable attacks after `lost` validators are gone.
    ///
    /// # Errors
    /// When the network is too large, or a fraction does not fit.
    pub fn cascade(&self, lost: &[usize]) -> Result<Ratio, NetworkError> {
        let (scaled, sums) = self.small()?;
        let lost = mask(lost.iter().copied());
        let loss = scaled.cascade(&sums, lost, 0, &mut BTreeMap::new());
        self.share_of_total(loss, &sums)?.times(self.total_stake()?).map_err(Into::into)
    }

    /// `R_ψ`: the largest share of stake lost after a shock that destroys at most a share ψ.
    ///
    /// # Errors
    /// When the network is too large, or a fraction does not fit.
    pub fn worst_case_loss(&self, shock: Ratio) -> Result<Ratio, NetworkError> {
        let (scaled, sums) = self.small()?;
        let mut memory = BTreeMap::new();
        let mut worst = 0;
        for (lost, stake) in (0_u32..).zip(&sums) {
            if self.share_of_total(*stake, &sums)? <= shock {
                worst = worst.max(scaled.cascade(&sums, lost, 0, &mut memory));
            }
        }
        Ok(shock.plus(self.share_of_total(worst, &sums)?)?)
    }

    fn small(&self) -> Result<(Scaled, Vec<u128>), NetworkError> {
        let found = self.stakes.len().saturating_add(self.services.len());
        if found > CASCADE_NODES_MAX {
            let (what, limit) = ("validators and services", CASCADE_NODES_MAX);
            return Err(NetworkError::TooLarge { what, found, limit });
        }
        let scaled = self.scaled()?;
        let sums = scaled.sums();
        Ok((scaled, sums))
    }

    fn share_of_total(&self, stake: u128, sums: &[u128]) -> Result<Ratio, RatioError> {
        let stake = i128::try_from(stake).map_err(|_| RatioError::TooLong)?;
        Ratio::new(stake, sums.last().copied().unwrap_or_default())
    }

    fn scaled(&self) -> Result<Scaled, RatioError> {
        let profits = self.services.iter().map(|service| service.profit);
        let all = self.stakes.iter().copied().chain(profits);
        // The product of the parts of denominators not yet in it is their least common multiple.
        let unit = all.clone().try_fold(Ratio::ONE, |unit, x| {
            let rest = unit.times(x)?.denominator();
            let rest = u128::try_from(rest).map_err(|_| RatioError::TooLong)?;
            unit.over(Ratio::new(1, rest)?)
        })?;
        let whole = |x: Ratio| {
            let numerator = x.times(unit)?.numerator().unsigned_abs();
            u128::try_from(numerator).map_err(|_| RatioError::TooLong)
        };
        let stakes = self.stakes.iter().map(|x| whole(*x)).collect::<Result<Vec<_>, _>>()?;
        let total = stakes.iter().try_fold(0_u128, |sum, x| sum.checked_add(*x));
        total.ok_or(RatioError::TooLong)?;
        let profits = self.services.iter().map(|service| whole(service.profit));
        let profits = profits.collect::<Result<Vec<_>, _>>()?;
        let total = profits.iter().try_fold(0_u128, |sum, x| sum.checked_add(*x));
        total.ok_or(RatioError::TooLong)?;
        let thresholds = self.services.iter().map(|service| {
            let alpha = service.threshold;
            (alpha.numerator().unsigned_abs(), alpha.denominator())
        });
        let members = self.services.iter().map(|service| mask(service.validators.iter().copied()));
        Ok(Scaled { stakes, profits, thresholds: thresholds.collect(), members: members.collect() })
    }
}

impl Scaled {
    /// Stake of every set of validators, by its mask.
    fn sums(&self) -> Vec<u128> {
        let mut sums = vec![0_u128];
        for stake in self.stakes.iter().take(EXACT_VALIDATORS_MAX) {
            let with: Vec<u128> = sums.iter().map(|sum| sum.saturating_add(*stake)).collect();
            sums.extend(with);
        }
        sums
    }

    /// Services that `attackers` can corrupt once `lost` validators and `gone` services are out.
    fn open(&self, sums: &[u128], attackers: u32, lost: u32, gone: u32) -> u32 {
        let mut open = 0;
        let services = self.members.iter().zip(&self.thresholds);
        for (index, (members, (needed, of))) in (0_u32..).zip(services) {
            let bit = 1_u32.wrapping_shl(index);
            let left = members & !lost;
            if gone & bit != 0 || left == 0 {
                continue;
            }
            let have = U256::from(sum_of(sums, attackers & members)).saturating_mul(*of);
            if have >= U256::from(sum_of(sums, left)).saturating_mul(*needed) {
                open |= bit;
            }
        }
        open
    }

    fn profit(&self, services: u32) -> u128 {
        let picked = (0_u32..).zip(&self.profits);
        let picked = picked.filter(|(index, _)| services & 1_u32.wrapping_shl(*index) != 0);
        picked.fold(0, |sum, (_, profit)| sum.saturating_add(*profit))
    }

    /// The worst loss of stake by profitable attacks one after another.
    fn cascade(
        &self,
        sums: &[u128],
        lost: u32,
        gone: u32,
        memory: &mut BTreeMap<(u32, u32), u128>,
    ) -> u128 {
        if let Some(known) = memory.get(&(lost, gone)) {
            return *known;
        }
        let mut worst = 0;
        for attackers in (1_u32..).take(sums.len().saturating_sub(1)) {
            if attackers & lost != 0 {
                continue;
            }
            let stake = sum_of(sums, attackers);
            let open = self.open(sums, attackers, lost, gone);
            let mut attacked = open;
            // Every non-empty subset of the open services, downwards.
            while attacked != 0 {
                if self.profit(attacked) > stake {
                    let after = self.cascade(sums, lost | attackers, gone | attacked, memory);
                    worst = worst.max(stake.saturating_add(after));
                }
                attacked = attacked.wrapping_sub(1) & open;
            }
        }
        memory.insert((lost, gone), worst);
        worst
    }
}

/// (1 + 1/γ) ψ, which `R_ψ` stays below when γ is above zero; `None` otherwise.
///
/// # Errors
/// When the fraction does not fit.
pub fn loss_bound(slack: Ratio, shock: Ratio) -> Result<Option<Ratio>, RatioError> {
    if slack <= Ratio::ZERO {
        return Ok(None);
    }
    Ok(Some(Ratio::ONE.over(slack)?.plus(Ratio::ONE)?.times(shock)?))
}

/// λ₅(γ): events of profitable corruption per year, 10^(−1 − 3·clamp(γ) + clamp(−γ)).
#[expect(clippy::float_arithmetic, reason = "a hazard is a real number")]
pub fn corruption_hazard(slack: f64) -> f64 {
    special::pow(10.0, -1.0 - 3.0 * slack.clamp(0.0, 1.0) + (-slack).clamp(0.0, 1.0))
}

fn mask(indices: impl Iterator<Item = usize>) -> u32 {
    indices.fold(0, |mask, index| {
        mask | u32::try_from(index).ok().and_then(|bit| 1_u32.checked_shl(bit)).unwrap_or(0)
    })
}

fn sum_of(sums: &[u128], validators: u32) -> u128 {
    usize::try_from(validators).ok().and_then(|index| sums.get(index)).copied().unwrap_or_default()
}
