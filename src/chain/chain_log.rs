//! A chain log and a header as JSON-RPC providers write them, tolerant of their habits.
//!
//! Integers come as hex strings, decimal strings or numbers; `blockTimestamp` may be missing;
//! unknown fields are skipped. Nothing is interpreted here: that is `decode`.

use alloy::hex;
use alloy::primitives::{Address, B256};
use assay_domain::BlockRef;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event_store::Header;

/// Topics a log can have: the EVM has LOG0 to LOG4.
pub const TOPICS_MAX: usize = 4;

/// A chain log that lies in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLog {
    /// Who emitted it.
    pub address: Address,
    /// Its topics.
    pub topics: Topics,
    /// Its data.
    pub data: Vec<u8>,
    /// Number of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: B256,
    /// Time of its block, if the provider says it.
    pub block_timestamp: Option<u64>,
    /// Its transaction.
    pub tx_hash: B256,
    /// Its place in the block.
    pub log_index: u32,
    /// Whether the provider takes it back.
    pub removed: bool,
}

impl ChainLog {
    /// Whether another log says the same; only one of them may know the time.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let times_agree = match (self.block_timestamp, other.block_timestamp) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        times_agree
            && self.address == other.address
            && self.topics == other.topics
            && self.data == other.data
            && self.block_number == other.block_number
            && self.block_hash == other.block_hash
            && self.tx_hash == other.tx_hash
            && self.log_index == other.log_index
    }
}

/// Up to four topics, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topics {
    count: u8,
    topics: [B256; TOPICS_MAX],
}

impl Topics {
    /// No topics.
    pub const NONE: Self = Self { count: 0, topics: [B256::ZERO; TOPICS_MAX] };

    /// Topics out of a slice; `None` for more than four.
    pub fn new(given: &[B256]) -> Option<Self> {
        let mut topics = [B256::ZERO; TOPICS_MAX];
        topics.get_mut(..given.len())?.copy_from_slice(given);
        Some(Self { count: u8::try_from(given.len()).ok()?, topics })
    }

    /// The topics.
    pub fn as_slice(&self) -> &[B256] {
        self.topics.get(..usize::from(self.count)).unwrap_or(&self.topics)
    }

    /// The topics, owned.
    pub fn to_vec(&self) -> Vec<B256> {
        self.as_slice().to_vec()
    }
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TopicsVisitor;
        impl<'de> Visitor<'de> for TopicsVisitor {
            type Value = Topics;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("at most four topics")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Topics, A::Error> {
                let mut topics = [B256::ZERO; TOPICS_MAX];
                let mut count = 0;
                for slot in &mut topics {
                    let Some(topic) = seq.next_element()? else { break };
                    *slot = topic;
                    count += 1;
                }
                if usize::from(count) == TOPICS_MAX && seq.next_element::<IgnoredAny>()?.is_some() {
                    return Err(Error::invalid_length(TOPICS_MAX + 1, &self));
                }
                Ok(Topics { count, topics })
            }
        }
        deserializer.deserialize_seq(TopicsVisitor)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogJson<'a> {
    address: Address,
    topics: Topics,
    data: HexBytes,
    #[serde(borrow)]
    block_number: Quantity<'a>,
    block_hash: B256,
    #[serde(borrow, default)]
    block_timestamp: Option<Quantity<'a>>,
    transaction_hash: B256,
    #[serde(borrow)]
    log_index: Quantity<'a>,
    #[serde(default)]
    removed: Option<bool>,
}

impl<'de> Deserialize<'de> for ChainLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = LogJson::deserialize(deserializer)?;
        let log_index = json.log_index.value("logIndex")?;
        let timestamp = json.block_timestamp.map(|quantity| quantity.value("blockTimestamp"));
        Ok(Self {
            address: json.address,
            topics: json.topics,
            data: json.data.0,
            block_number: json.block_number.value("blockNumber")?,
            block_hash: json.block_hash,
            block_timestamp: timestamp.transpose()?,
            tx_hash: json.transaction_hash,
            log_index: u32::try_from(log_index).map_err(|_| {
                D::Error::custom(format_args!("logIndex {log_index} does not fit 32 bits"))
            })?,
            removed: json.removed.unwrap_or(false),
        })
    }
}

/// A header as `eth_getBlockByNumber` returns it, of which four fields matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeaderJson(pub(crate) Header);

impl<'de> Deserialize<'de> for HeaderJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            #[serde(borrow)]
            number: Quantity<'a>,
            hash: B256,
            parent_hash: B256,
            #[serde(borrow)]
            timestamp: Quantity<'a>,
        }
        let json = Json::deserialize(deserializer)?;
        let number = json.number.value("number")?;
        let timestamp = json.timestamp.value("timestamp")?;
        let block = BlockRef { number, hash: json.hash, timestamp };
        Ok(Self(Header { block, parent_hash: json.parent_hash }))
    }
}

/// An integer as a provider wrote it: `"0x1f"`, `"31"` or `31`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Quantity<'a>(#[serde(borrow)] &'a RawValue);

impl Quantity<'_> {
    pub(crate) fn value<E: Error>(&self, field: &str) -> Result<u64, E> {
        let text = self.0.get();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let value = match bare.strip_prefix("0x") {
            Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
            None if !bare.starts_with('+') => bare.parse().ok(),
            _ => None,
        };
        // A provider's text can be of any length; the start of it is enough to see what it is.
        let shown: String = text.chars().take(40).collect();
        value.ok_or_else(|| E::custom(format_args!("{field} {shown} is no unsigned 64-bit number")))
    }
}

/// Bytes written as `0x…`.
struct HexBytes(Vec<u8>);

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor;
        impl Visitor<'_> for HexVisitor {
            type Value = HexBytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes in hex")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HexBytes, E> {
                hex::decode(text).map(HexBytes).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(HexVisitor)
    }
}

impl Serialize for ChainLog {
    /// As a provider writes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            address: Address,
            topics: &'a [B256],
            data: String,
            block_number: String,
            block_hash: B256,
            #[serde(skip_serializing_if = "Option::is_none")]
            block_timestamp: Option<String>,
            transaction_hash: B256,
            log_index: String,
            removed: bool,
        }
        let json = Json {
            address: self.address,
            topics: self.topics.as_slice(),
            data: hex::encode_prefixed(&self.data),
            block_number: format!("{:#x}", self.block_number),
            block_hash: self.block_hash,
            block_timestamp: self.block_timestamp.map(|time| format!("{time:#x}")),
            transaction_hash: self.tx_hash,
            log_index: format!("{:#x}", self.log_index),
            removed: self.removed,
        };
        json.serialize(serializer)
    }
}
