//! Signed messages from the outside: files and requests, their typed data, their signatures.
//!
//! A message is EIP-712 typed data of the domain "Assay" with the observed chain's id, so that a
//! wallet can show it and a signature for one chain or purpose is none for another. A claim is
//! shown and signed as its JSON text, which its meaning determines.

use alloy::dyn_abi::TypedData;
use alloy::primitives::{Address, B256, Bytes, Signature};
use alloy::sol_types::{Eip712Domain, SolStruct, eip712_domain};
use assay_domain::ChainId;
use assay_domain::attestation::{Message, Signed};
use assay_domain::mitigation::VerificationLevel;
use serde::{Deserialize, Serialize};

use crate::event_store::{EventStore, Record, RecordError, Timeliness};

/// Bytes of a file or a request at most: four times the largest ruleset.
pub const DOCUMENT_BYTES_MAX: usize = 65_536;

/// Chains to try when a signature does not fit, to say what is wrong.
const OTHER_CHAINS: [ChainId; 4] = [1, 17_000, 560_048, 31_337];

mod typed {
    alloy::sol! {
        #[derive(serde::Serialize)]
        struct Attestation {
            address signer;
            string kind;
            string claim;
            string level;
            bytes32 evidence;
            uint64 observedAt;
            uint64 effectiveBlock;
            uint64 expiresAt;
        }
        #[derive(serde::Serialize)]
        struct Revocation { address signer; bytes32 attestation; uint64 effectiveBlock; }
        #[derive(serde::Serialize)]
        struct SignerRegistration {
            address signer;
            address key;
            string level;
            address[] affiliations;
            uint64 effectiveBlock;
        }
        #[derive(serde::Serialize)]
        struct SignerRemoval { address signer; address key; uint64 effectiveBlock; }
        #[derive(serde::Serialize)]
        struct AdministratorAppointment {
            address signer;
            address administrator;
            uint64 effectiveBlock;
        }
        #[derive(serde::Serialize)]
        struct MethodologyAdoption {
            address signer;
            bytes32 methodology;
            string version;
            uint64 effectiveBlock;
        }
    }
}

/// A message as a file or a request holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Document {
    /// The chain it is about.
    pub chain_id: ChainId,
    /// What is said.
    pub message: Message,
    /// Who says it; absent before it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<Address>,
    /// r, s and v; absent before it is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Bytes>,
}

/// Who hands a message over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorder {
    /// Whoever owns the log: the command line, with the writer's rights.
    Owner,
    /// Anybody, over the network.
    Anyone,
}

/// Why a message was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be read.
    #[error("not a message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is too long.
    #[error("the message has {found} bytes, at most {DOCUMENT_BYTES_MAX} are taken")]
    TooLong {
        /// Its length.
        found: usize,
    },
    /// Nobody signed it.
    #[error(
        "the message needs a signer and a signature of 65 bytes; `assay attest --sign` makes them"
    )]
    Unsigned,
    /// The signature is by another key, or for something else.
    #[error("bad signature: it is not by {signer} over this message for chain {chain_id}{hint}")]
    BadSignature {
        /// Who should have signed.
        signer: Address,
        /// For which chain.
        chain_id: ChainId,
        /// What it is, if that can be told.
        hint: String,
    },
    /// Administrators and methodologies come in on the machine that owns the log.
    #[error("this is recorded with `assay attest`, by the owner of the log")]
    OwnerOnly,
    /// The log does not take it.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Document {
    /// Reads a document.
    pub fn parse(text: &[u8]) -> Result<Self, Refused> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(Refused::TooLong { found: text.len() });
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// The typed data that `signer` signs, as wallets take it.
    #[must_use]
    pub fn typed_data(&self, signer: Address) -> TypedData {
        let domain = Some(domain(self.chain_id));
        match shape(&self.message, signer) {
            Shape::Attestation(found) => TypedData::from_struct(&found, domain),
            Shape::Revocation(found) => TypedData::from_struct(&found, domain),
            Shape::SignerRegistration(found) => TypedData::from_struct(&found, domain),
            Shape::SignerRemoval(found) => TypedData::from_struct(&found, domain),
            Shape::AdministratorAppointment(found) => TypedData::from_struct(&found, domain),
            Shape::MethodologyAdoption(found) => TypedData::from_struct(&found, domain),
        }
    }

    /// The EIP-712 digest that `signer` signs.
    #[must_use]
    pub fn digest(&self, signer: Address) -> B256 {
        digest(&self.message, signer, self.chain_id)
    }

    /// Checks the signature.
    pub fn verify(self) -> Result<(ChainId, Signed<Message>), Refused> {
        let (Some(signer), Some(bytes)) = (self.signer, &self.signature) else {
            return Err(Refused::Unsigned);
        };
        let signature: [u8; 65] = bytes.as_ref().try_into().map_err(|_| Refused::Unsigned)?;
        let chain_id = self.chain_id;
        let digest = self.digest(signer);
        if !is_signed_by(signer, &signature, &digest) {
            let other = OTHER_CHAINS.into_iter().filter(|other| *other != chain_id).find(|other| {
                is_signed_by(signer, &signature, &self::digest(&self.message, signer, *other))
            });
            let hint = other.map(|other| format!("; it is for chain {other}")).unwrap_or_default();
            return Err(Refused::BadSignature { signer, chain_id, hint });
        }
        Ok((chain_id, Signed { message: self.message, digest, signer, signature }))
    }
}

