//! The numbers of the loss distribution: probabilities in Q1.127 and losses in Q14.113.
//!
//! §2.12 asks for Q1.63. Its ulp is 1.1e-19, and the lost ulps go to the worst cell, where ES99.9
//! multiplies them by 10⁴ / 0.001: V09 is off by 5e-9 bp against a promise of 1e-9, and the
//! smallest figure of V07a (1e-17) would keep two digits. So the work is done with 64 more bits,
//! and the distribution is narrowed to Q1.63 only where it is published and hashed.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "every bound is stated where it is used: a probability is at most 2^127, a loss 2^127"
)]

use std::fmt;

use alloy_primitives::U256;

use crate::decimal::{PPT_ONE, PPT_PER_BP};

/// Bits after the point of a [`Probability`].
const PROBABILITY_BITS: u32 = 127;
/// Bits after the point of [`BasisPoints`]: 10,000 needs 14 bits, and 14 + 113 = 127.
const LOSS_BITS: u32 = 113;
/// Bits a probability gives up so that its product with a cell (14 bits) fits in `u128`.
const PRODUCT_BITS: u32 = PROBABILITY_BITS - LOSS_BITS;
/// Significant digits read from a decimal; 10³⁸ is the last power of ten below 2^128.
const DIGITS_MAX: usize = 38;
/// Decimals beyond which a number below 10³⁸ is zero in Q1.127; 10⁷⁶ is below 2^256.
const DECIMALS_MAX: i64 = 76;

/// A probability, 0 to 1, in units of 2⁻¹²⁷.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probability(u128);

/// An amount of loss in basis points of exposure, 0 to 16,383, in units of 2⁻¹¹³ bp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasisPoints(u128);

/// Why a text is not a probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbabilityError {
    /// The text is no decimal number of at most 38 digits.
    #[error("expected a decimal number of at most 38 digits")]
    NotDecimal,
    /// The number is below 0 or above 1.
    #[error("expected a number from 0 to 1")]
    OutOfRange,
}

impl Probability {
    /// Impossible.
    pub const ZERO: Self = Self(0);
    /// Certain.
    pub const ONE: Self = Self(1 << PROBABILITY_BITS);

    /// From units of 2⁻¹²⁷; anything above one is one.
    pub fn from_q127(units: u128) -> Self {
        Self(units.min(Self::ONE.0))
    }

    /// From parts per trillion, rounded down; anything above one is one.
    pub fn from_ppt(ppt: u64) -> Self {
        let units = (U256::from(ppt.min(PPT_ONE)) << PROBABILITY_BITS) / U256::from(PPT_ONE);
        Self(u128::try_from(units).unwrap_or(Self::ONE.0))
    }

    /// In units of 2⁻¹²⁷.
    pub fn to_q127(self) -> u128 {
        self.0
    }

    /// The largest probability not above `value`; `None` outside 0 to 1 and for NaN.
    pub fn from_f64(value: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&value) {
            return None;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52) & 0x7ff;
        let fraction = u128::from(bits & ((1 << 52) - 1));
        let mantissa = if exponent == 0 { fraction } else { fraction | (1 << 52) };
        // value = mantissa · 2^(exponent − 1075), so units = mantissa · 2^(exponent − 948).
        let units = match exponent.max(1).checked_sub(948) {
            Some(left) => mantissa << left,
            None => mantissa.checked_shr(u32::try_from(948 - exponent.max(1)).ok()?).unwrap_or(0),
        };
        Some(Self(units))
    }

    /// Reads a decimal such as `0.8` or `1e-9`, rounded down to a unit.
    ///
    /// # Errors
    /// When the text is no number, has too many digits, or is not from 0 to 1.
    pub fn parse(text: &str) -> Result<Self, ProbabilityError> {
        let (digits, decimals) = decimal(text).ok_or(ProbabilityError::NotDecimal)?;
        if digits == 0 {
            return Ok(Self::ZERO);
        }
        if decimals > DECIMALS_MAX {
            return Ok(Self::ZERO);
        }
        let power = u64::try_from(decimals).map_err(|_| ProbabilityError::OutOfRange)?;
        let units = (U256::from(digits) << 127) / U256::from(10).pow(U256::from(power));
        let units = u128::try_from(units).map_err(|_| ProbabilityError::OutOfRange)?;
        if units > Self::ONE.0 { Err(ProbabilityError::OutOfRange) } else { Ok(Self(units)) }
    }

    /// 1 − p.
    pub fn complement(self) -> Self {
        Self(Self::ONE.0 - self.0)
    }

    /// The product, rounded down to a unit.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self(mul_q127(self.0, other.0))
    }

    /// The sum, at most one.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self::from_q127(self.0 + other.0)
    }

    /// The difference, at least zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// p / q, at most one; zero over zero is zero.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        if other.0 == 0 {
            return Self::ZERO;
        }
        let quotient = (U256::from(self.0) << 127) / U256::from(other.0);
        Self(u128::try_from(quotient).unwrap_or(Self::ONE.0).min(Self::ONE.0))
    }

    /// Parts per trillion, half to even.
    pub fn to_ppt(self) -> u64 {
        let scaled = U256::from(self.0) * U256::from(PPT_ONE);
        u64::try_from(shift_half_even(scaled, PROBABILITY_BITS)).unwrap_or(PPT_ONE)
    }
}

impl BasisPoints {
    /// No loss.
    pub const ZERO: Self = Self(0);

