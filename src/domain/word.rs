//! The rating word: a whole rating in the 256 bits of one storage slot of the oracle contract.
//!
//! The layout, most significant first, is the one of `oracle/contracts/src/RatingWord.sol`:
//! `asOf u40 | lag u24 | logPos u48 | seq u32 | model u16 | flags u8 | grade u8 | score u16 |
//! pd u32 | el u32`. Every field lies on a byte boundary, so packing is copying.
//! A word is signed with `lag` zero and without SUSPENDED; the contract fills in both.

use alloy_primitives::U256;

/// Milli-notch of a defaulted entity: the largest score there is.
pub const SCORE_MAX: u16 = 19_000;

/// The number of grade D: the largest grade there is.
pub const GRADE_MAX: u8 = 20;

/// One, in the unit of `pd` and `el` (1e-9).
pub const PPB_ONE: u32 = 1_000_000_000;

/// Largest value of a 40-bit field.
const U40_MAX: u64 = (1 << 40) - 1;

/// Largest value of a 48-bit field.
const U48_MAX: u64 = (1 << 48) - 1;

/// Parts per trillion in one part per billion.
const PPT_PER_PPB: u64 = 1_000;

/// The eight flags of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// On watch for an upgrade.
    pub const WATCH_POSITIVE: Self = Self(0x01);
    /// On watch for a downgrade.
    pub const WATCH_NEGATIVE: Self = Self(0x02);
    /// The inputs are being questioned.
    pub const UNDER_REVIEW: Self = Self(0x04);
    /// The entity has defaulted.
    pub const DEFAULTED: Self = Self(0x08);
    /// No longer rated; the grade is the last one there was.
    pub const WITHDRAWN: Self = Self(0x10);
    /// Set by the committee, against the model.
    pub const MANUAL_OVERRIDE: Self = Self(0x20);
    /// Set by the contract's guardian, never signed.
    pub const SUSPENDED: Self = Self(0x80);
    /// Bits no signer may set: SUSPENDED and the one that has no meaning.
    const UNSIGNABLE: Self = Self(0xc0);

    /// These flags and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags but not those.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of those are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a word says, before anybody has checked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordFields {
    /// Observation time, seconds since the Unix epoch.
    pub as_of: u64,
    /// Canonical position of the last fact the rating rests on.
    pub log_pos: u64,
    /// The entity's counter, 1 first, the same on every chain.
    pub seq: u32,
    /// Index in the contract's model registry.
    pub model: u16,
    /// Flags.
    pub flags: Flags,
    /// 1 = AAA … 19 = CCC−, 20 = D.
    pub grade: u8,
    /// Milli-notch, 0 (AAA) … 19,000 (D); lower is safer.
    pub score: u16,
    /// P(one-year loss > 1 %), 1e-9, rounded up.
    pub pd: u32,
    /// One-year expected loss, 1e-9, rounded up.
    pub el: u32,
}

/// A rating word whose every field is in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    fields: WordFields,
    lag: u32,
}

/// A field does not fit the contract, which would refuse the whole batch. The rating that made it
/// is wrong: do not sign it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field {field} of a rating word is {found}, expected {lowest} to {highest}")]
pub struct WordOutOfRange {
    /// The field, as the contract calls it.
    pub field: &'static str,
    /// Smallest value allowed.
    pub lowest: u64,
    /// Largest value allowed.
    pub highest: u64,
    /// Value given.
    pub found: u64,
}

/// One field in which two words differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDifference {
    /// The field, as the contract calls it.
    pub field: &'static str,
    /// Its value in the word asked.
    pub expected: u64,
    /// Its value in the word compared with.
    pub found: u64,
}

impl Word {
    /// A word to sign: `lag` zero, every field in the contract's range.
    pub fn new(fields: WordFields) -> Result<Self, WordOutOfRange> {
        let Flags(flags) = fields.flags;
        if flags & Flags::UNSIGNABLE.0 != 0 {
            let highest = u64::from(!Flags::UNSIGNABLE.0);
            let found = u64::from(flags);
            return Err(WordOutOfRange { field: "flags", lowest: 0, highest, found });
        }
        Self { fields, lag: 0 }.checked()
    }

