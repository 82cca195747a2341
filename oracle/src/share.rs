//! One signer's signature over the batch of a position, as nodes hand it to each other.
//!
//! It carries the batch, so that anybody can bring it to the contract. Nothing in it is believed:
//! the digest is computed from the entries, the signer from the digest, and whether the signer
//! counts is asked of the contract (`council`).

use alloy::primitives::{Address, B256, Bytes, FixedBytes, Signature};
use assay_domain::block::ChainId;
use assay_domain::word::FieldDifference;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, NotABatch, OracleId};
use crate::report::EntityKey;

/// One signer's signature over one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Chain of the oracle contract.
    pub chain_id: ChainId,
    /// The oracle contract.
    pub oracle: Address,
    /// Canonical position at which the ratings were decided. Not signed.
    pub position: u64,
    /// The contract's epoch that it is signed for.
    pub epoch: u32,
    /// Last second at which the contract takes it.
    pub deadline: u64,
    /// entity ‖ word of each rating, in the order of the keys.
    pub entries: Bytes,
    /// Who signed.
    pub signer: Address,
    /// EIP-2098.
    pub signature: FixedBytes<64>,
}

/// A share that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadShare {
    /// The entries are no batch.
    #[error(transparent)]
    NotABatch(#[from] NotABatch),
    /// The signature is of another key, or of another batch.
    #[error("the signature is not of {claimed}")]
    OtherSigner {
        /// Who it says has signed.
        claimed: Address,
    },
}

/// In what another node's batch of a position differs from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dissent {
    /// It did not rate the entity there.
    #[error("it has no rating of {entity} there")]
    NotThere {
        /// Whose.
        entity: EntityKey,
    },
    /// It rated an entity that we did not.
    #[error("it has a rating of {entity} there, and we have none")]
    OnlyThere {
        /// Whose.
        entity: EntityKey,
    },
    /// The words differ.
    #[error(
        "its rating of {entity} has {} {}, ours {}",
        .difference.field, .difference.found, .difference.expected
    )]
    Field {
        /// Whose rating.
        entity: EntityKey,
        /// The first field that differs.
        difference: FieldDifference,
    },
}

impl Dissent {
    /// The first difference in the order of the keys; `None` if the batches are the same.
    pub fn first(ours: &Batch, theirs: &Batch) -> Option<Self> {
        let mut their_reports = theirs.reports().iter().peekable();
        for our in ours.reports() {
            let entity = our.entity();
            match their_reports.next_if(|their| their.entity() <= entity) {
                None => return Some(Self::NotThere { entity }),
                Some(their) if their.entity() < entity => {
                    return Some(Self::OnlyThere { entity: their.entity() });
                }
                Some(their) => {
                    if let Some(difference) = our.word().first_difference(&their.word()) {
                        return Some(Self::Field { entity, difference });
                    }
                }
            }
        }
        their_reports.next().map(|their| Self::OnlyThere { entity: their.entity() })
    }
}

impl Share {
    /// The contract it is for.
    pub const fn oracle_id(&self) -> OracleId {
        OracleId { chain_id: self.chain_id, address: self.oracle }
    }

    /// The batch.
    pub fn batch(&self) -> Result<Batch, NotABatch> {
        Batch::from_entries(&self.entries)
    }

    /// The hash that was signed, if the signature is of whom it says.
    pub fn verified_digest(&self) -> Result<B256, BadShare> {
        let message = self.batch()?.message(self.epoch, self.deadline)?;
        let digest = self.oracle_id().digest(&message);
        if recover(&self.signature, &digest) == Some(self.signer) {
            Ok(digest)
        } else {
            Err(BadShare::OtherSigner { claimed: self.signer })
        }
    }
}

/// Who signed this hash.
pub(crate) fn recover(signature: &FixedBytes<64>, digest: &B256) -> Option<Address> {
    let signature = Signature::from_erc2098(signature.as_slice());
    signature.recover_address_from_prehash(digest).ok()
}
