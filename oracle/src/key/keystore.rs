//! Encrypted version 3 keystores, as `geth` and `cast wallet` write them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use alloy::signers::local::PrivateKeySigner;
use secrecy::{ExposeSecret, SecretString};

use super::{KeyError, seclusion};

/// Bytes of a password file at most: a longer file is some other file.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// Permission bits that let anybody but the owner touch a file.
const GROUP_AND_WORLD: u32 = 0o077;

/// Whether nobody but its owner can touch a file that holds a secret. It is opened and not read.
pub fn check_private(path: &Path) -> Result<(), KeyError> {
    open_private(path).map(drop)
}

pub(super) fn decrypt(keystore: &Path, password: &Path) -> Result<PrivateKeySigner, KeyError> {
    seclusion::forbid_core_dumps()?;
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
    use std::path::PathBuf;

    use super::*;
    use crate::key::{GasKey, RatingSigner};

    const PASSWORD: &str = "correct horse";

    /// A keystore file of cast 1.7.1: `cast wallet import --unsafe-password 'correct horse'` of
    /// the second development account.
    const KEYSTORE: &str = include_str!("../../../tests/golden/keystore.json");

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

    /// The key of the specification's test vector in geth's layout, with its light parameters;
    /// made with Node's own scrypt and AES.
    const GETH: &str = r#"{"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","crypto":{
        "cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"584f4eb2783472ec149b334c22d77ddbf118a0783ea24e66ca8a7883cd2b4bf5",
        "kdf":"scrypt","kdfparams":{"dklen":32,"n":4096,"p":6,"r":8,
        "salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"860ad3ce9642f99d709abc696e25ede7cd35daf6a6041e975d14c53dae118886"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn a_keystore_as_geth_writes_it_opens() {
        let (_folder, keystore, password) = files(0o600, 0o600);
        fs::write(&keystore, GETH).unwrap();
        fs::write(&password, "testpassword").unwrap();
        let signer = RatingSigner::from_keystore(&keystore, &password).unwrap();
        let address = "0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b";
        assert_eq!(signer.address().to_string(), address);
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
}
