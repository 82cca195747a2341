//! Keys: what signs ratings, what signs attestations and what pays gas are three types, so that
//! they cannot be mixed up.
//!
//! A rating key signs only what the guard has cleared and never holds ether; the gas key signs
//! only transactions and has no say in a rating. Keys come from encrypted files or from a wallet
//! that speaks alloy's `Signer`. Nothing here logs, prints or returns a secret.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::dyn_abi::TypedData;
use alloy::primitives::{Address, B256, Signature};
use alloy::signers::Signer;
use alloy::signers::local::{LocalSignerError, PrivateKeySigner};
use secrecy::{ExposeSecret, SecretString};

use crate::batch::{NotABatch, OracleId};
use crate::guard::Cleared;

/// Bytes of a password file at most: a longer file is some other file.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// Permission bits that let anybody but the owner touch a file.
const GROUP_AND_WORLD: u32 = 0o077;

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

#[derive(Clone)]
struct Key(Arc<dyn Signer + Send + Sync>);

/// A key that signs ratings.
#[derive(Clone)]
pub struct RatingSigner(Key);

/// A key that pays for transactions.
#[derive(Clone)]
pub struct GasKey(Key);

impl RatingSigner {
    /// A key in an encrypted version 3 keystore, as `geth` and `cast wallet` write them.
    pub fn from_keystore(keystore: &Path, password: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_signer(decrypt(keystore, password)?))
    }

    /// A wallet that speaks alloy's `Signer`: a KMS, a Ledger, a key in memory.
    pub fn from_signer(signer: impl Signer + Send + Sync + 'static) -> Self {
        Self(Key(Arc::new(signer)))
    }

    /// A key that lives as long as this process: for demonstrations.
    pub fn random() -> Self {
        Self::from_signer(PrivateKeySigner::random())
    }

    /// Whose signatures these are.
    pub fn address(&self) -> Address {
        self.0.0.address()
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
        let message = cleared.batch().message(epoch, deadline)?;
        let typed = TypedData::from_struct(&message, Some(oracle.domain()));
        let signature = self
            .0
            .0
            .sign_dynamic_typed_data(&typed)
            .await
            .map_err(|source| KeyError::Wallet { signer, source })?;
        check(&signature, &oracle.digest(&message), signer)?;
        Ok(signature.normalized_s())
    }
}

/// A key that signs attestations.
#[derive(Clone)]
pub struct AttestationKey(Key);

impl AttestationKey {
    /// A key in an encrypted version 3 keystore, as `geth` and `cast wallet` write them.
    pub fn from_keystore(keystore: &Path, password: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_signer(decrypt(keystore, password)?))
    }

    /// A wallet that speaks alloy's `Signer`.
    pub fn from_signer(signer: impl Signer + Send + Sync + 'static) -> Self {
        Self(Key(Arc::new(signer)))
    }

    /// Whose word it is.
    pub fn address(&self) -> Address {
        self.0.0.address()
    }

    /// Signs typed data whose digest is `digest`, and checks what comes back.
    pub async fn sign(&self, typed: &TypedData, digest: &B256) -> Result<Signature, KeyError> {
        let signer = self.address();
        let signature = self
            .0
            .0
            .sign_dynamic_typed_data(typed)
            .await
            .map_err(|source| KeyError::Wallet { signer, source })?;
        check(&signature, digest, signer)?;
        Ok(signature.normalized_s())
    }
}

impl GasKey {
    /// A key in an encrypted version 3 keystore, as `geth` and `cast wallet` write them.
    pub fn from_keystore(keystore: &Path, password: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_signer(decrypt(keystore, password)?))
    }

    /// A wallet that speaks alloy's `Signer` and signs hashes.
    pub fn from_signer(signer: impl Signer + Send + Sync + 'static) -> Self {
        Self(Key(Arc::new(signer)))
    }

    /// Whose ether is spent.
    pub fn address(&self) -> Address {
        self.0.0.address()
    }

    /// Signs a transaction.
    pub async fn sign(&self, transaction: TxEip1559) -> Result<TxEnvelope, KeyError> {
        let signer = self.address();
        let hash = transaction.signature_hash();
        let signature = self
            .0
            .0
            .sign_hash(&hash)
            .await
            .map_err(|source| KeyError::Wallet { signer, source })?;
        check(&signature, &hash, signer)?;
        Ok(transaction.into_signed(signature).into())
    }
}

