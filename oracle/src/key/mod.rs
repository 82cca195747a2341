//! Keys: what signs ratings, what signs attestations and what pays gas are three types, so that
//! they cannot be mixed up.
//!
//! A rating key signs only what the guard has cleared and never holds ether; the gas key signs
//! only transactions and has no say in a rating. [`KeySpec`] says where a key is and opens it;
//! a wallet in memory that speaks alloy's traits serves as well. Nothing here logs, prints or
//! returns a secret, and a process that opens a key leaves no core dump.

#[cfg(any(feature = "aws-kms", feature = "gcp-kms", feature = "ledger"))]
mod held_elsewhere;
mod keystore;
mod seclusion;
mod spec;
#[cfg(all(test, any(feature = "aws-kms", feature = "gcp-kms", feature = "ledger")))]
mod tests;
mod web3signer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::dyn_abi::TypedData;
use alloy::network::TxSigner;
use alloy::primitives::{Address, B256, Signature};
use alloy::signers::Signer;
use alloy::signers::local::{LocalSignerError, PrivateKeySigner};

use crate::batch::{NotABatch, OracleId, RatingBatch};
use crate::guard::Cleared;

pub use keystore::check_private;
pub use spec::{KEY_FORMS, KeySpec};

/// How long a wallet may take: somebody may have to press a button.
const WALLET_TIMEOUT: Duration = Duration::from_secs(120);

