//! Values that cross the wire: what JSON cannot carry exactly is a string.

use std::fmt::Write as _;

use alloy_primitives::hex;
use async_graphql::{InputValueError, InputValueResult, Number, Scalar, ScalarType, Value};
use serde::Deserialize;

use crate::error::ApiError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "alloy_primitives::Address")]
pub(crate) struct Address(pub(crate) [u8; 20]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "alloy_primitives::B256")]
pub(crate) struct Bytes32(pub(crate) [u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct BigInt(pub(crate) String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogPosition(pub(crate) i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FeedPosition(pub(crate) i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockNumber(pub(crate) i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChainId(pub(crate) i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DateTime {
    /// Microseconds since the Unix epoch.
    pub(crate) micros: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grade(u8);

impl Grade {
    const LABELS: [&str; 20] = [
        "AAA", "AA+", "AA", "AA-", "A+", "A", "A-", "BBB+", "BBB", "BBB-", "BB+", "BB", "BB-",
        "B+", "B", "B-", "CCC+", "CCC", "CCC-", "D",
    ];

    /// The grade with this number: 1 is AAA, 19 is CCC-, 20 is D.
    pub(crate) fn from_number(number: i16) -> Result<Self, ApiError> {
        u8::try_from(number)
            .ok()
            .filter(|number| (1..=20).contains(number))
            .map(Self)
            .ok_or(ApiError::Corrupt("a grade outside 1 to 20"))
    }

    /// 1 for AAA to 20 for D.
    pub(crate) const fn number(self) -> i16 {
        self.0 as i16
    }

    /// What people read: `BBB-`.
    pub(crate) fn label(self) -> &'static str {
        Self::LABELS[usize::from(self.0) - 1]
    }

    fn from_label(label: &str) -> Option<Self> {
        let index = Self::LABELS.iter().position(|known| *known == label)?;
        u8::try_from(index + 1).ok().map(Self)
    }
}

impl From<alloy_primitives::Address> for Address {
    fn from(address: alloy_primitives::Address) -> Self {
        Self(address.into_array())
    }
}

impl From<alloy_primitives::B256> for Bytes32 {
    fn from(hash: alloy_primitives::B256) -> Self {
        Self(hash.0)
    }
}

impl Address {
    /// An address as it lies in the database.
    pub(crate) fn from_row(bytes: &[u8]) -> Result<Self, ApiError> {
        bytes.try_into().map(Self).map_err(|_| ApiError::Corrupt("an address not of 20 bytes"))
    }
}

impl TryFrom<Vec<u8>> for Address {
    type Error = ApiError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, ApiError> {
        Self::from_row(&bytes)
    }
}

impl From<String> for BigInt {
    fn from(digits: String) -> Self {
        Self(digits)
    }
}

impl Bytes32 {
    /// 32 bytes as they lie in the database.
    pub(crate) fn from_row(bytes: &[u8]) -> Result<Self, ApiError> {
        bytes.try_into().map(Self).map_err(|_| ApiError::Corrupt("a hash not of 32 bytes"))
    }
}

impl DateTime {
    /// A block time.
    pub(crate) const fn from_seconds(seconds: i64) -> Self {
        Self { micros: seconds.saturating_mul(1_000_000) }
    }

    /// Whole seconds since the Unix epoch, rounded down: a block at this second is included.
    pub(crate) const fn seconds(self) -> i64 {
        self.micros.div_euclid(1_000_000)
    }
}

impl std::fmt::Display for DateTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_microsecond(self.micros) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}", self.micros),
        }
    }
}

/// Bytes in hexadecimal with a 0x prefix.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn bytes_of<const N: usize>(value: &Value) -> Option<[u8; N]> {
    match value {
        Value::String(text) => hex::decode_to_array(text.strip_prefix("0x")?).ok(),
        _ => None,
    }
}

fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().filter(|number| *number >= 0),
        _ => None,
    }
}

/// An input value that does not fit its scalar, said without repeating what may be 100 kB long.
fn expected<T: ScalarType + async_graphql::InputType>(form: &'static str) -> InputValueError<T> {
    InputValueError::custom(format!("expected {form}"))
}

/// A 20-byte account address in hexadecimal with a 0x prefix. Output is EIP-55 checksummed; input
/// is accepted in any letter case.
#[Scalar(specified_by_url = "https://eips.ethereum.org/EIPS/eip-55")]
impl ScalarType for Address {
    fn parse(value: Value) -> InputValueResult<Self> {
        bytes_of(&value).map(Self).ok_or_else(|| expected("0x and 40 hexadecimal digits"))
    }
    fn to_value(&self) -> Value {
        Value::String(alloy_primitives::Address::from(self.0).to_checksum(None))
    }
}

