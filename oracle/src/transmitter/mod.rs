//! Looks, asks the state machine, acts: brings what is due to one contract and sees it final.
//!
//! At most one batch of a gas key is not yet in a block, so a nonce never waits behind another
//! batch's fee. A turn may end anywhere, by an error or by death: the next one starts from what
//! the outbox holds.
//! Read on in `look` (what the chain says of a batch) and `sign` (whose signatures it gets).

mod look;
mod sign;

use std::time::Instant;

use alloy::consensus::TxEip1559;
use alloy::eips::Encodable2718;
use alloy::primitives::{Bytes, TxKind, U256};
use alloy::sol_types::SolCall;
use sqlx::PgPool;
use tracing::{debug, info, warn};

use crate::batch::{Batch, OracleId};
use crate::chain::{Chain, ChainError, Head};
use crate::contract::IRatingOracle;
use crate::duties;
use crate::key::GasKey;
use crate::node::connect_to_oracle;
use crate::outbox::{Attempt, Leadership, OpenBatch, Outbox, Outcome};
use crate::policy::Policy;
use crate::publish::{Progress, Publication, PublishError, Published, Stage};
use crate::submission::{Fees, Inclusion, Intent, Landing, Observation, Phase, Step, Submission};

/// State changes of a batch in a turn at most: due, signed, sent, included, final.
const CHANGES_PER_TURN: usize = 5;

/// Gas of a transfer.
const TRANSFER_GAS: u64 = 21_000;

/// What brings one contract's ratings to it.
#[derive(Debug)]
pub(crate) struct Transmitter {
    pool: PgPool,
    chain: Chain,
    oracle: OracleId,
    outbox: Outbox,
    leadership: Leadership,
    gas_key: GasKey,
    policy: Policy,
    publication: Publication,
    /// Turns taken, as far as it matters.
    turns: u8,
    /// Head of the chain when everything stored before had been sent by us.
    begun_at_block: u64,
    /// The batch that waits until it is our turn to send, and since when.
    waiting: Option<(i64, Instant)>,
    /// What was brought since the start.
    pub(crate) published: Published,
    /// What a node said last about a broadcast, to explain a silence.
    pub(crate) last_refusal: Option<String>,
}

impl Transmitter {
    /// Connects, checks chain, contract and keys, and becomes the leader.
    pub(crate) async fn start(
        pool: &PgPool,
        publication: &Publication,
    ) -> Result<Self, PublishError> {
        let (oracle, gas_key) = (publication.oracle, publication.gas_key.clone());
        let chain = connect_to_oracle(&publication.rpc_url, oracle).await?;
        duties::check(&chain, publication).await?;
        let outbox = Outbox::open(pool, &chain, oracle.address).await?;
        let leadership = outbox.lead(gas_key.address()).await?;
        Ok(Self {
            pool: pool.clone(),
            chain,
            oracle,
            outbox,
            leadership,
            gas_key,
            policy: publication.policy,
            publication: publication.clone(),
            turns: 0,
            begun_at_block: 0,
            waiting: None,
            published: Published::default(),
            last_refusal: None,
        })
    }

    /// Drives every open batch as far as it goes, then takes up what is due. Returns whether
    /// anything still waits for a block.
    pub(crate) async fn turn(&mut self) -> Result<bool, PublishError> {
        self.leadership.confirm().await?;
        self.chain.confirm().await?;
        let head = self.chain.head().await?;
        // The first turn sends, so patience begins with the second.
        if self.turns < 2 {
            self.turns = self.turns.saturating_add(1);
            self.begun_at_block = head.number;
        }
        if self.drive_all(head).await? {
            return Ok(true);
        }
        let council = self.council().await?;
        if council.is_paused {
            return Err(PublishError::Paused { oracle: self.oracle });
        }
        let policy = self.policy;
        let deadline = |batch: &Batch| policy.deadline(batch.as_of_max(), head.time);
        let Some(id) = self.outbox.choose(head.time, council.epoch, deadline).await? else {
            return Ok(false);
        };
        self.publication.observer.tell(&Progress {
            stage: Stage::Chosen,
            batch: id,
            tx_hash: None,
        });
        self.drive_all(head).await?;
        // Perhaps more is due than fits one batch.
        Ok(true)
    }

    async fn drive_all(&mut self, head: Head) -> Result<bool, PublishError> {
        let mut is_pending = false;
        for mut open in self.outbox.open_batches().await? {
            for _ in 0..CHANGES_PER_TURN {
                let before = open.submission.phase;
                self.advance(&mut open, head).await?;
                if open.submission.phase == before || open.submission.is_closed() {
                    break;
                }
                // Nonces, signatures and attempts changed along.
                let id = open.id;
                let reloaded = self.outbox.open_batches().await?;
                match reloaded.into_iter().find(|found| found.id == id) {
                    Some(found) => open = found,
                    None => break,
                }
            }
            is_pending |= open.submission.is_pending();
        }
        Ok(is_pending)
    }