/// Why there is no key, or no signature. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is missing or cannot be read. Check the path.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read the file. `chmod 600` it, and think about who has read it.
    #[error("{} has mode {mode:03o}, expected at most 700: others can read it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The password file is empty, too long or not text.
    #[error("{} is no password file: expected one line of text", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The password is wrong, or the file is no version 3 keystore.
    #[error("cannot decrypt the keystore {}", path.display())]
    Undecryptable {
        /// The file.
        path: PathBuf,
        /// What the keystore said.
        source: LocalSignerError,
    },
    /// The text names no key. It is not repeated here: it may be a secret.
    #[error("this names no key: {fault}. A key is written {KEY_FORMS}")]
    NotASpec {
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The binary was built without this kind of key. Build it with the feature.
    #[error("this build knows no {scheme} keys: build it with --features {scheme}")]
    NotBuiltIn {
        /// What the specification begins with, and the name of the cargo feature.
        scheme: &'static str,
    },
    /// The wallet does not say which key it holds. Check its name, the rights and the network.
    #[error("{scheme} does not open the key: {reason}")]
    Closed {
        /// What the specification begins with.
        scheme: &'static str,
        /// What the wallet said.
        reason: String,
    },
    /// The system does not let core dumps be switched off. No key was read.
    #[error("core dumps cannot be switched off, so no key is read: {0}")]
    CoreDumps(nix::Error),
    /// The wallet refused or is out of reach. Nothing was signed.
    #[error("the wallet of {signer} did not sign")]
    Wallet {
        /// Whose signature was asked for.
        signer: Address,
        /// What the wallet said.
        source: alloy::signers::Error,
    },
    /// The wallet signed something else, or with another key. Do not use it.
    #[error("the wallet of {signer} returned a signature of {found:?}")]
    WrongSignature {
        /// Whose signature was asked for.
        signer: Address,
        /// Whose it is, if anybody's.
        found: Option<Address>,
    },
    /// The guard cleared another key.
    #[error("the guard cleared {cleared}, asked to sign was {signer}")]
    NotCleared {
        /// Who was cleared.
        cleared: Address,
        /// Who was asked.
        signer: Address,
    },
    /// The batch cannot be signed as it is.
    #[error(transparent)]
    NotABatch(#[from] NotABatch),
}

/// What alloy's wallets can all do: typed data and transactions. Only some sign bare hashes.
pub trait Wallet: Signer + TxSigner<Signature> + Send + Sync + 'static {}

impl<W: Signer + TxSigner<Signature> + Send + Sync + 'static> Wallet for W {}

#[derive(Clone)]
struct Key(Arc<dyn Wallet>);

/// A key that signs ratings.
#[derive(Clone)]
pub struct RatingSigner(Key);

/// A key that signs attestations.
#[derive(Clone)]
pub struct AttestationKey(Key);

/// A key that pays for transactions.
#[derive(Clone)]
pub struct GasKey(Key);

impl RatingSigner {
    /// A key that lives as long as this process: for demonstrations.
    pub fn random() -> Self {
        Self::from_signer(PrivateKeySigner::random())
    }

    /// Signs a batch that the guard has cleared for this key. Asks for typed data rather than a
    /// hash, so that a wallet with a screen can show it, and checks what comes back.
    pub async fn sign(
        &self,
        cleared: &Cleared,
        oracle: OracleId,
        epoch: u32,
        deadline: u64,
    ) -> Result<Signature, KeyError> {
        let signer = self.address();
        if cleared.signer() != signer {
            return Err(KeyError::NotCleared { cleared: cleared.signer(), signer });
        }
        self.0.sign_batch(oracle, &cleared.batch().message(epoch, deadline)?).await
    }
}

impl AttestationKey {
    /// Signs typed data whose digest is `digest`, and checks what comes back.
    pub async fn sign(&self, typed: &TypedData, digest: &B256) -> Result<Signature, KeyError> {
        self.0.sign_typed_data(typed, digest).await
    }
}

impl GasKey {
    /// Signs a transaction. Asks for the transaction rather than its hash, as above.
    pub async fn sign(&self, mut transaction: TxEip1559) -> Result<TxEnvelope, KeyError> {
        let hash = transaction.signature_hash();
        let asked = self.0.0.sign_transaction(&mut transaction);
        let signature = self.0.answer(asked).await?;
        check(&signature, &hash, self.address())?;
        Ok(transaction.into_signed(signature).into())
    }
}

impl Key {
    fn address(&self) -> Address {
        Signer::address(&*self.0)
    }

    async fn sign_batch(
        &self,
        oracle: OracleId,
        message: &RatingBatch,
    ) -> Result<Signature, KeyError> {
        let typed = TypedData::from_struct(message, Some(oracle.domain()));
        self.sign_typed_data(&typed, &oracle.digest(message)).await
    }

    async fn sign_typed_data(
        &self,
        typed: &TypedData,
        digest: &B256,
    ) -> Result<Signature, KeyError> {
        let signature = self.answer(self.0.sign_dynamic_typed_data(typed)).await?;
        check(&signature, digest, self.address())?;
        Ok(signature.normalized_s())
    }

    async fn answer(
        &self,
        asked: impl Future<Output = alloy::signers::Result<Signature>>,
    ) -> Result<Signature, KeyError> {
        let silence = || format!("no answer within {} s", WALLET_TIMEOUT.as_secs());
        tokio::time::timeout(WALLET_TIMEOUT, asked)
            .await
            .unwrap_or_else(|_| Err(alloy::signers::Error::message(silence())))
            .map_err(|source| KeyError::Wallet { signer: self.address(), source })
    }
}

macro_rules! keys {
    ($($name:ident),+) => {$(
        impl $name {
            /// Opens a key where it is.
            pub async fn open(spec: &KeySpec) -> Result<Self, KeyError> {
                Ok(Self(Key(spec.open().await?)))
            }

            /// A key in an encrypted version 3 keystore, as `geth` and `cast wallet` write them.
            pub fn from_keystore(keystore: &Path, password: &Path) -> Result<Self, KeyError> {
                Ok(Self::from_signer(keystore::decrypt(keystore, password)?))
            }

            /// A wallet that speaks alloy's traits.
            pub fn from_signer(signer: impl Wallet) -> Self {
                Self(Key(Arc::new(signer)))
            }

            /// The key's address: all that is ever shown of it.
            pub fn address(&self) -> Address {
                self.0.address()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.address())
            }
        }
    )+};
}

keys!(RatingSigner, AttestationKey, GasKey);

fn check(signature: &Signature, hash: &B256, signer: Address) -> Result<(), KeyError> {
    let found = signature.recover_address_from_prehash(hash).ok();
    if found == Some(signer) { Ok(()) } else { Err(KeyError::WrongSignature { signer, found }) }
}

#[cfg(test)]
mod check_tests {
    use super::*;

    #[test]
    fn a_signature_by_another_key_is_refused() {
        use alloy::signers::SignerSync;
        let key = PrivateKeySigner::random();
        let hash = B256::repeat_byte(0x11);
        let signature = key.sign_hash_sync(&hash).unwrap();
        check(&signature, &hash, key.address()).unwrap();
        let refused = check(&signature, &hash, Address::ZERO).unwrap_err();
        assert!(matches!(refused, KeyError::WrongSignature { .. }));
    }
}