    /// Reads a word, signed or stored: `lag` and SUSPENDED may be set.
    pub fn unpack(word: U256) -> Result<Self, WordOutOfRange> {
        #[rustfmt::skip]
        let [
            t0, t1, t2, t3, t4, l0, l1, l2, p0, p1, p2, p3, p4, p5, s0, s1, s2, s3, m0, m1,
            flags, grade, c0, c1, d0, d1, d2, d3, e0, e1, e2, e3,
        ] = word.to_be_bytes::<32>();
        let fields = WordFields {
            as_of: u64::from_be_bytes([0, 0, 0, t0, t1, t2, t3, t4]),
            log_pos: u64::from_be_bytes([0, 0, p0, p1, p2, p3, p4, p5]),
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
            model: u16::from_be_bytes([m0, m1]),
            flags: Flags(flags),
            grade,
            score: u16::from_be_bytes([c0, c1]),
            pd: u32::from_be_bytes([d0, d1, d2, d3]),
            el: u32::from_be_bytes([e0, e1, e2, e3]),
        };
        Self { fields, lag: u32::from_be_bytes([0, l0, l1, l2]) }.checked()
    }

    /// The word as the contract takes it.
    pub fn pack(&self) -> U256 {
        let WordFields { as_of, log_pos, seq, model, flags, grade, score, pd, el } = self.fields;
        let [_, _, _, t0, t1, t2, t3, t4] = as_of.to_be_bytes();
        let [_, l0, l1, l2] = self.lag.to_be_bytes();
        let [_, _, p0, p1, p2, p3, p4, p5] = log_pos.to_be_bytes();
        let [s0, s1, s2, s3] = seq.to_be_bytes();
        let [m0, m1] = model.to_be_bytes();
        let [c0, c1] = score.to_be_bytes();
        let [d0, d1, d2, d3] = pd.to_be_bytes();
        let [e0, e1, e2, e3] = el.to_be_bytes();
        #[rustfmt::skip]
        let bytes = [
            t0, t1, t2, t3, t4, l0, l1, l2, p0, p1, p2, p3, p4, p5, s0, s1, s2, s3, m0, m1,
            flags.0, grade, c0, c1, d0, d1, d2, d3, e0, e1, e2, e3,
        ];
        U256::from_be_bytes(bytes)
    }

    /// What the word says.
    pub const fn fields(&self) -> WordFields {
        self.fields
    }

    /// Seconds from the observation to its inclusion; zero in a word that is signed.
    pub const fn lag(&self) -> u32 {
        self.lag
    }

    /// The word as it was signed: without what the contract fills in.
    #[must_use]
    pub const fn as_signed(&self) -> Self {
        let mut fields = self.fields;
        fields.flags = fields.flags.without(Flags::SUSPENDED);
        Self { fields, lag: 0 }
    }

    /// The first field, in the order of the layout, in which another word says something else.
    pub fn first_difference(&self, other: &Self) -> Option<FieldDifference> {
        let ours = self.named_values();
        let theirs = other.named_values();
        ours.into_iter()
            .zip(theirs)
            .find(|(our, their)| our.1 != their.1)
            .map(|((field, expected), (_, found))| FieldDifference { field, expected, found })
    }