/// 32 bytes in hexadecimal with a 0x prefix: hashes, entity keys and the oracle's words.
#[Scalar]
impl ScalarType for Bytes32 {
    fn parse(value: Value) -> InputValueResult<Self> {
        bytes_of(&value).map(Self).ok_or_else(|| expected("0x and 64 hexadecimal digits"))
    }
    fn to_value(&self) -> Value {
        Value::String(hex_of(&self.0))
    }
}

/// An integer of any size as a decimal string. The unit stands in the field's name: ppt are
/// 1e-12, wad are 1e-18, shares are the strategy's own unit.
#[Scalar]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text)
                if !text.is_empty()
                    && text.len() <= 78
                    && text.bytes().all(|b| b.is_ascii_digit()) =>
            {
                Ok(Self(text))
            }
            _ => Err(expected("a string of decimal digits")),
        }
    }
    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A position in the canonical log, a 64-bit integer as a string.
#[Scalar]
impl ScalarType for LogPosition {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => text.parse().ok().filter(|position| *position >= 0),
            value => integer_of(value),
        }
        .map(Self)
        .ok_or_else(|| expected("a position as a string, like \"1204877\""))
    }
    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A place in the feed of news that this server tells its subscribers, a 64-bit integer as a
/// string. Another server has another feed.
#[Scalar]
impl ScalarType for FeedPosition {
    fn parse(value: Value) -> InputValueResult<Self> {
        LogPosition::parse(value)
            .map(|position| Self(position.0))
            .map_err(InputValueError::propagate)
    }
    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A block number as a JSON number (safe up to 2^53).
#[Scalar]
impl ScalarType for BlockNumber {
    fn parse(value: Value) -> InputValueResult<Self> {
        integer_of(&value).map(Self).ok_or_else(|| expected("a block number"))
    }
    fn to_value(&self) -> Value {
        Value::Number(Number::from(self.0))
    }
}

/// An EIP-155 chain id as a JSON number: 1 is Ethereum, 17000 is Holesky.
#[Scalar]
impl ScalarType for ChainId {
    fn parse(value: Value) -> InputValueResult<Self> {
        integer_of(&value).map(Self).ok_or_else(|| expected("a chain id"))
    }
    fn to_value(&self) -> Value {
        Value::Number(Number::from(self.0))
    }
}

/// An RFC 3339 time: in UTC on output, with any offset on input.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => text
                .parse::<jiff::Timestamp>()
                .ok()
                .map(|time| Self { micros: time.as_microsecond() }),
            _ => None,
        }
        .ok_or_else(|| expected("an RFC 3339 time, like \"2024-03-26T23:59:59Z\""))
    }
    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// A grade, AAA (safest) to CCC-, or D (in default): `AAA AA+ AA AA- … B- CCC+ CCC CCC- D`.
#[Scalar]
impl ScalarType for Grade {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(label) => Self::from_label(label),
            _ => None,
        }
        .ok_or_else(|| expected("a grade from AAA to CCC-, or D"))
    }
    fn to_value(&self) -> Value {
        Value::String(self.label().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: ScalarType>(text: &str) -> Option<T> {
        <T as ScalarType>::parse(Value::from(text)).ok()
    }

    #[test]
    fn every_grade_survives_the_way_to_its_label_and_back() {
        for number in 1..=20 {
            let grade = Grade::from_number(number).unwrap();
            assert_eq!(Grade::from_label(grade.label()), Some(grade));
            assert_eq!(grade.number(), number);
        }
        assert!(Grade::from_number(0).is_err());
        assert!(Grade::from_number(21).is_err());
    }

    #[test]
    fn a_time_keeps_its_second_before_and_after_1970() {
        assert_eq!(read("2024-03-26T23:59:59Z").map(DateTime::seconds), Some(1_711_497_599));
        assert_eq!(read("2024-03-27T01:59:59.9+02:00").map(DateTime::seconds), Some(1_711_497_599));
        assert_eq!(read("1969-12-31T23:59:59.5Z").map(DateTime::seconds), Some(-1));
        assert_eq!(DateTime::from_seconds(1_711_497_599).to_string(), "2024-03-26T23:59:59Z");
        assert_eq!(read::<DateTime>("yesterday"), None);
    }

    #[test]
    fn an_address_is_checksummed_on_output_and_read_in_any_case() {
        let text = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed";
        let address = read::<Address>(text).unwrap();
        let shown = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        assert_eq!(ScalarType::to_value(&address), Value::from(shown));
        assert_eq!(read(shown), Some(address));
        assert_eq!(read::<Address>("0x12"), None);
    }
}
