//! What a quorum's signatures over a batch are good for: the whole batch, one rating of it, and
//! the proof that a signer contradicted itself.

use alloy::primitives::{Address, B256, Bytes, FixedBytes, U256};
use alloy::sol_types::SolCall;
use assay_domain::Word;
use assay_domain::word::WordOutOfRange;

use crate::batch::{Batch, NotABatch, OracleId, RatingBatch, hash};
use crate::contract::IRatingOracle::{Statement, pullCall, pushCall, reportEquivocationCall};
use crate::council::{Council, Quorum};
use crate::report::EntityKey;
use crate::share::recover;

/// Bytes of a signature as the contract takes it (EIP-2098).
const SIGNATURE_BYTES: usize = 64;

/// A batch and the signatures of a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBatch {
    /// The ratings.
    pub batch: Batch,
    /// The signers' epoch.
    pub epoch: u32,
    /// Last second at which the contract takes it.
    pub deadline: u64,
    /// Who has signed, and their signatures.
    pub quorum: Quorum,
}

/// Why a rating that somebody handed over is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSigned {
    /// The path is no path of this leaf.
    #[error("the path does not lead from the rating to a root")]
    BadPath,
    /// Too few, too many or unknown signers are named, or a signature is missing.
    #[error("{named} signers are named, expected {expected} with a signature each")]
    BadQuorum {
        /// Bits set.
        named: usize,
        /// The threshold.
        expected: u8,
    },
    /// A signature is not of this batch, or not of this signer.
    #[error("the signature of {signer} is not its own")]
    BadSignature {
        /// Whose it should be.
        signer: Address,
    },
    /// A quorum signed a word that is no rating.
    #[error(transparent)]
    Malformed(#[from] WordOutOfRange),
}

impl SignedBatch {
    /// The call that stores the whole batch.
    pub fn push(&self) -> Result<pushCall, NotABatch> {
        let deadline = self.batch.message(self.epoch, self.deadline)?.deadline;
        let (bitmap, signatures) = (self.quorum.bitmap, self.quorum.signatures.clone().into());
        Ok(pushCall { entries: self.batch.entries(), bitmap, signatures, deadline })
    }

    /// The call that stores one rating of it; `None` if the entity is not in the batch.
    pub fn pull(&self, entity: EntityKey) -> Option<pullCall> {
        let message = self.batch.message(self.epoch, self.deadline).ok()?;
        let (index, word, path) = self.place(entity)?;
        Some(pullCall {
            entity: entity.0,
            word,
            index,
            count: message.count,
            path,
            bitmap: self.quorum.bitmap,
            signatures: self.quorum.signatures.clone().into(),
            deadline: message.deadline,
        })
    }

    /// What ERC-7412's `fulfillOracleQuery` takes for one entity: the arguments of `pull`.
    pub fn fulfilment(&self, entity: EntityKey) -> Option<Bytes> {
        let call = self.pull(entity)?.abi_encode();
        call.get(pullCall::SELECTOR.len()..).map(Bytes::copy_from_slice)
    }

    /// What the signer with this index in its epoch said of one entity: half of a fraud proof.
    pub fn statement(
        &self,
        oracle: OracleId,
        entity: EntityKey,
        signer_index: usize,
    ) -> Option<Statement> {
        let message = self.batch.message(self.epoch, self.deadline).ok()?;
        let (index, word, path) = self.place(entity)?;
        let signature = self.signature_of(signer_index)?;
        Some(Statement {
            domain: oracle.domain().separator(),
            word,
            epoch: self.epoch,
            count: message.count,
            index,
            deadline: message.deadline,
            r: B256::from_slice(&signature[..32]),
            vs: B256::from_slice(&signature[32..]),
            path,
        })
    }

    fn place(&self, entity: EntityKey) -> Option<(u32, U256, Vec<B256>)> {
        let reports = self.batch.reports();
        let index = reports.iter().position(|report| report.entity() == entity)?;
        let word = reports.get(index)?.word().pack();
        Some((u32::try_from(index).ok()?, word, self.batch.proof(index)?))
    }

    fn signature_of(&self, signer_index: usize) -> Option<FixedBytes<SIGNATURE_BYTES>> {
        if signer_index >= 256 || !self.quorum.bitmap.bit(signer_index) {
            return None;
        }
        let before = (0..signer_index).filter(|index| self.quorum.bitmap.bit(*index)).count();
        let bytes = self.quorum.signatures.chunks_exact(SIGNATURE_BYTES).nth(before)?;
        FixedBytes::try_from(bytes).ok()
    }
}

/// The call that convicts a signer of two words under one number; the signer is named by an epoch
/// of the contract and its index there. The contract checks everything.
pub fn equivocation(
    entity: EntityKey,
    signer: (u32, u8),
    statements: [Statement; 2],
) -> reportEquivocationCall {
    let [a, b] = statements;
    let (epoch, index) = signer;
    reportEquivocationCall { entity: entity.0, signerEpoch: epoch, signerIndex: index, a, b }
}

/// What a rating says that somebody handed over, if a quorum signed it. Neither its deadline nor
/// what the contract holds is looked at.
pub fn verify_pull(
    oracle: OracleId,
    council: &Council,
    pull: &pullCall,
) -> Result<Word, NotSigned> {
    let leaf = hash(0, pull.entity, pull.word.into());
    let root = climb(leaf, pull.index, pull.count, &pull.path).ok_or(NotSigned::BadPath)?;
    let message =
        RatingBatch { root, count: pull.count, epoch: council.epoch, deadline: pull.deadline };
    let digest = oracle.digest(&message);
    let named: Vec<Address> = council
        .signers
        .iter()
        .enumerate()
        .filter(|(index, _)| *index < 256 && pull.bitmap.bit(*index))
        .map(|(_, signer)| *signer)
        .collect();
    let quorum = usize::from(council.threshold);
    let is_complete = named.len() == quorum
        && pull.bitmap.count_ones() == quorum
        && pull.signatures.len() == quorum * SIGNATURE_BYTES;
    if !is_complete {
        let named = pull.bitmap.count_ones();
        return Err(NotSigned::BadQuorum { named, expected: council.threshold });
    }
    for (signer, bytes) in named.into_iter().zip(pull.signatures.chunks_exact(SIGNATURE_BYTES)) {
        if recover(&FixedBytes::from_slice(bytes), &digest) != Some(signer) {
            return Err(NotSigned::BadSignature { signer });
        }
    }
    Ok(Word::unpack(pull.word)?)
}

/// The root above a leaf, as `BatchTree.climb` finds it; `None` if the path does not fit.
fn climb(leaf: B256, index: u32, count: u32, path: &[B256]) -> Option<B256> {
    if index >= count {
        return None;
    }
    let (mut node, mut at, mut width, mut path) = (leaf, index, count, path.iter());
    while width > 1 {
        // The last of an odd number moves up as it is.
        if at ^ 1 < width {
            let sibling = *path.next()?;
            node = if at & 1 == 0 { hash(1, node, sibling) } else { hash(1, sibling, node) };
        }
        at >>= 1;
        width = width.div_ceil(2);
    }
    path.next().is_none().then_some(node)
}
