//! Keys where operators keep them: opened, signing on a real chain, and shown to nobody.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use alloy::primitives::{Address, U256, hex};
use alloy::providers::Provider as _;
use assay::db;
use assay_oracle::contract::{Deployment, deploy};
use assay_oracle::key::KeyError;
use assay_oracle::publish::PublishError;
use assay_oracle::{GasKey, KeySpec, OracleId, RatingSigner, publish_once};
use serde_json::json;

use crate::oracle_world::{CHAIN_ID, World, cast, key, publication};

/// The password of every keystore here.
const PASSWORD: &str = "correct horse battery staple";

/// Keystore files as `cast wallet import` writes them, and their password, for the owner alone.
struct Keystores(tempfile::TempDir);

impl Keystores {
    fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for name in names {
            let secret = key(name).to_bytes().to_string();
            let import =
                ["wallet", "import", name, "--keystore-dir", path, "--private-key", &secret];
            cast(&[&import[..], &["--unsafe-password", PASSWORD]].concat()).unwrap();
            let private = Permissions::from_mode(0o600);
            fs::set_permissions(folder.path().join(name), private).unwrap();
        }
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        fs::set_permissions(folder.path().join("password"), Permissions::from_mode(0o400)).unwrap();
        Self(folder)
    }
}

fn spec(folder: &Path, name: &str) -> KeySpec {
    let text = format!("keystore:{}", folder.join(name).display());
    KeySpec::parse(&text, Some(&folder.join("password"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_behind_a_web3signer_sign_ratings_and_pay_for_them() {
    let world = World::new().await;
    // anvil knows Web3Signer's two methods, and holds keys.
    let accounts: Vec<Address> = world.node.get_accounts().await.unwrap();
    let spec = |address: Address| {
        KeySpec::parse(&format!("web3signer:{}#{address}", world.anvil.rpc_url()), None).unwrap()
    };
    let gas_key = GasKey::open(&spec(accounts[0])).await.unwrap();
    let mut signers = Vec::new();
    for account in &accounts[1..4] {
        signers.push(RatingSigner::open(&spec(*account)).await.unwrap());
    }
    let deployment = Deployment {
        owner: accounts[9],
        guardian: accounts[9],
        signers: signers.iter().map(RatingSigner::address).collect(),
        threshold: 2,
    };
    let deployed = deploy(&world.chain, &gas_key, &deployment).await.unwrap();
    let mut publication = world.publication.clone();
    publication.oracle = OracleId { chain_id: CHAIN_ID, address: deployed.address };
    (publication.signers, publication.gas_key) = (signers, gas_key);
    world.rate(3, 1).await;
    let published = publish_once(&world.pool, &publication).await.unwrap();
    assert_eq!((published.batches, published.ratings), (1, 3));

    // A server that is away, and one that does not hold the key.
    let stranger = key("stranger").address();
    let url = "http://127.0.0.1:1/s3cret";
    for (url, expected) in [(url, "error"), (world.anvil.rpc_url(), "No Signer available")] {
        let text = format!("web3signer:{url}#{stranger}");
        let signer = GasKey::open(&KeySpec::parse(&text, None).unwrap()).await.unwrap();
        let refused = signer.sign(Default::default()).await.unwrap_err();
        let KeyError::Wallet { source, .. } = &refused else { panic!("{refused:?}") };
        let shown = format!("{source} {refused:?}");
        assert!(shown.contains(expected) && !shown.contains("s3cret"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_take_a_key_wherever_it_is_and_repeat_no_secret() {
    let world = World::new().await;
    let assay = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["oracle"])
            .args(arguments)
            .args(["--oracle-rpc-url", world.anvil.rpc_url()])
            .args(["--oracle-chain-id", &CHAIN_ID.to_string()])
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let payer = world.node.get_accounts().await.unwrap()[0];
    let spec = format!("web3signer:{}#{payer}", world.anvil.rpc_url());
    let signer = key("signer 0").address().to_string();
    let deploy = ["deploy", "--signer", &signer, "--threshold", "1", "--json", "--key"];
    let (code, said) = assay(&[&deploy[..], &[&spec]].concat());
    assert_eq!(code, Some(0), "{said}");
    let secret = key("signer 0").to_bytes().to_string();
    for (spec, expected) in [
        (secret.clone(), "this names no key"),
        (format!("keystore:/nowhere#{secret}"), "cannot read /nowhere"),
        (format!("aws-kms:{secret}"), "--features aws-kms"),
    ] {
        let (code, said) = assay(&[&deploy[..], &[&spec]].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected) && !said.contains(&secret), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gas_key_with_a_say_in_ratings_is_refused_though_it_is_not_asked_to_sign() {
    let world = World::new().await;
    let mut publication = world.publication.clone();
    publication.signers.truncate(3);
    publication.gas_key = GasKey::from_signer(key("signer 4"));
    let refused = publish_once(&world.pool, &publication).await.unwrap_err();
    assert!(matches!(refused, PublishError::GasKeySigns { .. }), "{refused}");
}

/// Not a test of its own: the process that holds keys. See the test after it.
#[tokio::test(flavor = "multi_thread")]
async fn keeper() {
    let ask = |name: &str| std::env::var(name);
    let (Ok(url), Ok(rpc_url), Ok(oracle), Ok(folder)) = (
        ask("ASSAY_CHILD_DATABASE"),
        ask("ASSAY_CHILD_RPC"),
        ask("ASSAY_CHILD_ORACLE"),
        ask("ASSAY_CHILD_KEYS"),
    ) else {
        return;
    };
    tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE).init();
    let folder = PathBuf::from(folder);
    let oracle = OracleId { chain_id: CHAIN_ID, address: oracle.parse().unwrap() };
    let mut publication = publication(&rpc_url, oracle);
    publication.gas_key = GasKey::open(&spec(&folder, "gas")).await.unwrap();
    publication.signers.clear();
    for name in ["signer 0", "signer 1", "signer 2"] {
        publication.signers.push(RatingSigner::open(&spec(&folder, name)).await.unwrap());
    }
    let connected = db::connect(&url).await.unwrap();
    let pool = connected.pool(db::Role::Oracle, 4).await.unwrap();
    publish_once(&pool, &publication).await.unwrap();
    eprintln!("{publication:?}");
    // Everything that can go wrong with a file.
    let text = format!("keystore:{0}/gas#{0}/gas", folder.display());
    let wrong = RatingSigner::open(&KeySpec::parse(&text, None).unwrap()).await.unwrap_err();
    fs::set_permissions(folder.join("gas"), Permissions::from_mode(0o644)).unwrap();
    let exposed = RatingSigner::open(&spec(&folder, "gas")).await.unwrap_err();
    let unread = KeySpec::parse(PASSWORD, None).unwrap_err();
    for error in [&wrong, &exposed, &unread] {
        eprintln!("{error} {error:?}");
    }
    eprintln!("keys are held");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_an_output_a_command_line_an_environment_or_a_core_dump() {
    let world = World::new().await;
    world.rate(2, 1).await;
    let names = ["gas", "signer 0", "signer 1", "signer 2"];
    let keystores = Keystores::of(&names);
    let rich = json!([key("signer 0").address(), U256::from(1)]);
    world.anvil("anvil_setBalance", rich).await;

    let mut child = Command::new("/bin/sh")
        // As large a core dump as the system allows, to see that it is not made.
        .args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$@\" 2>&1", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "oracle_keys::keeper", "--nocapture"])
        .env("ASSAY_CHILD_DATABASE", &world.database.url)
        .env("ASSAY_CHILD_RPC", world.anvil.rpc_url())
        .env("ASSAY_CHILD_ORACLE", world.oracle().to_string())
        .env("ASSAY_CHILD_KEYS", keystores.0.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut output = String::new();
    while !output.ends_with("keys are held\n") {
        assert!(reader.read_line(&mut output).unwrap() > 0, "{output}");
    }
    let of_process = |name: &str| fs::read(format!("/proc/{}/{name}", child.id()));
    let command_line = of_process("cmdline").unwrap();
    // To a process of the same user that is not root, the environment is closed.
    let environment = of_process("environ").unwrap_or_default();
    let limits = String::from_utf8(of_process("limits").unwrap()).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGABRT,
    )
    .unwrap();
    let ended = child.wait().unwrap();
    reader.read_to_string(&mut output).unwrap();

    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    let hay = [output.as_bytes(), &command_line, &environment].concat();
    let hay = String::from_utf8_lossy(&hay).to_lowercase();
    for name in names {
        let key = key(name);
        let secret = key.to_bytes();
        // What may be seen is seen, so the search finds what is there.
        assert!(hay.contains(&key.address().to_string().to_lowercase()), "{name}");
        let decimal = U256::from_be_bytes(secret.0).to_string();
        for form in [hex::encode(secret), decimal, format!("{:?}", secret.0).replace(' ', "")] {
            assert!(!hay.replace(' ', "").contains(&form), "the key {name} is in sight");
        }
    }
    assert!(!hay.contains(PASSWORD), "the password is in sight");
    for said in [" trace ", "expected at most 700", "this names no key"] {
        assert!(hay.contains(said), "{said}");
    }
    // Duties that were mixed up, though nothing is lost yet.
    assert!(output.contains("a rating key holds ether"), "{output}");
    assert!(output.contains("the gas key governs the contract"), "{output}");
}