    /// Looks once and takes one step.
    async fn advance(&mut self, open: &mut OpenBatch, head: Head) -> Result<(), PublishError> {
        // What a process before this one stored may never have been sent: patience starts anew, so
        // that the same bytes go out before dearer ones.
        let since_block = &mut open.submission.since_block;
        *since_block = self.begun_at_block.max(*since_block);
        let seen = self.observe(open, head).await?;
        let was_pending = open.submission.is_pending();
        let (next, step) = open.submission.next(seen, self.policy.patience);
        let is_news = next != open.submission;
        match step {
            Some(Step::Sign) => return self.sign(open).await,
            Some(Step::Prepare) => return self.prepare(open, head).await,
            Some(Step::Bump) => return self.replace(open, Intent::Publish).await,
            Some(Step::Cancel) => return self.replace(open, Intent::Cancel).await,
            Some(Step::Release) => self.release(open, next, head, seen).await?,
            Some(Step::Settle) => {
                let outcomes = self.outcomes(open, next.phase).await?;
                self.outbox.settle(open.id, &next, &outcomes).await?;
                let is_released =
                    |(_, outcome): &&(_, _)| matches!(outcome, Outcome::Released { .. });
                let released = outcomes.iter().filter(is_released).count();
                self.published.released = self.published.released.saturating_add(released);
            }
            Some(Step::Broadcast) | None if is_news => self.outbox.save(open.id, &next).await?,
            Some(Step::Broadcast) | None => {}
        }
        open.submission = next;
        if let Phase::Included(at) | Phase::Final(at) = next.phase
            && was_pending
        {
            self.count(open, at).await?;
        }
        if step == Some(Step::Broadcast) {
            self.broadcast(open).await?;
        }
        if step == Some(Step::Settle) {
            self.tell(Stage::Settled, open);
        }
        Ok(())
    }

    /// Makes the first transaction of a batch.
    async fn prepare(&mut self, open: &mut OpenBatch, head: Head) -> Result<(), PublishError> {
        if !self.is_our_turn(open).await? {
            return Ok(());
        }
        let to = TxKind::Call(self.oracle.address);
        let Some(input) = push_input(open) else {
            return Err(PublishError::NoQuorumStored { batch: open.id });
        };
        let from = self.gas_key.address();
        let gas = match self.chain.estimate_gas(from, to, input.clone()).await {
            Ok(gas) => gas,
            Err(ChainError::Reverted { reason }) => {
                warn!(batch.id = open.id, reason, "the contract would refuse the batch");
                self.last_refusal = Some(reason);
                let seen = Observation::WouldRevert;
                let (next, _) = open.submission.next(seen, self.policy.patience);
                return self.release(open, next, head, seen).await.map(|()| open.submission = next);
            }
            Err(other) => return Err(other.into()),
        };
        // Storage may be touched for the first time by somebody else in between: a fifth more.
        let gas_limit = gas.saturating_add(gas / 5);
        if gas_limit > self.policy.gas_limit_max {
            let gas_limit_max = self.policy.gas_limit_max;
            return Err(PublishError::TooMuchGas { gas_limit, gas_limit_max });
        }
        let Some(fees) = self.affordable(gas_limit).await? else { return Ok(()) };
        self.store_attempt(open, Intent::Publish, to, input, gas_limit, fees).await
    }

    /// Makes a transaction that replaces the newest one, or repeats that one if a replacement
    /// would cost too much.
    async fn replace(&mut self, open: &mut OpenBatch, intent: Intent) -> Result<(), PublishError> {
        let market = self.chain.market_fees(self.policy.max_fee_wei_cap).await?;
        let newest = open.attempts.last().map(|attempt| (attempt.fees, attempt.gas_limit));
        let bumped = newest.zip(market).and_then(|((fees, gas_limit), market)| {
            Some((fees.bumped(market, self.policy.max_fee_wei_cap)?, gas_limit))
        });
        let is_our_key = open.sender == Some(self.gas_key.address());
        let (Some((fees, gas_limit)), true) = (bumped, is_our_key) else {
            return self.broadcast(open).await;
        };
        // A raised fee repeats what the transaction did; an expired batch is dropped instead.
        let intent = if open.submission.intent == Intent::Cancel { Intent::Cancel } else { intent };
        let (to, input, gas_limit) = match intent {
            Intent::Publish => {
                let Some(input) = push_input(open) else {
                    return Err(PublishError::NoQuorumStored { batch: open.id });
                };
                (TxKind::Call(self.oracle.address), input, gas_limit)
            }
            Intent::Cancel => (TxKind::Call(self.gas_key.address()), Bytes::new(), TRANSFER_GAS),
        };
        self.store_attempt(open, intent, to, input, gas_limit, fees).await
    }

    /// What a transaction should offer now, unless it would cost too much.
    async fn affordable(&mut self, gas_limit: u64) -> Result<Option<Fees>, PublishError> {
        let Some(fees) = self.chain.market_fees(self.policy.max_fee_wei_cap).await? else {
            self.last_refusal = Some("gas costs more than the cap".to_owned());
            return Ok(None);
        };
        let cost = fees.max_fee_wei.saturating_mul(gas_limit.into());
        let committed = self.outbox.committed_wei_last_day().await?;
        if committed.saturating_add(cost) > self.policy.daily_cost_wei_max {
            warn!(cost_wei = committed, "the day's budget is spent; the batch waits");
            self.last_refusal = Some("the day's budget is spent".to_owned());
            return Ok(None);
        }
        Ok(Some(fees))
    }

