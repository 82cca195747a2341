//! Exact fractions of 256-bit integers, for results that are stated as fractions.
//!
//! Every operation is checked: what does not fit is an error, never a rounding.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::{I256, U256};

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: I256,
    denominator: U256,
}

/// Why a fraction cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RatioError {
    /// A numerator or denominator needs more than 255 bits. Use fewer or rounder inputs.
    #[error("the exact fraction needs more than 255 bits; use fewer or rounder inputs")]
    TooLong,
    /// The denominator is zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The text is neither `a/b` nor a decimal.
    #[error("expected a fraction such as 3/100 or a decimal such as 0.03")]
    NotARatio,
}

impl Ratio {
    /// 0.
    pub const ZERO: Self = Self { numerator: I256::ZERO, denominator: U256::ONE };
    /// 1.
    pub const ONE: Self = Self { numerator: I256::ONE, denominator: U256::ONE };

    /// `numerator` / `denominator`.
    ///
    /// # Errors
    /// When the denominator is zero.
    pub fn new(numerator: i128, denominator: u128) -> Result<Self, RatioError> {
        let numerator = I256::try_from(numerator).map_err(|_| RatioError::TooLong)?;
        Self::reduced(numerator, U256::from(denominator))
    }

    /// A whole number.
    pub fn whole(number: u64) -> Self {
        Self { numerator: I256::try_from(number).unwrap_or(I256::ZERO), denominator: U256::ONE }
    }

    /// Numerator.
    pub fn numerator(self) -> I256 {
        self.numerator
    }

    /// Denominator, above zero.
    pub fn denominator(self) -> U256 {
        self.denominator
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.numerator.is_negative()
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.numerator.is_zero()
    }

    /// The sum.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn plus(self, other: Self) -> Result<Self, RatioError> {
        if self.denominator == other.denominator {
            let sum = self.numerator.checked_add(other.numerator).ok_or(RatioError::TooLong)?;
            return Self::reduced(sum, self.denominator);
        }
        // With the common factor taken out first, intermediates stay as small as the result allows.
        let common = gcd(self.denominator, other.denominator);
        let left = signed(divide(other.denominator, common))?;
        let right = signed(divide(self.denominator, common))?;
        let a = self.numerator.checked_mul(left).ok_or(RatioError::TooLong)?;
        let b = other.numerator.checked_mul(right).ok_or(RatioError::TooLong)?;
        let sum = a.checked_add(b).ok_or(RatioError::TooLong)?;
        let denominator = self.denominator.checked_mul(left.unsigned_abs());
        Self::reduced(sum, denominator.ok_or(RatioError::TooLong)?)
    }

    /// The difference.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn minus(self, other: Self) -> Result<Self, RatioError> {
        self.plus(other.negated())
    }

    /// The product.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn times(self, other: Self) -> Result<Self, RatioError> {
        if self.is_zero() || other.is_zero() {
            return Ok(Self::ZERO);
        }
        let left = gcd(self.numerator.unsigned_abs(), other.denominator);
        let right = gcd(other.numerator.unsigned_abs(), self.denominator);
        let a = divide(self.numerator.unsigned_abs(), left);
        let b = divide(other.numerator.unsigned_abs(), right);
        let numerator = signed(a.checked_mul(b).ok_or(RatioError::TooLong)?)?;
        let denominator =
            divide(self.denominator, right).checked_mul(divide(other.denominator, left));
        let negative = self.is_negative() != other.is_negative();
        Ok(Self {
            numerator: if negative { numerator.wrapping_neg() } else { numerator },
            denominator: denominator.ok_or(RatioError::TooLong)?,
        })
    }

    /// The quotient.
    ///
    /// # Errors
    /// When `other` is zero or the result does not fit.
    pub fn over(self, other: Self) -> Result<Self, RatioError> {
        if other.is_zero() {
            return Err(RatioError::DivisionByZero);
        }
        let numerator = signed(other.denominator)?;
        let inverse = Self {
            numerator: if other.is_negative() { numerator.wrapping_neg() } else { numerator },
            denominator: other.numerator.unsigned_abs(),
        };
        self.times(inverse)
    }

    /// The same with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        // The numerator is never the lowest I256: see `signed`.
        Self { numerator: self.numerator.wrapping_neg(), ..self }
    }

    /// Parts per trillion, half to even; `None` below zero or beyond `u64`.
    pub fn to_ppt(self) -> Option<u64> {
        if self.is_negative() {
            return None;
        }
        let scaled =
            self.numerator.unsigned_abs().checked_mul(U256::from(1_000_000_000_000_u64))?;
        let whole = scaled.checked_div(self.denominator)?;
        let rest = scaled.checked_rem(self.denominator)?;
        let up = match rest.cmp(&self.denominator.checked_sub(rest)?) {
            Ordering::Greater => true,
            Ordering::Equal => whole.bit(0),
            Ordering::Less => false,
        };
        u64::try_from(whole.checked_add(U256::from(u8::from(up)))?).ok()
    }

    fn reduced(numerator: I256, denominator: U256) -> Result<Self, RatioError> {
        if denominator.is_zero() {
            return Err(RatioError::DivisionByZero);
        }
        let common = gcd(numerator.unsigned_abs(), denominator);
        let absolute = signed(divide(numerator.unsigned_abs(), common))?;
        let numerator = if numerator.is_negative() { absolute.wrapping_neg() } else { absolute };
        Ok(Self { numerator, denominator: divide(denominator, common) })
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.is_negative(), other.is_negative()) {
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            _ => {}
        }
        let wide = |a: U256, b: U256| a.widening_mul::<256, 4, 512, 8>(b);
        let left = wide(self.numerator.unsigned_abs(), other.denominator);
        let right = wide(other.numerator.unsigned_abs(), self.denominator);
        if self.is_negative() { right.cmp(&left) } else { left.cmp(&right) }
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let not = |_| RatioError::NotARatio;
        if let Some((numerator, denominator)) = text.split_once('/') {
            return Self::new(numerator.parse().map_err(not)?, denominator.parse().map_err(not)?);
        }
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        if !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(RatioError::NotARatio);
        }
        let numerator = [whole, decimals].concat().parse().map_err(not)?;
        let places = u32::try_from(decimals.len()).map_err(|_| RatioError::TooLong)?;
        Self::new(numerator, 10_u128.checked_pow(places).ok_or(RatioError::TooLong)?)
    }
}

/// The sum of many.
///
/// # Errors
/// When it does not fit.
pub fn sum(terms: impl IntoIterator<Item = Ratio>) -> Result<Ratio, RatioError> {
    terms.into_iter().try_fold(Ratio::ZERO, Ratio::plus)
}

fn gcd(a: U256, b: U256) -> U256 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = a.checked_rem(b) {
        if let (Ok(small_a), Ok(small_b)) = (u128::try_from(b), u128::try_from(rest)) {
            return U256::from(gcd_u128(small_a, small_b));
        }
        (a, b) = (b, rest);
    }
    a
}

fn gcd_u128(mut a: u128, mut b: u128) -> u128 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

fn divide(a: U256, b: U256) -> U256 {
    if b == U256::ONE { a } else { a.checked_div(b).unwrap_or(a) }
}

/// As a positive signed integer, so that its negative exists too.
fn signed(value: U256) -> Result<I256, RatioError> {
    I256::try_from(value).map_err(|_| RatioError::TooLong)
}
