//! `assay oracle` as a program: what owner, guardian and operator do with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::providers::Provider as _;
use assay_oracle::anvil::Anvil;
use serde_json::{Value, json};

use crate::oracle_world::{CHAIN_ID, World, anvil_path, key};
use crate::support;

/// Password of every keystore.
const PASSWORD: &str = "correct horse";

/// A folder with keystores, and a password file that only its owner can read.
pub(crate) struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(keys.password(), PASSWORD).unwrap();
        close(&keys.password());
        keys
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn password(&self) -> PathBuf {
        self.folder().join("password")
    }

    /// The keystore of a key, as `cast` writes it.
    pub(crate) fn keystore(&self, name: &str) -> PathBuf {
        let file = name.replace(' ', "-");
        let path = self.folder().join(&file);
        if path.exists() {
            return path;
        }
        let cast = anvil_path().to_string_lossy().replace("anvil", "cast");
        let output = Command::new(cast)
            .args(["wallet", "import", &file, "--unsafe-password", PASSWORD])
            .args(["--keystore-dir".as_ref(), self.folder().as_os_str()])
            .args(["--private-key", &key(name).to_bytes().to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        close(&path);
        path
    }
}

fn close(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Runs `assay oracle …` on a development chain.
struct Operator {
    keys: Keys,
    anvil: Anvil,
    database_url: String,
}

impl Operator {
    fn run(&self, arguments: &[&str], keystore: Option<&str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        command.args(["--database-url", &self.database_url, "oracle"]).args(arguments);
        command.args(["--oracle-rpc-url", self.anvil.rpc_url()]);
        command.args(["--oracle-chain-id", &CHAIN_ID.to_string()]);
        if let Some(name) = keystore {
            command.arg("--keystore").arg(self.keys.keystore(name));
            command.arg("--password-file").arg(self.keys.password());
        }
        let output = command.output().unwrap();
        let shown = format!("{output:?}");
        assert!(!shown.contains(PASSWORD), "{shown}");
        if let Some(name) = keystore {
            let secret = key(name).to_bytes().to_string();
            assert!(!shown.contains(secret.trim_start_matches("0x")), "{shown}");
        }
        output
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], keystore: Option<&str>, reason: &str) {
        let output = self.run(arguments, keystore);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oracle_is_deployed_stopped_rotated_and_looked_after() {
    let database = support::database().await;
    let anvil = Anvil::start(&anvil_path(), &[]).unwrap();
    let node = World::node_of(&anvil);
    World::fund(&node, key("owner").address()).await;
    World::fund(&node, key("guardian").address()).await;
    let operator = Operator { keys: Keys::new(), anvil, database_url: database.url.clone() };
    let addresses: Vec<String> =
        (0..3).map(|n| key(&format!("signer {n}")).address().to_string()).collect();
    let signers: Vec<&str> =
        addresses.iter().flat_map(|address| ["--signer", address.as_str()]).collect();
    let guardian = key("guardian").address().to_string();
    let owner = key("owner").address().to_string();
    let deploy = |more: &[&str], threshold: &str| {
        let fixed = ["deploy", "--json", "--guardian", &guardian, "--threshold", threshold];
        let all = [&fixed, signers.as_slice(), more].concat();
        operator.run(&all, Some("owner"))
    };

    // What would make a bad oracle is refused before anything is sent.
    for (more, threshold, reason) in [
        (vec![], "1", "no majority"),
        (vec![], "4", "no majority"),
        (vec!["--signer", addresses[0].as_str()], "3", "named twice"),
        (vec!["--signer", owner.as_str()], "3", "use two keys"),
    ] {
        let output = deploy(&more, threshold);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(reason), "{message}");
    }
    assert_eq!(node.get_block_number().await.unwrap(), 0);
    let deployed = deploy(&[], "2");
    assert!(deployed.status.success(), "{deployed:?}");
    let told = json_of(&deployed);
    let oracle: Address = serde_json::from_value(told["oracle"].clone()).unwrap();
    let oracle = oracle.to_string();
    assert_eq!((&told["threshold"], &told["chain_id"]), (&json!(2), &json!(CHAIN_ID)));
    let owner_told: Address = serde_json::from_value(told["owner"].clone()).unwrap();
    assert_eq!(owner_told, key("owner").address());

    let with = |command: &str| [command.to_owned(), "--oracle".to_owned(), oracle.clone()];
    let run = |command: &str, more: &[&str], keystore: Option<&str>| {
        let fixed = with(command);
        let all: Vec<&str> = fixed.iter().map(String::as_str).chain(more.iter().copied()).collect();
        operator.run(&all, keystore)
    };
    let status = || json_of(&run("status", &["--json"], None));
    assert_eq!((&status()["epoch"], &status()["paused"]), (&json!(1), &json!(false)));
    assert_eq!(status()["signers"].as_array().unwrap().len(), 3);

    // The guardian stops, the owner lets go; not the other way round.
    let pause = with("pause");
    let pause: Vec<&str> = pause.iter().map(String::as_str).collect();
    operator.refused(&pause, Some("owner"), &format!("the guardian of {oracle} is {guardian}"));
    let paused = run("pause", &["--json"], Some("guardian"));
    assert_eq!(json_of(&paused)["paused"], json!(true), "{paused:?}");
    assert_eq!(status()["paused"], json!(true));
    let unpause = with("unpause");
    let unpause: Vec<&str> = unpause.iter().map(String::as_str).collect();
    operator.refused(&unpause, Some("guardian"), &format!("the owner of {oracle} is {owner}"));
    assert!(run("unpause", &[], Some("owner")).status.success());
    assert_eq!(status()["paused"], json!(false));

    // Two of the three go, a new one comes; a timelock's call is the same one.
    let newcomer = key("signer 9").address().to_string();
    let rotation = ["--signer", addresses[2].as_str(), "--signer", newcomer.as_str()];
    let rotation = [&rotation[..], &["--threshold", "2", "--json"]].concat();
    let call = json_of(&run("rotate", &[&rotation[..], &["--calldata"]].concat(), None));
    assert_eq!(status()["epoch"], json!(1));
    let rotated = run("rotate", &rotation, Some("owner"));
    assert_eq!(json_of(&rotated)["epoch"], json!(2), "{rotated:?}");
    let newest = node.get_block_by_number(alloy::eips::BlockNumberOrTag::Latest).full().await;
    let block = newest.unwrap().unwrap();
    let sent = block.transactions.as_transactions().unwrap()[0].clone();
    use alloy::consensus::Transaction as _;
    assert_eq!(json!(sent.input()), call["data"]);

    // Nothing is on chain, and nothing is in the log: that agrees. A rating from nowhere does not.
    let audit = || run("audit-chain", &["--json"], None);
    assert_eq!(json_of(&audit())["stored"], json!(0));
    assert!(audit().status.success());

    // Another chain, and something that is no oracle.
    let mut nowhere = with("status");
    nowhere[2] = key("nobody").address().to_string();
    let nowhere: Vec<&str> = nowhere.iter().map(String::as_str).collect();
    operator.refused(&nowhere, None, "there is no contract at");
    let slot = keccak256([B256::ZERO, B256::from(U256::from(1))].concat());
    assert_eq!(
        node.get_storage_at(oracle.parse().unwrap(), slot.into()).await.unwrap(),
        U256::ZERO
    );
}