/// Whether a recorded message carries the signature it says.
#[must_use]
pub fn is_genuine(chain_id: ChainId, signed: &Signed<Message>) -> bool {
    signed.digest == digest(&signed.message, signed.signer, chain_id)
        && is_signed_by(signed.signer, &signed.signature, &signed.digest)
}

/// Checks a document and records it.
pub async fn record(
    store: &EventStore,
    document: Document,
    recorder: Recorder,
    timeliness: Timeliness,
) -> Result<Record, Refused> {
    let (chain_id, signed) = document.verify()?;
    if recorder == Recorder::Anyone
        && matches!(
            signed.message,
            Message::AdministratorAppointment(_) | Message::MethodologyAdoption(_)
        )
    {
        return Err(Refused::OwnerOnly);
    }
    Ok(store.record(chain_id, signed, timeliness).await?)
}

fn is_signed_by(signer: Address, signature: &[u8; 65], digest: &B256) -> bool {
    let Ok(signature) = Signature::from_raw_array(signature) else { return false };
    // A signature and its mirror image are one message said once: only the lower half is taken.
    signature.normalize_s().is_none()
        && signature.recover_address_from_prehash(digest).is_ok_and(|found| found == signer)
}

fn domain(chain_id: ChainId) -> Eip712Domain {
    eip712_domain! { name: "Assay", version: "1", chain_id: chain_id, }
}

enum Shape {
    Attestation(typed::Attestation),
    Revocation(typed::Revocation),
    SignerRegistration(typed::SignerRegistration),
    SignerRemoval(typed::SignerRemoval),
    AdministratorAppointment(typed::AdministratorAppointment),
    MethodologyAdoption(typed::MethodologyAdoption),
}

fn shape(message: &Message, signer: Address) -> Shape {
    let effective = message.effective_block();
    match message {
        Message::Attestation(message) => Shape::Attestation(typed::Attestation {
            signer,
            kind: message.claim.name().to_owned(),
            // Writing plain data to memory does not fail.
            claim: serde_json::to_string(&message.claim).unwrap_or_default(),
            level: level(message.level).to_owned(),
            evidence: message.evidence,
            observedAt: message.observed_at,
            effectiveBlock: effective,
            expiresAt: message.expires_at,
        }),
        Message::Revocation(message) => Shape::Revocation(typed::Revocation {
            signer,
            attestation: message.attestation,
            effectiveBlock: effective,
        }),
        Message::SignerRegistration(message) => {
            Shape::SignerRegistration(typed::SignerRegistration {
                signer,
                key: message.signer,
                level: level(message.level).to_owned(),
                affiliations: message.affiliations.iter().copied().collect(),
                effectiveBlock: effective,
            })
        }
        Message::SignerRemoval(message) => Shape::SignerRemoval(typed::SignerRemoval {
            signer,
            key: message.signer,
            effectiveBlock: effective,
        }),
        Message::AdministratorAppointment(message) => {
            Shape::AdministratorAppointment(typed::AdministratorAppointment {
                signer,
                administrator: message.administrator,
                effectiveBlock: effective,
            })
        }
        Message::MethodologyAdoption(message) => {
            Shape::MethodologyAdoption(typed::MethodologyAdoption {
                signer,
                methodology: message.methodology,
                version: message.version.clone(),
                effectiveBlock: effective,
            })
        }
    }
}

fn digest(message: &Message, signer: Address, chain_id: ChainId) -> B256 {
    let domain = domain(chain_id);
    match shape(message, signer) {
        Shape::Attestation(found) => found.eip712_signing_hash(&domain),
        Shape::Revocation(found) => found.eip712_signing_hash(&domain),
        Shape::SignerRegistration(found) => found.eip712_signing_hash(&domain),
        Shape::SignerRemoval(found) => found.eip712_signing_hash(&domain),
        Shape::AdministratorAppointment(found) => found.eip712_signing_hash(&domain),
        Shape::MethodologyAdoption(found) => found.eip712_signing_hash(&domain),
    }
}

const fn level(level: VerificationLevel) -> &'static str {
    match level {
        VerificationLevel::SelfClaim => "self_claim",
        VerificationLevel::SignedThirdParty => "signed_third_party",
        VerificationLevel::VerifiedRemote => "verified_remote",
        VerificationLevel::VerifiedOnChain => "verified_on_chain",
    }
}