    /// Stores a transaction with its nonce, then sends it.
    async fn store_attempt(
        &mut self,
        open: &mut OpenBatch,
        intent: Intent,
        to: TxKind,
        input: Bytes,
        gas_limit: u64,
        fees: Fees,
    ) -> Result<(), PublishError> {
        // The newest head: signing may have taken blocks.
        let head = self.chain.head().await?;
        let sender = self.gas_key.address();
        let slot = self.outbox.attempt_slot(open, sender, self.chain.nonce(sender).await?).await?;
        let nonce = slot.nonce();
        let transaction = TxEip1559 {
            chain_id: self.oracle.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max_fee_wei,
            max_priority_fee_per_gas: fees.tip_wei,
            to,
            value: U256::ZERO,
            access_list: Default::default(),
            input,
        };
        let signed = self.gas_key.sign(transaction).await?;
        let (tx_hash, raw) = (*signed.tx_hash(), signed.encoded_2718());
        let attempt = Attempt { tx_hash, intent, raw, gas_limit, fees };
        let seen = Observation::Stored { intent, head: head.number };
        let (next, _) = open.submission.next(seen, self.policy.patience);
        slot.store(open.id, &attempt, &next).await?;
        open.submission = next;
        open.attempts.push(attempt);
        (open.nonce, open.sender) = (Some(nonce), Some(sender));
        self.published.transactions = self.published.transactions.saturating_add(1);
        self.tell(Stage::Stored, open);
        self.broadcast(open).await
    }

    /// Sends the newest stored bytes, and before them those of every lower nonce that the chain
    /// does not know any more: without them ours could never be taken.
    async fn broadcast(&mut self, open: &OpenBatch) -> Result<(), PublishError> {
        let (Some(nonce), Some(sender)) = (open.nonce, open.sender) else { return Ok(()) };
        let next_nonce = self.chain.nonce(sender).await?;
        let mut all = self.outbox.raw_between(sender, next_nonce, nonce).await?;
        all.extend(open.attempts.last().map(|attempt| attempt.raw.clone()));
        for raw in all {
            if let Err(refusal) = self.chain.broadcast(&raw).await {
                debug!(batch.id = open.id, %refusal, "broadcast refused");
                self.last_refusal = Some(refusal.to_string());
            }
        }
        self.tell(Stage::Broadcast, open);
        Ok(())
    }

    async fn release(
        &mut self,
        open: &OpenBatch,
        next: Submission,
        head: Head,
        seen: Observation,
    ) -> Result<(), PublishError> {
        if matches!(seen, Observation::Landed { .. }) {
            debug!(batch.id = open.id, "somebody else brought the batch; looking again later");
            let recheck_at = head.time.saturating_add(self.policy.recheck_seconds);
            self.outbox.release(open.id, &next, Some(recheck_at)).await?;
            return Ok(());
        }
        let retry_at = head.time.saturating_add(self.policy.retry_seconds);
        self.published.released =
            self.published.released.saturating_add(open.batch.reports().len());
        warn!(batch.id = open.id, phase = ?next.phase, "batch released; its reports are due again");
        // What was never sent, or was sent in vain, is no fault of the reports.
        let is_refused = open.submission.phase == Phase::Signed
            || matches!(next.phase, Phase::Included(at) if at.landing == Landing::Reverted);
        self.outbox.release(open.id, &next, is_refused.then_some(retry_at)).await?;
        Ok(())
    }

    async fn count(&mut self, open: &OpenBatch, at: Inclusion) -> Result<(), PublishError> {
        if at.landing == Landing::Stored {
            let rated = self.logged(open).await?.into_values().filter(Option::is_none).count();
            self.published.batches = self.published.batches.saturating_add(1);
            self.published.ratings = self.published.ratings.saturating_add(rated);
        }
        let (id, landing) = (open.id, at.landing);
        info!(batch.id = id, block.number = at.number, ?landing, "batch included");
        self.tell(Stage::Included, open);
        Ok(())
    }

    fn tell(&self, stage: Stage, open: &OpenBatch) {
        let tx_hash = open.attempts.last().map(|attempt| attempt.tx_hash);
        self.publication.observer.tell(&Progress { stage, batch: open.id, tx_hash });
    }
}

fn push_input(open: &OpenBatch) -> Option<Bytes> {
    let quorum = open.quorum.as_ref()?;
    let message = open.batch.message(open.epoch, open.submission.deadline).ok()?;
    let call = IRatingOracle::pushCall {
        entries: open.batch.entries(),
        bitmap: quorum.bitmap,
        signatures: quorum.signatures.clone().into(),
        deadline: message.deadline,
    };
    Some(call.abi_encode().into())
}
