//! The rating scale: expected loss to letter and score, in integers.
//!
//! Lower is safer. A grade is decided by `EL² <= E_i · E_{i+1}` and never by a logarithm; the score
//! between two knots is the only place a logarithm is used, and that one lives in `hazard`.
//! "Not rated" is no grade: use `Option<Grade>`.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::Ppt;
use crate::hazard;

/// A letter of the scale, from AAA (safest) to D (default event).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
#[expect(missing_docs, reason = "the letters are their own names; a suffix P is +, M is -")]
pub enum Grade {
    Aaa = 1,
    AaP = 2,
    Aa = 3,
    AaM = 4,
    AP = 5,
    A = 6,
    AM = 7,
    BbbP = 8,
    Bbb = 9,
    BbbM = 10,
    BbP = 11,
    Bb = 12,
    BbM = 13,
    BP = 14,
    B = 15,
    BM = 16,
    CccP = 17,
    Ccc = 18,
    CccM = 19,
    D = 20,
}

impl Grade {
    /// All grades, safest first.
    pub const ALL: [Self; 20] = [
        Self::Aaa,
        Self::AaP,
        Self::Aa,
        Self::AaM,
        Self::AP,
        Self::A,
        Self::AM,
        Self::BbbP,
        Self::Bbb,
        Self::BbbM,
        Self::BbP,
        Self::Bb,
        Self::BbM,
        Self::BP,
        Self::B,
        Self::BM,
        Self::CccP,
        Self::Ccc,
        Self::CccM,
        Self::D,
    ];

    /// The letters, in the order of [`Self::ALL`].
    const LETTERS: [&'static str; 20] = [
        "AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-", "BB+", "BB", "BB-",
        "B+", "B", "B-", "CCC+", "CCC", "CCC-", "D",
    ];

    /// The stored number: 1 = AAA … 19 = CCC-, 20 = D.
    #[must_use]
    pub fn number(self) -> u8 {
        let before = Self::ALL.iter().take_while(|grade| **grade != self).count();
        u8::try_from(before).unwrap_or(u8::MAX).saturating_add(1)
    }

    /// The grade of a stored number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let index = usize::from(number).checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// The letters, ASCII only.
    #[must_use]
    pub fn letters(self) -> &'static str {
        Self::LETTERS.get(self.index()).copied().unwrap_or("D")
    }

    /// Notches from AAA, 0 … 19.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.number()).saturating_sub(1)
    }

    /// The worse of two grades.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        self.max(other)
    }

    /// Notches by which this is worse than `other`; zero if it is not worse.
    #[must_use]
    pub fn notches_below(self, other: Self) -> u8 {
        self.number().saturating_sub(other.number())
    }

    /// One notch safer, never out of D and never above AAA.
    #[must_use]
    pub fn one_better(self) -> Self {
        if self == Self::D { Self::D } else { self.raised_by(1) }
    }

    /// `notches` safer, at best AAA.
    #[must_use]
    pub fn raised_by(self, notches: u8) -> Self {
        Self::from_number(self.number().saturating_sub(notches).max(1)).unwrap_or(Self::Aaa)
    }

    /// One notch worse, at worst CCC-: only an event makes a D.
    #[must_use]
    pub fn one_worse(self) -> Self {
        match self {
            Self::CccM | Self::D => self,
            _ => Self::from_number(self.number().saturating_add(1)).unwrap_or(Self::CccM),
        }
    }

    /// The score at the grade's knot: a rating capped at this grade has at least this score.
    #[must_use]
    pub fn knot(self) -> MilliNotch {
        MilliNotch(u16::from(self.number()).saturating_sub(1).saturating_mul(1_000))
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.letters())
    }
}

/// No such letter. Check the spelling: `AA-`, with an ASCII minus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no grade; grades are AAA, AA+ … CCC-, D")]
pub struct UnknownGrade(pub String);

impl FromStr for Grade {
    type Err = UnknownGrade;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|grade| grade.letters() == text).copied();
        found.ok_or_else(|| UnknownGrade(text.to_owned()))
    }
}

impl Serialize for Grade {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.letters())
    }
}

impl<'de> Deserialize<'de> for Grade {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as Deserialize>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A one-year expected loss in parts per trillion of the rated exposure.
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
pub struct ExpectedLossPpt(pub u64);

impl ExpectedLossPpt {
    /// No loss is expected.
    pub const ZERO: Self = Self(0);
}

/// The score: thousandths of a notch, 0 (AAA) … 18 000 (CCC-), 19 000 (D). Lower is safer.
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
pub struct MilliNotch(pub u16);

impl MilliNotch {
    /// The score of a default.
    pub const DEFAULT_EVENT: Self = Self(19_000);
}

/// The idealised one-year expected losses of AAA … CCC-, in parts per trillion, rising.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RatingScale {
    idealised_ppt: [u64; 19],
}

