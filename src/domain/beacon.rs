//! Penalties of a slashed validator under the Electra rules, in the integers of the specification.
//!
//! Attestation and inactivity losses until the validator may withdraw are not counted.

/// An amount in gwei, 10⁻⁹ ETH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gwei(pub u64);

/// `EFFECTIVE_BALANCE_INCREMENT`: effective balances are whole ETH.
const INCREMENT_GWEI: u64 = 1_000_000_000;
/// `MIN_SLASHING_PENALTY_QUOTIENT_ELECTRA`.
const INITIAL_QUOTIENT: u64 = 4_096;
/// `PROPORTIONAL_SLASHING_MULTIPLIER_BELLATRIX`: at a third of the stake slashed, all is lost.
const PROPORTIONAL_MULTIPLIER: u64 = 3;

/// What a slashed validator loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlashingPenalty {
    /// At once: effective balance / 4,096.
    pub initial: Gwei,
    /// Half-way to withdrawal, in proportion to all that was slashed in 36 days.
    pub correlation: Gwei,
    /// Both, at most the effective balance.
    pub total: Gwei,
}

/// The penalty cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("total active balance is {} gwei, expected at least one ETH", found.0)]
pub struct NoActiveBalance {
    /// The total that was given.
    pub found: Gwei,
}

/// The penalty of a validator of `effective_balance`, when `slashed` is the sum of effective
/// balances slashed in the last 8,192 epochs and `total_active` that of all active validators.
///
/// # Errors
/// When `total_active` is below one ETH.
pub fn slashing_penalty(
    effective_balance: Gwei,
    slashed: Gwei,
    total_active: Gwei,
) -> Result<SlashingPenalty, NoActiveBalance> {
    let none = NoActiveBalance { found: total_active };
    let adjusted = slashed.0.saturating_mul(PROPORTIONAL_MULTIPLIER).min(total_active.0);
    let increments = total_active.0.checked_div(INCREMENT_GWEI).unwrap_or_default();
    let per_increment = adjusted.checked_div(increments).ok_or(none)?;
    let own_increments = effective_balance.0.checked_div(INCREMENT_GWEI).unwrap_or_default();
    let initial = effective_balance.0.checked_div(INITIAL_QUOTIENT).unwrap_or_default();
    let correlation = per_increment.saturating_mul(own_increments);
    let total = initial.saturating_add(correlation).min(effective_balance.0);
    Ok(SlashingPenalty {
        initial: Gwei(initial),
        correlation: Gwei(correlation),
        total: Gwei(total),
    })
}
