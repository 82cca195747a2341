//! A world for the oracle's tests: a database with the transmitter's rights, a development chain
//! with the contract on it, keys, and an independent look at what the contract was told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::types::Filter;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolEvent;
use assay::db;
use assay_domain::{Flags, Word, WordFields};
use assay_oracle::anvil::Anvil;
use assay_oracle::chain::Chain;
use assay_oracle::contract::{Deployment, IRatingOracle, deploy, read_words};
use assay_oracle::{
    EntityKey, Finality, GasKey, Observer, OracleId, Policy, Publication, RatingSigner,
};
use sqlx::PgPool;

use crate::support::{self, TestDatabase};

/// The chain's number, anvil's own.
pub(crate) const CHAIN_ID: u64 = 31_337;

/// Keys that sign; three of them must.
pub(crate) const SIGNERS: usize = 5;

/// One test's world.
pub(crate) struct World {
    /// The database.
    pub(crate) database: TestDatabase,
    /// All rights.
    pub(crate) admin: PgPool,
    /// The transmitter's rights.
    pub(crate) pool: PgPool,
    /// The chain.
    pub(crate) anvil: Anvil,
    /// The chain, to ask what the transmitter never asks.
    pub(crate) node: RootProvider,
    /// The chain, as the transmitter sees it.
    pub(crate) chain: Chain,
    /// What to publish with.
    pub(crate) publication: Publication,
}

/// A key that is the same in every process.
pub(crate) fn key(name: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(name)).expect("a hash is a key")
}

/// The rating keys.
pub(crate) fn signers() -> Vec<RatingSigner> {
    (0..SIGNERS).map(|n| RatingSigner::from_signer(key(&format!("signer {n}")))).collect()
}

/// How the tests publish.
pub(crate) fn policy() -> Policy {
    Policy {
        poll_interval: Duration::from_millis(20),
        publish_timeout: Duration::from_secs(60),
        ..Policy::development()
    }
}

/// What to publish with, for a chain that runs already.
pub(crate) fn publication(rpc_url: &str, oracle: OracleId) -> Publication {
    Publication {
        rpc_url: rpc_url.to_owned(),
        oracle,
        signers: signers(),
        peers: Vec::new(),
        gas_key: GasKey::from_signer(key("gas")),
        policy: policy(),
        observer: Observer::silent(),
    }
}

/// The binary: `npm ci` in `oracle` brings it, and the libraries that our digests are compared
/// with.
pub(crate) fn anvil_path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let find = |folder: &Path| {
        let path = std::env::var("PATH").unwrap_or_default();
        Anvil::find(&[folder.join("node_modules")], &path)
    };
    // Whoever comes first on a fresh checkout brings it; the others wait.
    PATH.get_or_init(|| {
        let folder = oracle_folder();
        if folder.join("node_modules/viem").is_dir()
            && let Ok(path) = find(&folder)
        {
            return path;
        }
        let npm = std::process::Command::new("npm").arg("ci").current_dir(&folder).output();
        assert!(npm.expect("anvil or npm").status.success(), "npm ci in oracle failed");
        find(&folder).expect("anvil")
    })
    .clone()
}

/// Where the contracts and npm's packages are.
pub(crate) fn oracle_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle")
}

