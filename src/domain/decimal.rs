//! Exact decimal numbers: parts per trillion and atto.
//!
//! Everything the model decides on is one of these two integers. No float enters or leaves here,
//! and every rounding is half-even and named. The floats live in `hazard`.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One, in parts per trillion.
pub const PPT_ONE: u64 = 1_000_000_000_000;

/// A basis point, in parts per trillion.
pub const PPT_PER_BP: u64 = 100_000_000;

/// One, in atto.
pub const ATTO_ONE: u128 = 1_000_000_000_000_000_000;

/// Atto in one part per trillion.
const ATTO_PER_PPT: u128 = 1_000_000;

/// A probability, severity or share of exposure, in parts per trillion (1e-12).
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
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
#[serde(transparent)]
pub struct Ppt(pub u64);

impl Ppt {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Certainty, or the whole exposure.
    pub const ONE: Self = Self(PPT_ONE);

    /// The same number at 1e-18, exactly.
    #[must_use]
    pub fn to_atto(self) -> Atto {
        Atto(u128::from(self.0).saturating_mul(ATTO_PER_PPT))
    }

    /// The product of two shares, rounded half-even to a part per trillion.
    #[must_use]
    pub fn times(self, share: Self) -> Self {
        Self(u64_saturating(mul_div_half_even(
            u128::from(self.0),
            u128::from(share.0),
            u128::from(PPT_ONE),
        )))
    }

    /// One minus this, and zero where this is above one.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(PPT_ONE.saturating_sub(self.0))
    }

    /// The sum, at most one.
    #[must_use]
    pub fn capped_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(PPT_ONE))
    }
}

/// A non-negative decimal at 1e-18: a rate a year, years of exposure, a decayed count, a
/// multiplier.
///
/// It is written in JSON as a decimal string, so that no reader turns it into a float. Arithmetic
/// rounds half-even at the last digit and saturates; the values of the model stay below 1e9,
/// nineteen orders of magnitude under the limit.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
)]
pub struct Atto(pub u128);

impl Atto {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(ATTO_ONE);

    /// A whole number.
    #[must_use]
    pub fn from_whole(whole: u64) -> Self {
        Self(u128::from(whole).saturating_mul(ATTO_ONE))
    }

    /// The sum.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, and zero where it would be negative.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The absolute difference.
    #[must_use]
    pub fn distance(self, other: Self) -> Self {
        Self(self.0.abs_diff(other.0))
    }

    /// The product, rounded half-even.
    #[must_use]
    pub fn saturating_mul(self, other: Self) -> Self {
        Self(mul_div_half_even(self.0, other.0, ATTO_ONE))
    }

    /// The quotient, rounded half-even; division by zero saturates.
    #[must_use]
    pub fn saturating_div(self, divisor: Self) -> Self {
        Self(mul_div_half_even(self.0, ATTO_ONE, divisor.0))
    }

    /// The same number in parts per trillion, rounded half-even.
    #[must_use]
    pub fn to_ppt(self) -> Ppt {
        Ppt(u64_saturating(mul_div_half_even(self.0, 1, ATTO_PER_PPT)))
    }
}

/// `a · b / divisor` in 256 bits, rounded half-even. Saturates, also at a divisor of zero.
#[must_use]
pub fn mul_div_half_even(a: u128, b: u128, divisor: u128) -> u128 {
    let product = U256::from(a).wrapping_mul(U256::from(b));
    let divisor = U256::from(divisor);
    let (Some(floor), Some(rest)) = (product.checked_div(divisor), product.checked_rem(divisor))
    else {
        return u128::MAX;
    };
    let twice = rest.wrapping_shl(1);
    let up = twice > divisor || (twice == divisor && floor.bit(0));
    let rounded = if up { floor.saturating_add(U256::ONE) } else { floor };
    u128::try_from(rounded).unwrap_or(u128::MAX)
}

fn u64_saturating(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// A string is no exact decimal of the asked scale. The file that holds it is wrong; do not guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Empty, signed, or with something other than digits and one point.
    #[error("`{0}` is not a plain non-negative decimal")]
    Syntax(String),
    /// More digits after the point than can be kept.
    #[error("`{text}` has more than {digits_max} digits after the point")]
    TooPrecise {
        /// What was written.
        text: String,
        /// Digits that are kept.
        digits_max: usize,
    },
    /// Above the range of the integer.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Parses a plain decimal to an integer count of 10^-`digits`, exactly or not at all.
///
/// # Errors
/// When the text is no plain decimal, too precise, or too large.
pub fn parse_scaled(text: &str, digits: usize) -> Result<u128, DecimalError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(DecimalError::Syntax(text.to_owned()));
    }
    if fraction.len() > digits {
        return Err(DecimalError::TooPrecise { text: text.to_owned(), digits_max: digits });
    }
    format!("{whole}{fraction:0<digits$}")
        .parse()
        .map_err(|_: std::num::ParseIntError| DecimalError::TooLarge(text.to_owned()))
}

impl FromStr for Atto {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_scaled(text, 18).map(Self)
    }
}

impl FromStr for Ppt {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let scaled = parse_scaled(text, 12)?;
        u64::try_from(scaled).map(Self).map_err(|_| DecimalError::TooLarge(text.to_owned()))
    }
}

/// Writes an integer count of 10^-`digits` without trailing zeros.
fn write_scaled(f: &mut fmt::Formatter<'_>, value: u128, digits: usize) -> fmt::Result {
    let padded = format!("{value:0>width$}", width = digits.saturating_add(1));
    let (whole, fraction) = padded.split_at(padded.len().saturating_sub(digits));
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { f.write_str(whole) } else { write!(f, "{whole}.{fraction}") }
}

impl fmt::Display for Atto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, 18)
    }
}

impl fmt::Display for Ppt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, u128::from(self.0), 12)
    }
}

impl Serialize for Atto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Atto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as Deserialize>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Reads a [`Ppt`] from a decimal string, for files where people write shares.
///
/// # Errors
/// When the text is no exact decimal of twelve digits.
pub fn ppt_from_decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Ppt, D::Error> {
    <String as Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
