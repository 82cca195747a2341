//! Global ids: opaque to clients, a kind and a key to us.

use async_graphql::ID;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::ApiError;
use crate::scalar::hex_of;

/// What a global id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeId {
    /// An entity, by its slug.
    Entity(String),
    /// An assessment.
    Rating { entity: i64, position: i64, block: i64 },
    /// A rating action, by its storage position.
    Action(i64),
    /// A slash, by its log.
    Slashing { chain: i64, block_hash: Vec<u8>, log_index: i64 },
    /// A publication.
    Publication { chain: i64, oracle: Vec<u8>, entity_key: Vec<u8>, seq: i64 },
}

impl From<NodeId> for ID {
    fn from(id: NodeId) -> Self {
        let text = match id {
            NodeId::Entity(slug) => format!("entity:{slug}"),
            NodeId::Rating { entity, position, block } => {
                format!("rating:{entity}:{position}:{block}")
            }
            NodeId::Action(position) => format!("action:{position}"),
            NodeId::Slashing { chain, block_hash, log_index } => {
                format!("slashing:{chain}:{}:{log_index}", hex_of(&block_hash))
            }
            NodeId::Publication { chain, oracle, entity_key, seq } => {
                format!("publication:{chain}:{}:{}:{seq}", hex_of(&oracle), hex_of(&entity_key))
            }
        };
        Self(URL_SAFE_NO_PAD.encode(text))
    }
}

impl NodeId {
    /// Reads an id that this server gave.
    pub(crate) fn parse(id: &ID) -> Result<Self, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(id.as_str()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.as_deref()
            .and_then(Self::read)
            .ok_or_else(|| ApiError::BadArgument("the id is not one of this server".to_owned()))
    }

    /// Reads an id as it is before it is made opaque.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok();
        let bytes = |text: &str| alloy_primitives::hex::decode(text).ok();
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["entity", slug] => Some(Self::Entity((*slug).to_owned())),
            ["rating", entity, position, block] => Some(Self::Rating {
                entity: number(entity)?,
                position: number(position)?,
                block: number(block)?,
            }),
            ["action", position] => Some(Self::Action(number(position)?)),
            ["slashing", chain, hash, index] => Some(Self::Slashing {
                chain: number(chain)?,
                block_hash: bytes(hash)?,
                log_index: number(index)?,
            }),
            ["publication", chain, oracle, key, seq] => Some(Self::Publication {
                chain: number(chain)?,
                oracle: bytes(oracle)?,
                entity_key: bytes(key)?,
                seq: number(seq)?,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_read_back() {
        for id in [
            NodeId::Entity("operator-set-1-0xab-0".to_owned()),
            NodeId::Rating { entity: 1, position: 2, block: 3 },
            NodeId::Action(9),
            NodeId::Slashing { chain: 1, block_hash: vec![7; 32], log_index: 4 },
            NodeId::Publication { chain: 1, oracle: vec![1; 20], entity_key: vec![2; 32], seq: 5 },
        ] {
            assert_eq!(NodeId::parse(&id.clone().into()).unwrap(), id);
        }
        assert!(NodeId::parse(&ID("what".to_owned())).is_err());
        assert!(NodeId::parse(&ID("ZW50aXR5".to_owned())).is_err());
    }
}