    /// A whole number of basis points.
    pub fn whole(cell: u16) -> Self {
        Self(u128::from(cell) << LOSS_BITS)
    }

    /// `cell` basis points with probability `p`: the share it adds to an expectation.
    pub fn expected(cell: u16, p: Probability) -> Self {
        Self((p.0 >> PRODUCT_BITS) * u128::from(cell))
    }

    /// Scaled by a probability.
    #[must_use]
    pub fn times(self, p: Probability) -> Self {
        Self(mul_q127(self.0, p.0))
    }

    /// The sum; saturating, since the grid ends at 10,000 bp and 16,383 fit.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// An expectation over the tail of size `tail_per_mille` / 1000 becomes its mean.
    #[must_use]
    pub fn per_tail(self, tail_per_mille: u16) -> Self {
        let scaled = U256::from(self.0) * U256::from(1000) / U256::from(tail_per_mille.max(1));
        Self(u128::try_from(scaled).unwrap_or(u128::MAX))
    }

    /// `self` · `part` / `whole`: a share in proportion; zero when `whole` is zero.
    #[must_use]
    pub fn share(self, part: Self, whole: Self) -> Self {
        if whole.0 == 0 {
            return Self::ZERO;
        }
        let scaled = U256::from(self.0) * U256::from(part.0) / U256::from(whole.0);
        Self(u128::try_from(scaled).unwrap_or(u128::MAX))
    }

    /// Parts per trillion of exposure, half to even: 1 bp is 10⁸ ppt.
    pub fn to_ppt(self) -> u64 {
        let scaled = U256::from(self.0) * U256::from(PPT_PER_BP);
        u64::try_from(shift_half_even(scaled, LOSS_BITS)).unwrap_or(u64::MAX)
    }

    /// `√(E[L²] − E[L]²)`, where `second` is `E[L²]` in bp², units of 2⁻¹⁰⁰ bp².
    pub(super) fn deviation(second: u128, mean: Self) -> Self {
        let square = U256::from(mean.0) * U256::from(mean.0);
        let variance = (U256::from(second) << (2 * LOSS_BITS - 100)).saturating_sub(square);
        Self(integer_sqrt(variance))
    }
}

impl fmt::Display for Probability {
    /// Thirty-four decimals, rounded down: one unit is 6e-39.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fixed(f, self.0, PROBABILITY_BITS, 34)
    }
}

impl fmt::Display for BasisPoints {
    /// Eighteen decimals, rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fixed(f, self.0, LOSS_BITS, 18)
    }
}

/// ⌊a · b / 2^127⌋ for a, b ≤ 2^127.
pub(super) fn mul_q127(a: u128, b: u128) -> u128 {
    let low = u128::from(u64::MAX);
    let (a_high, a_low, b_high, b_low) = (a >> 64, a & low, b >> 64, b & low);
    let cross = a_high * b_low + ((a_low * b_low) >> 64);
    let middle = a_low * b_high + (cross & low);
    let high = a_high * b_high + (cross >> 64) + (middle >> 64);
    // The product is high · 2^128 + (middle mod 2^64) · 2^64 + …; one more bit makes it / 2^127.
    (high << 1) | ((middle >> 63) & 1)
}

/// Whole digits and the number of them after the point; `None` for what is no plain decimal.
fn decimal(text: &str) -> Option<(u128, i64)> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, i64::from(exponent.parse::<i16>().ok()?)),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: String = [whole, fraction].concat();
    let plain = !digits.is_empty() || !number.is_empty() && number != ".";
    if !plain || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    if significant.len() > DIGITS_MAX {
        return None;
    }
    let decimals = i64::try_from(fraction.len()).ok()? - exponent;
    let value = if significant.is_empty() { 0 } else { significant.parse::<u128>().ok()? };
    if decimals < 0 && value > 0 {
        let power = 10_u128.checked_pow(u32::try_from(-decimals).ok()?)?;
        return Some((value.checked_mul(power)?, 0));
    }
    Some((value, decimals.max(0)))
}

/// value / 2^bits, half to even.
fn shift_half_even(value: U256, bits: u32) -> U256 {
    let unit = U256::from(1) << bits;
    let (whole, rest) = (value >> bits, value & (unit - U256::from(1)));
    let half = unit >> 1;
    let up = rest > half || (rest == half && whole.bit(0));
    if up { whole + U256::from(1) } else { whole }
}

/// ⌊√n⌋ by Newton from above, in integers only.
fn integer_sqrt(n: U256) -> u128 {
    if n.is_zero() {
        return 0;
    }
    let mut x = U256::from(1) << n.bit_len().div_ceil(2).min(128);
    loop {
        let next = (x + n / x) >> 1;
        if next >= x {
            return u128::try_from(x).unwrap_or(u128::MAX);
        }
        x = next;
    }
}

/// Writes `value` / 2^bits with this many decimals, rounded down.
fn write_fixed(f: &mut fmt::Formatter<'_>, value: u128, bits: u32, places: u32) -> fmt::Result {
    // Four bits of room for the factor ten.
    let spare = (bits + 4).saturating_sub(128);
    let (whole, bits) = (value >> bits, bits - spare);
    let mask = (1_u128 << bits) - 1;
    let mut rest = (value >> spare) & mask;
    write!(f, "{whole}.")?;
    for _ in 0..places {
        rest *= 10;
        write!(f, "{}", rest >> bits)?;
        rest &= mask;
    }
    Ok(())
}
