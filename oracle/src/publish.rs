//! Publishing, from outside: once until everything due is in a block, or on and on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batch::OracleId;
use crate::chain::ChainError;
use crate::guard::GuardError;
use crate::key::{GasKey, KeyError, RatingSigner};
use crate::outbox::OutboxError;
use crate::peer::Peer;
use crate::policy::Policy;
use crate::transmitter::Transmitter;

/// Pauses after errors grow to this many times the poll interval.
const BACK_OFF_MAX: u32 = 32;

/// How often who does not lead tries to.
const LEAD_INTERVAL: Duration = Duration::from_secs(2);

/// What publishing needs to know.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The node.
    pub rpc_url: String,
    /// The contract.
    pub oracle: OracleId,
    /// Keys that sign; without peers the contract's threshold of them must be here.
    pub signers: Vec<RatingSigner>,
    /// Nodes to ask for signatures that are missing.
    pub peers: Vec<Peer>,
    /// The key that pays.
    pub gas_key: GasKey,
    /// How to go about it.
    pub policy: Policy,
    /// Is told of each stage, after it is durable; must not block.
    pub observer: Observer,
}

/// Is told of each stage.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Progress) + Send + Sync>);

/// How far a batch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub stage: Stage,
    /// The batch's number in the outbox.
    pub batch: i64,
    /// Its newest transaction.
    pub tx_hash: Option<B256>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The batch is stored.
    Chosen,
    /// A key's promise is stored.
    Cleared,
    /// The quorum's signatures are stored.
    Signed,
    /// The raw transaction is stored with its nonce.
    Stored,
    /// It was sent.
    Broadcast,
    /// A block has taken it.
    Included,
    /// The block will not go away, and what became of each report is stored.
    Settled,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// Batches that a block took.
    pub batches: usize,
    /// Transactions stored, replacements among them.
    pub transactions: usize,
    /// Ratings that the contract stored.
    pub ratings: usize,
    /// How often a report was brought in vain and is due again, at once or later.
    pub released: usize,
}

/// Why publishing stopped. Whatever was begun goes on where it stood at the next start.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The chain does not answer, or is another one.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The outbox does not answer, or another process leads.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The record of signatures does not answer.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A key did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The contract is not this oracle. Correct the address.
    #[error("{} on chain {} is no rating oracle of ours", oracle.address, oracle.chain_id)]
    OtherContract {
        /// What was taken for it.
        oracle: OracleId,
    },
    /// The gas key has a say in ratings. Use another key for gas.
    #[error("{address} pays for gas and signs ratings: use two keys")]
    GasKeySigns {
        /// The key.
        address: Address,
    },
    /// Too few of our keys are the contract's signers. Add keys, or rotate the contract's.
    #[error("{found} of our keys are signers of epoch {epoch}, expected {expected}")]
    NoQuorum {
        /// The contract's epoch.
        epoch: u32,
        /// Its threshold.
        expected: u8,
        /// How many of its signers are here.
        found: usize,
    },
    /// The guardian has stopped updates. Wait until the owner lifts it.
    #[error("the oracle {} on chain {} is paused", oracle.address, oracle.chain_id)]
    Paused {
        /// The contract.
        oracle: OracleId,
    },
    /// A batch is signed but holds no signatures. The outbox is damaged.
    #[error("batch {batch} is signed but its signatures are missing")]
    NoQuorumStored {
        /// The batch.
        batch: i64,
    },
    /// The contract wants more gas than it ever should.
    #[error("a batch needs {gas_limit} gas, expected at most {gas_limit_max}")]
    TooMuchGas {
        /// What it needs.
        gas_limit: u64,
        /// What the policy allows.
        gas_limit_max: u64,
    },
    /// No block took it in time. It goes on at the next start.
    #[error("not included in time; the last thing heard was: {last_refusal}")]
    NotIncluded {
        /// What the chain's node or the peers said last.
        last_refusal: String,
    },
}

impl PublishError {
    /// Whether trying again may help.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Chain(ChainError::Unavailable { .. } | ChainError::Malformed { .. })
                | Self::Outbox(OutboxError::Unavailable(_) | OutboxError::NotLeader { .. })
                | Self::Guard(GuardError::Unavailable(_))
                | Self::Key(KeyError::Wallet { .. })
                | Self::Paused { .. }
        )
    }
}

impl Observer {
    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Tells a function.
    pub fn new(tell: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, progress: &Progress) {
        (self.0)(progress);
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

/// Publishes until everything due is in a block.
pub async fn publish_once(
    pool: &PgPool,
    publication: &Publication,
) -> Result<Published, PublishError> {
    let policy = publication.policy;
    let begun = Instant::now();
    let mut published = Published::default();
    loop {
        let failed = match Transmitter::start(pool, publication).await {
            Ok(mut transmitter) => {
                let ended = until_idle(&mut transmitter, policy, begun).await;
                published.add(transmitter.published);
                match ended {
                    Ok(()) => return Ok(published),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if !failed.is_transient() || begun.elapsed() > policy.publish_timeout {
            return Err(failed);
        }
        warn!(error = %failed, "publishing interrupted; trying again");
        tokio::time::sleep(policy.poll_interval).await;
    }
}

/// Publishes what is due, and what becomes due, until told to stop.
/// Stopping in the middle is safe: it is what a crash does.
pub async fn run(
    pool: &PgPool,
    publication: &Publication,
    stop: CancellationToken,
) -> Result<(), PublishError> {
    let mut failures: u32 = 0;
    loop {
        let failed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            failed = for_ever(pool, publication, &mut failures) => failed,
        };
        if !failed.is_transient() {
            return Err(failed);
        }
        failures = failures.saturating_add(1);
        warn!(error = %failed, failures, "publishing interrupted; trying again");
        let mut pause = publication.policy.poll_interval * failures.min(BACK_OFF_MAX);
        if matches!(failed, PublishError::Outbox(OutboxError::NotLeader { .. })) {
            // Asking who leads costs one statement, and whoever leads may die at any moment.
            pause = pause.min(LEAD_INTERVAL);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn for_ever(pool: &PgPool, publication: &Publication, failures: &mut u32) -> PublishError {
    let mut transmitter = match Transmitter::start(pool, publication).await {
        Ok(transmitter) => transmitter,
        Err(error) => return error,
    };
    loop {
        if let Err(error) = transmitter.turn().await {
            return error;
        }
        *failures = 0;
        tokio::time::sleep(publication.policy.poll_interval).await;
    }
}

async fn until_idle(
    transmitter: &mut Transmitter,
    policy: Policy,
    begun: Instant,
) -> Result<(), PublishError> {
    let mut seen = transmitter.published;
    while transmitter.turn().await? {
        if begun.elapsed() > policy.publish_timeout {
            let silence = || "nothing".to_owned();
            let last_refusal = transmitter.last_refusal.take().unwrap_or_else(silence);
            return Err(PublishError::NotIncluded { last_refusal });
        }
        if seen == transmitter.published {
            tokio::time::sleep(policy.poll_interval).await;
        }
        seen = transmitter.published;
    }
    Ok(())
}

impl Published {
    fn add(&mut self, more: Self) {
        self.batches = self.batches.saturating_add(more.batches);
        self.transactions = self.transactions.saturating_add(more.transactions);
        self.ratings = self.ratings.saturating_add(more.ratings);
        self.released = self.released.saturating_add(more.released);
    }
}
