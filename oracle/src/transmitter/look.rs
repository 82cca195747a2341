//! Looking: what the chain says of a batch, and what became of its reports.

use std::collections::BTreeMap;

use alloy::primitives::U256;
use alloy::rpc::types::BlockNumberOrTag;
use assay_domain::Word;
use tracing::warn;

use super::Transmitter;
use crate::chain::{ChainError, Head};
use crate::contract::{IRatingOracle, SkipReason, outcomes, read_words, read_words_at};
use crate::outbox::{OpenBatch, Outcome};
use crate::outcome::judge;
use crate::policy::Finality;
use crate::publish::PublishError;
use crate::report::{EntityKey, Report};
use crate::submission::{Inclusion, Intent, Landing, Observation, Phase};

impl Transmitter {
    pub(super) async fn observe(
        &self,
        open: &OpenBatch,
        head: Head,
    ) -> Result<Observation, PublishError> {
        let unspent = Observation::Unspent { head: head.number, time: head.time };
        let (Some(nonce), Some(sender)) = (open.nonce, open.sender) else {
            let epoch = self.chain.call(self.oracle.address, &IRatingOracle::epochCall {}).await?;
            return Ok(match self.landed(open, head).await? {
                _ if epoch != open.epoch => Observation::WouldRevert,
                Some(is_final) => Observation::Landed { is_final },
                None => unspent,
            });
        };
        // The count before the receipts: a block in between shows as a receipt.
        let next_nonce = self.chain.nonce(sender).await?;
        for attempt in open.attempts.iter().rev() {
            let Some(receipt) = self.chain.receipt(attempt.tx_hash).await? else { continue };
            let landing = match (attempt.intent, receipt.is_success) {
                (Intent::Publish, true) => Landing::Stored,
                (Intent::Publish, false) => Landing::Reverted,
                (Intent::Cancel, _) => Landing::Cancelled,
            };
            let (number, hash) = (receipt.block_number, receipt.block_hash);
            let at = Inclusion { number, hash, landing };
            return Ok(if self.is_final(number, head).await? {
                Observation::Final(at)
            } else {
                Observation::Included(at)
            });
        }
        Ok(if next_nonce > nonce { Observation::SpentElsewhere } else { unspent })
    }

    /// Whether the contract holds these ratings, or newer ones, already, and whether for good:
    /// another node or a stranger was faster.
    pub(super) async fn landed(
        &self,
        open: &OpenBatch,
        head: Head,
    ) -> Result<Option<bool>, PublishError> {
        let entities: Vec<EntityKey> =
            open.batch.reports().iter().map(|report| report.entity()).collect();
        let holds_all = async |at| {
            let words = match read_words_at(&self.chain, self.oracle.address, &entities, at).await {
                // The contract is younger than that block.
                Err(ChainError::NoContract { .. }) => return Ok(false),
                words => words?,
            };
            let pairs = open.batch.reports().iter().zip(words);
            let holds = |(report, word): (&Report, U256)| {
                Word::unpack(word).is_ok_and(|word| word.fields().seq >= report.seq())
            };
            Ok::<_, PublishError>(pairs.into_iter().all(holds))
        };
        if !holds_all(BlockNumberOrTag::Latest).await? {
            return Ok(None);
        }
        let settled = match self.policy.finality {
            Finality::Confirmations(0) => return Ok(Some(true)),
            Finality::Confirmations(depth) => head.number.saturating_sub(depth),
            Finality::Tag => self.chain.finalized_number().await?,
        };
        Ok(Some(holds_all(settled.into()).await?))
    }

    pub(super) async fn is_final(&self, number: u64, head: Head) -> Result<bool, PublishError> {
        Ok(match self.policy.finality {
            Finality::Confirmations(0) => true,
            Finality::Confirmations(depth) => head.number >= number.saturating_add(depth),
            Finality::Tag => self.chain.finalized_number().await? >= number,
        })
    }

    /// What became of each report: decided by the contract's slots, and by its log only where the
    /// slot has moved on.
    pub(super) async fn outcomes(
        &self,
        open: &OpenBatch,
        phase: Phase,
    ) -> Result<Vec<(EntityKey, Outcome)>, PublishError> {
        let reports = open.batch.reports();
        let by_others = phase == Phase::Abandoned;
        let is_stored = matches!(phase, Phase::Final(at) if at.landing == Landing::Stored);
        if !is_stored && !by_others {
            let released = Outcome::Released { retry_at: None };
            return Ok(reports.iter().map(|report| (report.entity(), released)).collect());
        }
        let entities: Vec<EntityKey> = reports.iter().map(|report| report.entity()).collect();
        let words = read_words(&self.chain, self.oracle.address, &entities).await?;
        let logged = self.logged(open).await?;
        let mut outcomes = Vec::with_capacity(reports.len());
        for (report, word) in reports.iter().zip(words) {
            let stored = Word::unpack(word).ok();
            let skip = logged.get(&(report.entity(), report.seq())).copied();
            let outcome = judge(report.word(), stored, skip).ok_or_else(|| {
                let found = format!("{word:#x} after seq {} was rated", report.seq());
                ChainError::Malformed { method: "eth_call", found }
            })?;
            if outcome == Outcome::Refused {
                let (entity, seq) = (report.entity(), report.seq());
                warn!(entity.key = %entity, entity.seq = seq, ?skip, "rating refused on chain");
            }
            outcomes.push((report.entity(), outcome));
        }
        Ok(outcomes)
    }

    pub(super) async fn logged(
        &self,
        open: &OpenBatch,
    ) -> Result<BTreeMap<(EntityKey, u32), Option<SkipReason>>, PublishError> {
        for attempt in open.attempts.iter().rev() {
            if let Some(receipt) = self.chain.receipt(attempt.tx_hash).await? {
                let found = outcomes(&receipt, self.oracle.address);
                return Ok(found.map(|(entity, seq, skip)| ((entity, seq), skip)).collect());
            }
        }
        Ok(BTreeMap::new())
    }
}
