//! What a node signs when it is asked, by its own loop or by a stranger.
//!
//! A stranger can ask for nothing but this node's opinion: the batch of a position is made here,
//! from this node's own reports, and the guard has the last word. What asking can cost is bounded:
//! a signature made once is kept, and the chain is asked every few seconds at most.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, FixedBytes};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::batch::{Batch, NotABatch, OracleId};
use crate::chain::{Chain, Head};
use crate::contract::IRatingOracle;
use crate::council::Council;
use crate::guard::{self, GuardError};
use crate::key::{KeyError, RatingSigner};
use crate::outbox::{OutboxError, batches_at};
use crate::policy::Policy;
use crate::publish::PublishError;
use crate::share::Share;

/// How long what the chain said is good enough to sign by.
const LOOK_INTERVAL: Duration = Duration::from_secs(4);

/// Signatures kept, to answer the same question again.
const KEPT_MAX: usize = 1_024;

/// Signs the batches of positions for one contract with this node's keys.
#[derive(Clone)]
pub struct Node {
    pool: PgPool,
    rpc_url: String,
    /// Connected when it is first needed: a provider that is away keeps no node from starting.
    chain: Arc<OnceCell<Chain>>,
    oracle: OracleId,
    signers: Vec<RatingSigner>,
    policy: Policy,
    seen: Arc<Mutex<Option<(Instant, Seen)>>>,
    kept: Arc<Mutex<BTreeMap<(Address, B256), FixedBytes<64>>>>,
}

/// Without the address of the provider, which may hold a token.
impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { oracle, signers, .. } = self;
        f.debug_struct("Node").field("oracle", oracle).field("signers", signers).finish()
    }
}

/// What the chain said last.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who may sign.
    pub council: Council,
    /// The newest block.
    pub head: Head,
}

/// Why a node does not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// No rating was decided there. Ask for a position that is in a rating's word.
    #[error("no rating was decided at position {position} of this node's log")]
    NothingDecided {
        /// The position.
        position: u64,
    },
    /// The deadline is not one of the batch's, is past, or is too far ahead.
    #[error(
        "deadline {asked} is not one of the batch's that this node signs now; {expected} would be"
    )]
    Deadline {
        /// Asked for, seconds since the Unix epoch.
        asked: u64,
        /// What it would sign.
        expected: u64,
    },
    /// None of this node's keys is a signer of the contract now. Rotate, or use other keys.
    #[error("none of this node's keys is a signer of epoch {epoch}")]
    NoSigner {
        /// The contract's epoch.
        epoch: u32,
    },
    /// The guard forbids it, or its record does not answer.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The chain does not answer, or the contract is not the one.
    #[error(transparent)]
    Oracle(#[from] Box<PublishError>),
    /// The outbox does not answer.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The batch cannot be signed as it is.
    #[error(transparent)]
    NotABatch(#[from] NotABatch),
}

impl SignError {
    /// Whether it was the asker's question, and not this node's trouble.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NothingDecided { .. }
                | Self::Deadline { .. }
                | Self::NoSigner { .. }
                | Self::Guard(GuardError::NotSafe(_))
        )
    }
}

/// Connects and checks that the contract is the one that is signed for.
pub async fn connect_to_oracle(rpc_url: &str, oracle: OracleId) -> Result<Chain, PublishError> {
    let chain = Chain::connect(rpc_url, oracle.chain_id).await?;
    let separator = chain.call(oracle.address, &IRatingOracle::domainSeparatorCall {}).await?;
    if separator == oracle.domain().separator() {
        Ok(chain)
    } else {
        Err(PublishError::OtherContract { oracle })
    }
}

impl Node {
    /// A node that signs for one contract.
    pub fn new(
        pool: PgPool,
        rpc_url: String,
        oracle: OracleId,
        signers: Vec<RatingSigner>,
        policy: Policy,
    ) -> Self {
        let (chain, seen, kept) = (Arc::default(), Arc::default(), Arc::default());
        Self { pool, rpc_url, chain, oracle, signers, policy, seen, kept }
    }

    /// The contract it signs for.
    pub const fn oracle(&self) -> OracleId {
        self.oracle
    }

    /// The contract's chain, once it has shown that the contract is the one that is signed for.
    pub async fn chain(&self) -> Result<&Chain, PublishError> {
        self.chain.get_or_try_init(|| connect_to_oracle(&self.rpc_url, self.oracle)).await
    }

    /// What the chain said, at most [`LOOK_INTERVAL`] ago.
    pub async fn look(&self) -> Result<Seen, PublishError> {
        let kept = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, seen)) = kept
            && at.elapsed() < LOOK_INTERVAL
        {
            return Ok(seen);
        }
        let chain = self.chain().await?;
        chain.confirm().await?;
        let council = Council::read(chain, self.oracle.address).await?;
        let seen = Seen { council, head: chain.head().await? };
        let now = Some((Instant::now(), seen.clone()));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(seen)
    }

    /// Signs every batch of a position with every key of this node that may sign now. Without a
    /// deadline, the batch's next.
    pub async fn sign(
        &self,
        position: u64,
        deadline: Option<u64>,
    ) -> Result<Vec<Share>, SignError> {
        let seen = self.look().await.map_err(Box::new)?;
        let epoch = seen.council.epoch;
        let is_appointed =
            |signer: &&RatingSigner| seen.council.signers.contains(&signer.address());
        let signers: Vec<&RatingSigner> = self.signers.iter().filter(is_appointed).collect();
        if signers.is_empty() {
            return Err(SignError::NoSigner { epoch });
        }
        let batches = batches_at(&self.pool, position).await?;
        if batches.is_empty() {
            return Err(SignError::NothingDecided { position });
        }
        let mut shares = Vec::new();
        for batch in batches {
            let expected = self.policy.deadline(batch.as_of_max(), seen.head.time);
            let asked = deadline.unwrap_or(expected);
            if !self.policy.accepts(batch.as_of_max(), seen.head.time, asked) {
                return Err(SignError::Deadline { asked, expected });
            }
            for signer in &signers {
                shares.push(self.share(signer, position, &batch, epoch, asked).await?);
            }
        }
        Ok(shares)
    }

    async fn share(
        &self,
        signer: &RatingSigner,
        position: u64,
        batch: &Batch,
        epoch: u32,
        deadline: u64,
    ) -> Result<Share, SignError> {
        let digest = self.oracle.digest(&batch.message(epoch, deadline)?);
        let place = (signer.address(), digest);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&place).copied();
        let signature = match kept {
            Some(signature) => signature,
            None => {
                let cleared =
                    guard::clear_in_order(&self.pool, signer.address(), position, batch).await?;
                let made = signer.sign(&cleared, self.oracle, epoch, deadline).await?;
                let made = FixedBytes(made.as_erc2098());
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= KEPT_MAX {
                    kept.clear();
                }
                kept.insert(place, made);
                made
            }
        };
        Ok(Share {
            chain_id: self.oracle.chain_id,
            oracle: self.oracle.address,
            position,
            epoch,
            deadline,
            entries: batch.entries(),
            signer: signer.address(),
            signature,
        })
    }
}