/// What Foundry's `cast` says; an error is whatever it did not exit 0 with.
pub(crate) fn cast(arguments: &[&str]) -> Result<String, String> {
    let cast = anvil_path().to_string_lossy().replace("anvil", "cast");
    let output = std::process::Command::new(cast).args(arguments).output().expect("cast");
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A further chain with the contract on it.
pub(crate) async fn chain_with_contract(chain_id: u64) -> (Anvil, Chain, Publication) {
    let council: Vec<Address> = signers().iter().map(RatingSigner::address).collect();
    let (anvil, chain, oracle) = chain_for(chain_id, &[], &council, 3).await;
    let publication = publication(anvil.rpc_url(), oracle);
    (anvil, chain, publication)
}

/// A further chain with the contract for these signers on it; its owner is the key "gas".
pub(crate) async fn chain_for(
    chain_id: u64,
    arguments: &[&str],
    council: &[Address],
    threshold: u8,
) -> (Anvil, Chain, OracleId) {
    let id = chain_id.to_string();
    let arguments = [&["--chain-id", id.as_str()], arguments].concat();
    let anvil = Anvil::start(&anvil_path(), &arguments).expect("anvil starts");
    let chain = Chain::connect(anvil.rpc_url(), chain_id).await.expect("anvil answers");
    let gas = key("gas");
    World::fund(&World::node_of(&anvil), gas.address()).await;
    let deployment = Deployment {
        owner: gas.address(),
        guardian: gas.address(),
        signers: council.to_vec(),
        threshold,
    };
    let deployed =
        deploy(&chain, &GasKey::from_signer(gas), &deployment).await.expect("a contract");
    (anvil, chain, OracleId { chain_id, address: deployed.address })
}

/// The entity with this number.
pub(crate) fn entity(number: u32) -> EntityKey {
    EntityKey(keccak256(number.to_be_bytes()))
}

impl World {
    /// A world in which nothing was ever rated.
    pub(crate) async fn new() -> Self {
        let database = support::database().await;
        let admin = database.pool().await;
        let connected = db::connect(&database.url).await.expect("the database answers");
        let pool = connected.pool(db::Role::Oracle, 8).await.expect("a pool");
        let (anvil, chain, publication) = chain_with_contract(CHAIN_ID).await;
        let node = Self::node_of(&anvil);
        Self { database, admin, pool, anvil, node, chain, publication }
    }

    /// A chain, to ask what only anvil answers.
    pub(crate) fn node_of(anvil: &Anvil) -> RootProvider {
        RootProvider::new_http(anvil.rpc_url().parse().expect("a URL"))
    }

    /// Gives an account a thousand ether.
    pub(crate) async fn fund(node: &RootProvider, account: Address) {
        let wealth = U256::from(10).pow(U256::from(21));
        let _: () = node
            .raw_request("anvil_setBalance".into(), (account, wealth))
            .await
            .expect("anvil gives");
    }

    /// The contract.
    pub(crate) fn oracle(&self) -> Address {
        self.publication.oracle.address
    }

    /// Rates entities 0 to `count`, as the rating shell does.
    pub(crate) async fn rate(&self, count: u32, seq: u32) {
        let as_of = self.chain.head().await.expect("a head").time;
        for number in 0..count {
            self.rate_one(entity(number), word(number, seq, as_of)).await;
        }
    }

    /// Rates one entity with any word.
    pub(crate) async fn rate_one(&self, entity: EntityKey, word: U256) {
        let seq = Word::unpack(word).map_or(1, |word| word.fields().seq);
        sqlx::query(
            "INSERT INTO outbox.reports (entity_key, seq, word, canonical_position)
             VALUES ($1, $2, $3, $4)",
        )
        .bind(entity.0.as_slice())
        .bind(i64::from(seq))
        .bind(word.to_be_bytes_vec())
        .bind(i64::from(seq))
        .execute(&self.admin)
        .await
        .expect("a report");
    }

    /// Reports as the outbox holds them.
    pub(crate) async fn reports(&self) -> BTreeMap<(EntityKey, u32), U256> {
        let rows: Vec<(Vec<u8>, i64, Vec<u8>)> =
            sqlx::query_as("SELECT entity_key, seq, word FROM outbox.reports")
                .fetch_all(&self.admin)
                .await
                .expect("reports");
        rows.into_iter()
            .map(|(key, seq, word)| {
                let key = EntityKey(B256::from_slice(&key));
                ((key, u32::try_from(seq).expect("small")), U256::from_be_slice(&word))
            })
            .collect()
    }

    /// How often the contract said that it took each word.
    pub(crate) async fn rated(&self) -> BTreeMap<(EntityKey, u32), usize> {
        let filter = Filter::new()
            .address(self.oracle())
            .from_block(0)
            .event_signature(IRatingOracle::Rated::SIGNATURE_HASH);
        let mut rated: BTreeMap<_, usize> = BTreeMap::new();
        for found in self.node.get_logs(&filter).await.expect("logs") {
            let event = IRatingOracle::Rated::decode_log(&found.inner).expect("an event");
            *rated.entry((EntityKey(event.entity), event.seq)).or_default() += 1;
        }
        rated
    }

    /// Every report was taken once, and the slots hold the newest, bit for bit but for the lag.
    pub(crate) async fn assert_all_rated_once(&self) {
        let reports = self.reports().await;
        let expected: BTreeMap<_, usize> = reports.keys().map(|key| (*key, 1)).collect();
        assert_eq!(self.rated().await, expected);
        let newest: BTreeMap<EntityKey, U256> =
            reports.into_iter().map(|((entity, _), word)| (entity, word)).collect();
        let entities: Vec<EntityKey> = newest.keys().copied().collect();
        let words = read_words(&self.chain, self.oracle(), &entities).await.expect("words");
        for ((entity, expected), found) in newest.into_iter().zip(words) {
            let lag: U256 = U256::from(0xff_ffff) << 192;
            assert_eq!(found & !lag, expected, "{entity}");
        }
    }

    /// One number from the outbox.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.admin).await.expect("a count")
    }

    /// Asks anvil for something that only anvil does.
    pub(crate) async fn anvil(&self, method: &'static str, arguments: serde_json::Value) {
        let _: serde_json::Value =
            self.node.raw_request(method.into(), arguments).await.expect(method);
    }

    /// The same publication, but trusting a block only when `depth` lie on top of it.
    pub(crate) fn with_confirmations(&self, depth: u64) -> Publication {
        let mut publication = self.publication.clone();
        publication.policy.finality = Finality::Confirmations(depth);
        publication
    }
}

/// Some rating.
pub(crate) fn word(number: u32, seq: u32, as_of: u64) -> U256 {
    let small = u16::try_from(number % 1_000).expect("small");
    let fields = WordFields {
        as_of,
        log_pos: u64::from(seq) * 1_000 + u64::from(number),
        seq,
        model: 1,
        flags: Flags::default(),
        grade: 7,
        score: 6_000 + small,
        pd: 5_000_000 + number,
        // Never better than before, so that no dwell applies.
        el: 40_000 + seq,
    };
    Word::new(fields).expect("in range").pack()
}