/// The table of expected losses does not rise, or reaches beyond one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the idealised expected losses must rise strictly from above 0 to below 1e12 ppt")]
pub struct ScaleNotRising;

impl RatingScale {
    /// A scale from its knots.
    ///
    /// # Errors
    /// When the knots do not rise strictly, start at zero, or pass one.
    pub fn new(idealised_ppt: [u64; 19]) -> Result<Self, ScaleNotRising> {
        let rising = idealised_ppt.iter().zip(idealised_ppt.iter().skip(1)).all(|(a, b)| a < b);
        let first = idealised_ppt.first().copied().unwrap_or(0);
        let last = idealised_ppt.last().copied().unwrap_or(u64::MAX);
        if rising && first > 0 && last < Ppt::ONE.0 {
            Ok(Self { idealised_ppt })
        } else {
            Err(ScaleNotRising)
        }
    }

    /// The idealised expected loss of a grade; `None` for D.
    #[must_use]
    pub fn idealised(&self, grade: Grade) -> Option<ExpectedLossPpt> {
        self.idealised_ppt.get(grade.index()).copied().map(ExpectedLossPpt)
    }

    /// `E_i · E_{i+1}` of the boundary below `grade`, in squared ppt; `None` for CCC- and D.
    #[must_use]
    pub fn boundary_squared(&self, grade: Grade) -> Option<u128> {
        let here = self.idealised(grade)?;
        let next = self.idealised_ppt.get(grade.index().saturating_add(1))?;
        Some(u128::from(here.0).saturating_mul(u128::from(*next)))
    }

    /// The largest expected loss that still has the grade; `None` for CCC- and D.
    #[must_use]
    pub fn upper_bound(&self, grade: Grade) -> Option<ExpectedLossPpt> {
        let root = self.boundary_squared(grade)?.isqrt();
        Some(ExpectedLossPpt(u64::try_from(root).unwrap_or(u64::MAX)))
    }

    /// The letter of an expected loss: the safest whose boundary is not passed. Never D.
    #[must_use]
    pub fn grade(&self, expected_loss: ExpectedLossPpt) -> Grade {
        let squared = u128::from(expected_loss.0).saturating_mul(u128::from(expected_loss.0));
        let fits = |grade: &&Grade| {
            self.boundary_squared(**grade).is_some_and(|boundary| squared <= boundary)
        };
        Grade::ALL.iter().find(fits).copied().unwrap_or(Grade::CccM)
    }

    /// The score of an expected loss: log-linear between knots, rounded to a thousandth of a notch.
    #[must_use]
    pub fn milli_notch(&self, expected_loss: ExpectedLossPpt) -> MilliNotch {
        let knots = self.idealised_ppt.iter().zip(self.idealised_ppt.iter().skip(1));
        let mut score: u16 = 0;
        for (low, high) in knots {
            if expected_loss.0 <= *low {
                break;
            }
            let within = expected_loss.0.min(*high);
            let step = hazard::log_position_milli(within, *low, *high);
            score = score.saturating_add(step);
        }
        MilliNotch(score)
    }
}

/// Credora's letter for PSL, the probability of losing more than 1 % in a year.
///
/// It answers another question than [`Grade`] and is printed beside it, never mixed with it.
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
#[expect(missing_docs, reason = "the letters are their own names; a suffix P is +, M is -")]
pub enum CredoraLetter {
    #[serde(rename = "A+")]
    AP,
    A,
    #[serde(rename = "A-")]
    AM,
    #[serde(rename = "B+")]
    BP,
    B,
    #[serde(rename = "B-")]
    BM,
    #[serde(rename = "C+")]
    CP,
    C,
    #[serde(rename = "C-")]
    CM,
    D,
}

impl CredoraLetter {
    /// The letter of a probability of significant loss.
    #[must_use]
    pub fn of(significant_loss: Ppt) -> Self {
        match significant_loss.0 {
            0..1_000_000_000 => Self::AP,
            1_000_000_000..4_000_000_000 => Self::A,
            4_000_000_000..8_000_000_000 => Self::AM,
            8_000_000_000..15_000_000_000 => Self::BP,
            15_000_000_000..30_000_000_000 => Self::B,
            30_000_000_000..60_000_000_000 => Self::BM,
            60_000_000_000..120_000_000_000 => Self::CP,
            120_000_000_000..320_000_000_000 => Self::C,
            320_000_000_000..999_000_000_000 => Self::CM,
            _ => Self::D,
        }
    }

    /// The letters, ASCII only.
    #[must_use]
    pub fn letters(self) -> &'static str {
        match self {
            Self::AP => "A+",
            Self::A => "A",
            Self::AM => "A-",
            Self::BP => "B+",
            Self::B => "B",
            Self::BM => "B-",
            Self::CP => "C+",
            Self::C => "C",
            Self::CM => "C-",
            Self::D => "D",
        }
    }
}