macro_rules! show_address_only {
    ($($name:ident),+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.address())
            }
        }
    )+};
}

show_address_only!(RatingSigner, AttestationKey, GasKey);

fn check(signature: &Signature, hash: &B256, signer: Address) -> Result<(), KeyError> {
    let found = signature.recover_address_from_prehash(hash).ok();
    if found == Some(signer) { Ok(()) } else { Err(KeyError::WrongSignature { signer, found }) }
}

fn decrypt(keystore: &Path, password: &Path) -> Result<PrivateKeySigner, KeyError> {
    drop(open_private(keystore)?);
    let password = read_password(password)?;
    PrivateKeySigner::decrypt_keystore(keystore, password.expose_secret())
        .map_err(|source| KeyError::Undecryptable { path: keystore.to_owned(), source })
}

/// The first line of a file that nobody else can read.
fn read_password(path: &Path) -> Result<SecretString, KeyError> {
    let file = open_private(path)?;
    let mut text = String::new();
    let no_password = || KeyError::NoPassword { path: path.to_owned() };
    let read = file.take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text);
    let text = SecretString::from(text);
    let length = u64::try_from(read.map_err(|_| no_password())?).unwrap_or(u64::MAX);
    let line = text.expose_secret().trim_end_matches(['\r', '\n']);
    if line.is_empty() || length > PASSWORD_BYTES_MAX || line.contains('\n') {
        return Err(no_password());
    }
    Ok(SecretString::from(line))
}

/// Opens a file; the permissions checked are those of the file opened.
fn open_private(path: &Path) -> Result<File, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & GROUP_AND_WORLD != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PASSWORD: &str = "correct horse";

    /// A keystore file of cast 1.7.1: `cast wallet import --unsafe-password 'correct horse'` of
    /// the second development account.
    const KEYSTORE: &str = include_str!("../../tests/golden/keystore.json");

    fn files(keystore_mode: u32, password_mode: u32) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (keystore, password) = (folder.path().join("key.json"), folder.path().join("pw"));
        fs::write(&keystore, KEYSTORE).unwrap();
        fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        fs::set_permissions(&keystore, Permissions::from_mode(keystore_mode)).unwrap();
        fs::set_permissions(&password, Permissions::from_mode(password_mode)).unwrap();
        (folder, keystore, password)
    }

    #[test]
    fn a_keystore_that_cast_wrote_opens_and_its_secret_is_never_shown() {
        let (_folder, keystore, password) = files(0o600, 0o400);
        let signer = RatingSigner::from_keystore(&keystore, &password).unwrap();
        let address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
        assert_eq!(signer.address().to_string(), address);
        assert_eq!(format!("{signer:?}"), format!("RatingSigner({address})"));
        let gas = GasKey::from_keystore(&keystore, &password).unwrap();
        assert_eq!(format!("{gas:?}"), format!("GasKey({address})"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        for (key_mode, password_mode) in [(0o640, 0o600), (0o604, 0o600), (0o600, 0o644)] {
            let (_folder, keystore, password) = files(key_mode, password_mode);
            let refused = RatingSigner::from_keystore(&keystore, &password).unwrap_err();
            assert!(matches!(refused, KeyError::Exposed { .. }), "{refused}");
        }
    }

    #[test]
    fn a_wrong_password_is_an_error_without_the_password() {
        let (_folder, keystore, password) = files(0o600, 0o600);
        fs::write(&password, "battery staple").unwrap();
        let refused = RatingSigner::from_keystore(&keystore, &password).unwrap_err();
        let shown = format!("{refused} {refused:?}");
        assert!(matches!(refused, KeyError::Undecryptable { .. }));
        assert!(!shown.contains("battery") && !shown.contains("staple"), "{shown}");
    }

    #[test]
    fn an_empty_a_long_and_a_missing_password_file_are_refused() {
        let (_folder, keystore, password) = files(0o600, 0o600);
        for text in [String::new(), "\n".to_owned(), "x".repeat(5_000), "a\nb".to_owned()] {
            fs::write(&password, text).unwrap();
            let refused = RatingSigner::from_keystore(&keystore, &password).unwrap_err();
            assert!(matches!(refused, KeyError::NoPassword { .. }), "{refused}");
        }
        fs::remove_file(&password).unwrap();
        let refused = RatingSigner::from_keystore(&keystore, &password).unwrap_err();
        assert!(matches!(refused, KeyError::Unreadable { .. }), "{refused}");
    }

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