    fn named_values(&self) -> [(&'static str, u64); 10] {
        let WordFields { as_of, log_pos, seq, model, flags, grade, score, pd, el } = self.fields;
        [
            ("asOf", as_of),
            ("lag", u64::from(self.lag)),
            ("logPos", log_pos),
            ("seq", u64::from(seq)),
            ("model", u64::from(model)),
            ("flags", u64::from(flags.0)),
            ("grade", u64::from(grade)),
            ("score", u64::from(score)),
            ("pd", u64::from(pd)),
            ("el", u64::from(el)),
        ]
    }

    fn checked(self) -> Result<Self, WordOutOfRange> {
        let ppb_one = u64::from(PPB_ONE);
        // `logPos` and `seq` must rise above the zero of an entity never rated.
        let ranges = [
            ("asOf", 0, U40_MAX),
            ("lag", 0, 0xff_ffff),
            ("logPos", 1, U48_MAX),
            ("seq", 1, u64::from(u32::MAX)),
            ("model", 0, u64::from(u16::MAX)),
            ("flags", 0, u64::from(u8::MAX)),
            ("grade", 1, u64::from(GRADE_MAX)),
            ("score", 0, u64::from(SCORE_MAX)),
            ("pd", 0, ppb_one),
            ("el", 0, ppb_one),
        ];
        for ((field, found), (_, lowest, highest)) in self.named_values().into_iter().zip(ranges) {
            if !(lowest..=highest).contains(&found) {
                return Err(WordOutOfRange { field, lowest, highest, found });
            }
        }
        Ok(self)
    }
}

/// Parts per trillion as the contract's parts per billion, rounded up: a loss never looks smaller
/// on chain than it was computed. More than one is an error.
pub fn ppb_from_ppt(field: &'static str, ppt: u64) -> Result<u32, WordOutOfRange> {
    let found = ppt.div_ceil(PPT_PER_PPB);
    let highest = u64::from(PPB_ONE);
    match u32::try_from(found) {
        Ok(ppb) if ppb <= PPB_ONE => Ok(ppb),
        _ => Err(WordOutOfRange { field, lowest: 0, highest, found }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/words.json");

    fn fields() -> impl Strategy<Value = WordFields> {
        (
            (0..=U40_MAX, 1..=U48_MAX, 1..=u32::MAX, any::<u16>()),
            (0..0x40_u8, 1..=GRADE_MAX, 0..=SCORE_MAX, 0..=PPB_ONE, 0..=PPB_ONE),
        )
            .prop_map(|((as_of, log_pos, seq, model), (flags, grade, score, pd, el))| {
                let flags = Flags(flags);
                WordFields { as_of, log_pos, seq, model, flags, grade, score, pd, el }
            })
    }

    proptest! {
        #[test]
        fn every_word_survives_packing(fields in fields()) {
            let word = Word::new(fields).unwrap();
            prop_assert_eq!(Word::unpack(word.pack()).unwrap(), word);
        }

        #[test]
        fn whatever_unpacks_packs_to_the_same_bits(bytes in any::<[u8; 32]>()) {
            let bits = U256::from_be_bytes(bytes);
            if let Ok(word) = Word::unpack(bits) {
                prop_assert_eq!(word.pack(), bits);
            }
        }

        #[test]
        fn one_changed_field_is_named(fields in fields(), score in 0..=SCORE_MAX) {
            let word = Word::new(fields).unwrap();
            let other = Word::new(WordFields { score, ..fields }).unwrap();
            let difference = word.first_difference(&other);
            prop_assert_eq!(difference.map(|found| found.field),
                (score != fields.score).then_some("score"));
        }
    }

    #[test]
    fn the_golden_words_are_packed_as_the_contract_packs_them() {
        let golden: Vec<serde_json::Value> = serde_json::from_str(GOLDEN).unwrap();
        assert!(golden.len() >= 5);
        for entry in golden {
            let number = |name: &str| -> u64 {
                entry[name].as_u64().unwrap_or_else(|| panic!("{name} of {entry}"))
            };
            let word = Word::unpack(entry["word"].as_str().unwrap().parse().unwrap()).unwrap();
            for (name, value) in word.named_values() {
                assert_eq!(value, number(name), "{name} of {entry}");
            }
            let signed = word.as_signed();
            assert_eq!(Word::new(signed.fields()).unwrap(), signed);
            assert_eq!(word.pack().to_be_bytes_vec().len(), 32);
        }
    }

    #[test]
    fn a_field_out_of_range_is_named_with_its_range() {
        let good = WordFields {
            as_of: 1,
            log_pos: 1,
            seq: 1,
            model: 0,
            flags: Flags::default(),
            grade: 1,
            score: 0,
            pd: 0,
            el: 0,
        };
        let check = |fields: WordFields, text: &str| {
            assert_eq!(Word::new(fields).unwrap_err().to_string(), text);
        };
        check(
            WordFields { grade: 0, ..good },
            "field grade of a rating word is 0, expected 1 to 20",
        );
        check(
            WordFields { grade: 21, ..good },
            "field grade of a rating word is 21, expected 1 to 20",
        );
        check(
            WordFields { score: 19_001, ..good },
            "field score of a rating word is 19001, expected 0 to 19000",
        );
        check(
            WordFields { flags: Flags::SUSPENDED, ..good },
            "field flags of a rating word is 128, expected 0 to 63",
        );
        check(
            WordFields { el: PPB_ONE + 1, ..good },
            "field el of a rating word is 1000000001, expected 0 to 1000000000",
        );
        check(
            WordFields { as_of: 1 << 40, ..good },
            "field asOf of a rating word is 1099511627776, expected 0 to 1099511627775",
        );
    }

    #[test]
    fn losses_are_rounded_up() {
        assert_eq!(ppb_from_ppt("el", 0), Ok(0));
        assert_eq!(ppb_from_ppt("el", 1), Ok(1));
        assert_eq!(ppb_from_ppt("el", 1_000), Ok(1));
        assert_eq!(ppb_from_ppt("el", 1_001), Ok(2));
        assert_eq!(ppb_from_ppt("el", 1_000_000_000_000), Ok(PPB_ONE));
        assert_eq!(ppb_from_ppt("el", 1_000_000_000_001).unwrap_err().found, 1_000_000_001);
    }
}
