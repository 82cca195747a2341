//! Signing: our own keys first, then the peers; and whose turn it is to send.

use std::time::{Duration, Instant};

use alloy::primitives::FixedBytes;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Transmitter;
use crate::batch::{Batch, OracleId};
use crate::council::{Ballot, Council};
use crate::guard::{self, GuardError};
use crate::key::{KeyError, RatingSigner};
use crate::outbox::{OpenBatch, position_of};
use crate::peer::Peer;
use crate::publish::{PublishError, Stage};
use crate::report::Report;
use crate::share::{Dissent, Share};
use crate::submission::Observation;

impl Transmitter {
    /// Clears each key with the guard, signs, asks the peers for what is missing, and stores the
    /// quorum. Too few signatures: the batch waits, and they are asked again.
    pub(super) async fn sign(&mut self, open: &mut OpenBatch) -> Result<(), PublishError> {
        let council = self.council().await?;
        let (epoch, deadline) = (open.epoch, open.submission.deadline);
        let message = open.batch.message(epoch, deadline).map_err(KeyError::from)?;
        let position = match open.batch.reports().first() {
            Some(first) => position_of(&self.pool, first.entity(), first.seq()).await?,
            None => return Ok(()),
        };
        let mut ballot = Ballot::new(&council, self.oracle.digest(&message));
        let ours = |address| self.publication.signers.iter().find(|key| key.address() == address);
        for signer in council.signers.iter().filter_map(|address| ours(*address)) {
            if ballot.is_decided() {
                break;
            }
            let (address, batch) = (signer.address(), &open.batch);
            let cleared = match guard::clear_in_order(&self.pool, address, position, batch).await {
                Ok(cleared) => cleared,
                Err(GuardError::NotSafe(fault)) => {
                    let (entity, seq) = fault.report();
                    warn!(entity.key = %entity, entity.seq = seq, %fault, "report refused");
                    if !self.publication.peers.is_empty() {
                        // Without this report it would be another batch than the peers'.
                        continue;
                    }
                    self.outbox.refuse(entity, seq, &fault.to_string()).await?;
                    let (next, _) =
                        open.submission.next(Observation::WouldRevert, self.policy.patience);
                    self.outbox.release(open.id, &next, None).await?;
                    open.submission = next;
                    return Ok(());
                }
                Err(other) => return Err(other.into()),
            };
            self.tell(Stage::Cleared, open);
            let signature = signer.sign(&cleared, self.oracle, epoch, deadline).await?;
            ballot.count(FixedBytes(signature.as_erc2098()));
        }
        let mut refusals = Vec::new();
        if !ballot.is_decided() {
            let peers = &self.publication.peers;
            refusals = poll(peers, self.oracle, &open.batch, position, deadline, &mut ballot).await;
        }
        let Some(quorum) = ballot.quorum() else {
            let (found, expected) = (ballot.votes(), council.threshold);
            let refusals = refusals.join("; ");
            warn!(batch.id = open.id, position, found, expected, refusals, "too few signatures");
            let said =
                format!("{found} of {expected} signatures at position {position}: {refusals}");
            self.last_refusal = Some(said);
            return Ok(());
        };
        let (next, _) = open.submission.next(Observation::Signed, self.policy.patience);
        self.outbox.store_quorum(open.id, &quorum, &next).await?;
        open.submission = next;
        self.tell(Stage::Signed, open);
        debug!(batch.id = open.id, "batch signed");
        Ok(())
    }

    /// Whether those whose turn is before ours have had time to send. The order changes with the
    /// batch; nobody depends on anybody keeping it.
    pub(super) async fn is_our_turn(&mut self, open: &OpenBatch) -> Result<bool, PublishError> {
        if self.publication.peers.is_empty() {
            return Ok(true);
        }
        let signers = self.council().await?.signers;
        let is_ours = |address| self.publication.signers.iter().any(|key| key.address() == address);
        let ours = signers.iter().position(|address| is_ours(*address)).unwrap_or(signers.len());
        let first = open.batch.root().last().copied().map_or(0, usize::from);
        let rank = (ours + first) % signers.len().max(1);
        let since = match self.waiting {
            Some((id, since)) if id == open.id => since,
            _ => self.waiting.insert((open.id, Instant::now())).1,
        };
        let turn = Duration::from_secs(self.policy.turn_seconds);
        Ok(since.elapsed() >= turn * u32::try_from(rank).unwrap_or(u32::MAX))
    }

    /// Who may sign, once it is sure that with our keys and peers a quorum is possible at all.
    pub(super) async fn council(&self) -> Result<Council, PublishError> {
        let council = Council::read(&self.chain, self.oracle.address).await?;
        let is_appointed = |key: &&RatingSigner| council.signers.contains(&key.address());
        let found = self.publication.signers.iter().filter(is_appointed).count();
        if self.publication.peers.is_empty() && found < usize::from(council.threshold) {
            let (epoch, expected) = (council.epoch, council.threshold);
            return Err(PublishError::NoQuorum { epoch, expected, found });
        }
        Ok(council)
    }
}

/// Asks all peers at once for their signatures. Returns what spoke against each that gave none.
async fn poll(
    peers: &[Peer],
    oracle: OracleId,
    batch: &Batch,
    position: u64,
    deadline: u64,
    ballot: &mut Ballot<'_>,
) -> Vec<String> {
    let mut asked = JoinSet::new();
    for peer in peers.iter().cloned() {
        asked.spawn(async move {
            let answer = peer.shares(oracle, position, Some(deadline)).await;
            (peer, answer)
        });
    }
    let mut refusals = Vec::new();
    while let Some(answered) = asked.join_next().await {
        let Ok((peer, answer)) = answered else { continue };
        match answer {
            Ok(shares) => {
                let counted = shares.iter().filter(|share| ballot.count(share.signature).is_some());
                if counted.count() == 0 {
                    refusals.push(format!("{peer}: {}", dissent(batch, &shares)));
                }
            }
            Err(error) => refusals.push(error.to_string()),
        }
    }
    refusals
}

/// In what a peer's batch differs from ours, or why its signatures do not count.
fn dissent(ours: &Batch, shares: &[Share]) -> String {
    let batches: Vec<Batch> = shares.iter().filter_map(|share| share.batch().ok()).collect();
    let is_ours =
        |report: &Report| ours.reports().iter().any(|our| our.entity() == report.entity());
    // A position with many ratings has several batches: the one that is about the same entities.
    let same = batches.iter().find(|batch| batch.reports().iter().any(is_ours));
    let Some(theirs) = same.or(batches.first()) else {
        return "it has no batch there".to_owned();
    };
    match Dissent::first(ours, theirs) {
        Some(difference) => difference.to_string(),
        None => "it signs with no key that counts, or for another contract or epoch".to_owned(),
    }
}
