//! Whether another node has the same canonical log, and if not, the first event that differs.
//!
//! The read model keeps the canonical hash at the end of every block with an entry. Two logs with
//! one hash at a position are the same up to there, so a few dozen questions find the last block
//! that two nodes share; the events after it are then laid side by side.

use alloy::primitives::B256;
use assay_domain::grade::Grade;
use assay_domain::{Event, Fact, UntrustedText, Word};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::event_store::codec::CANONICAL_GENESIS;
use crate::event_store::{EventStore, FoldError, ReadError, canonical_hash};

/// Blocks with entries in one answer.
const BLOCKS_MAX: i64 = 16;

/// Facts in one answer; the rest of a larger block is left out.
const FACTS_MAX: usize = 1_000;

/// Ratings in one answer.
const RATINGS_MAX: i64 = 1_000;

/// Ratings that differ, kept and shown.
const DIFFERENCES_MAX: usize = 100;
const DIFFERENCES_SHOWN: usize = 5;

/// A place in the canonical log, and the hash of everything up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Canonical position, 0 before the first entry.
    pub position: u64,
    /// Canonical hash there.
    pub canonical_hash: B256,
}

/// A block with entries of the canonical log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Chain of the block.
    pub chain_id: u64,
    /// Its number.
    pub number: u64,
    /// Where it ends.
    pub end: Mark,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// What was reported of whom in it.
    pub ratings: Vec<Reported>,
}

/// An entry of the canonical log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Canonical position.
    pub position: u64,
    /// Hash of the fact alone, with its place; zero for the end of an epoch.
    pub fact_hash: B256,
    /// Transaction, zero for the end of an epoch.
    pub tx_hash: B256,
    /// Place in the block.
    pub log_index: u32,
    /// The event in words, cut to a screen's length. What is compared is the hash.
    pub event: String,
}

/// A rating as it was put into the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Slug of the entity.
    pub entity: String,
    /// Its counter.
    pub seq: u64,
    /// The contract's word.
    pub word: B256,
}

/// How another node's log stands to ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Comparison {
    /// The same, entry by entry.
    Same {
        /// Where both end.
        end: Mark,
    },
    /// Theirs is the beginning of ours.
    TheyAreBehind {
        /// Where theirs ends.
        end: Mark,
    },
    /// Ours is the beginning of theirs.
    WeAreBehind {
        /// Where ours ends.
        end: Mark,
    },
    /// They differ.
    Parted(Box<Parting>),
}

/// Where two logs part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parting {
    /// The last block end that both have.
    pub agreed: Mark,
    /// Position of the first entry that differs.
    pub position: u64,
    /// What we have there.
    pub ours: Option<Place>,
    /// What they have there.
    pub theirs: Option<Place>,
    /// The ratings that differ in the next blocks: ours first, in the order in which they were made.
    pub ratings: Vec<RatingDifference>,
}

/// An entry with its block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Chain of the block.
    pub chain_id: u64,
    /// The block.
    pub block: u64,
    /// The entry.
    pub entry: Entry,
}

/// A rating that two nodes do not say alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RatingDifference {
    /// Slug of the entity.
    pub entity: String,
    /// Its counter.
    pub seq: u64,
    /// Our word, if we said one there.
    pub ours: Option<B256>,
    /// Theirs.
    pub theirs: Option<B256>,
}

/// What another node says about its log.
pub trait Peer {
    /// Why it does not answer.
    type Error;
    /// Where its log ends.
    fn head(&self) -> impl Future<Output = Result<Mark, Self::Error>> + Send;
    /// The block end at exactly this position.
    fn mark(&self, at: u64) -> impl Future<Output = Result<Option<Mark>, Self::Error>> + Send;
    /// The next blocks after a block end.
    fn after(&self, position: u64) -> impl Future<Output = Result<Vec<Block>, Self::Error>> + Send;
}

/// Comparing failed.
#[derive(Debug, thiserror::Error)]
pub enum CompareError<E> {
    /// Our own log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The other node does not answer.
    #[error(transparent)]
    Peer(E),
}

impl<E> From<sqlx::Error> for CompareError<E> {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Our log, as other nodes may see it.
#[derive(Debug, Clone)]
pub struct LogView {
    store: EventStore,
}

impl LogView {
    /// The log in this store, as far as it is rated.
    pub const fn new(store: EventStore) -> Self {
        Self { store }
    }

    const fn pool(&self) -> &PgPool {
        self.store.pool()
    }

    /// Where it ends.
    pub async fn head(&self) -> Result<Mark, ReadError> {
        Ok(self.at_or_before(u64::MAX).await?)
    }

    /// The block end at exactly this position.
    pub async fn mark(&self, position: u64) -> Result<Option<Mark>, ReadError> {
        let found = self.at_or_before(position).await?;
        Ok((found.position == position).then_some(found))
    }

    async fn at_or_before(&self, position: u64) -> sqlx::Result<Mark> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT last_position, canonical_hash FROM read_model.blocks
             WHERE last_position <= $1 ORDER BY last_position DESC LIMIT 1",
        )
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .fetch_optional(self.pool())
        .await?;
        let Some((position, hash)) = row else {
            return Ok(Mark { position: 0, canonical_hash: *CANONICAL_GENESIS });
        };
        let canonical_hash = B256::try_from(hash.as_slice()).unwrap_or_default();
        Ok(Mark { position: position.cast_unsigned(), canonical_hash })
    }

    /// The next blocks after a block end, with what happened in them and what was said of it.
    pub async fn after(&self, position: u64) -> Result<Vec<Block>, ReadError> {
        let rows: Vec<(i64, i64, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT chain_id, number, last_position, canonical_hash FROM read_model.blocks
             WHERE last_position > $1 ORDER BY last_position LIMIT $2",
        )
        .bind(i64::try_from(position).unwrap_or(i64::MAX))
        .bind(BLOCKS_MAX)
        .fetch_all(self.pool())
        .await?;
        let mut blocks = Vec::with_capacity(rows.len());
        let (mut begin, mut facts_left) = (position, FACTS_MAX);
        for (chain_id, number, last, hash) in rows {
            let (chain_id, number) = (chain_id.cast_unsigned(), number.cast_unsigned());
            let end = Mark {
                position: last.cast_unsigned(),
                canonical_hash: B256::try_from(hash.as_slice()).unwrap_or_default(),
            };
            let mut facts = self.facts_of(chain_id, number).await?;
            facts.truncate(facts_left);
            facts_left -= facts.len();
            let mut entries: Vec<Entry> = (begin + 1..)
                .zip(&facts)
                .map(|(position, fact)| Entry::of(position, fact))
                .collect();
            // The end of an epoch comes after the facts of its block.
            if begin + entries.len() as u64 + 1 == end.position {
                entries.push(Entry::epoch_end(end.position, number));
            }
            let ratings = self.ratings_between(begin, end.position).await?;
            blocks.push(Block { chain_id, number, end, entries, ratings });
            begin = end.position;
            if facts_left == 0 {
                break;
            }
        }
        Ok(blocks)
    }

    async fn facts_of(&self, chain_id: u64, number: u64) -> Result<Vec<Fact>, ReadError> {
        let mut facts = Vec::new();
        let read = self.store.canonical_block(chain_id, number, |fact| {
            facts.push(fact);
            Ok::<(), std::convert::Infallible>(())
        });
        match read.await {
            Ok(()) => Ok(facts),
            Err(FoldError::Read(error)) => Err(error),
            Err(FoldError::Apply(never)) => match never {},
        }
    }

    async fn ratings_between(&self, after: u64, up_to: u64) -> sqlx::Result<Vec<Reported>> {
        let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT e.slug, p.seq, p.word FROM read_model.rating_points p
             JOIN read_model.entities e ON e.id = p.entity_id
             WHERE p.position > $1 AND p.position <= $2 AND p.seq IS NOT NULL
             ORDER BY p.position, e.key LIMIT $3",
        )
        .bind(after.cast_signed())
        .bind(up_to.cast_signed())
        .bind(RATINGS_MAX)
        .fetch_all(self.pool())
        .await?;
        let reported = |(entity, seq, word): (String, i64, Vec<u8>)| Reported {
            entity,
            seq: seq.cast_unsigned(),
            word: B256::try_from(word.as_slice()).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(reported).collect())
    }

    /// Compares with another node's log.
    pub async fn compare<P: Peer>(&self, peer: &P) -> Result<Comparison, CompareError<P::Error>> {
        let ours = self.head().await?;
        let theirs = peer.head().await.map_err(CompareError::Peer)?;
        if theirs.position >= ours.position {
            let there = self.is_at(peer, ours).await?;
            if there && theirs.position == ours.position {
                return Ok(Comparison::Same { end: ours });
            }
            if there {
                return Ok(Comparison::WeAreBehind { end: ours });
            }
        } else if self.mark(theirs.position).await? == Some(theirs) {
            return Ok(Comparison::TheyAreBehind { end: theirs });
        }
        let agreed = self.last_agreed(peer, ours.position.min(theirs.position)).await?;
        let our_blocks = self.after(agreed.position).await?;
        let their_blocks = peer.after(agreed.position).await.map_err(CompareError::Peer)?;
        Ok(Comparison::Parted(Box::new(Parting::between(agreed, &our_blocks, &their_blocks))))
    }

    async fn is_at<P: Peer>(&self, peer: &P, ours: Mark) -> Result<bool, CompareError<P::Error>> {
        if ours.position == 0 {
            return Ok(true);
        }
        let theirs = peer.mark(ours.position).await.map_err(CompareError::Peer)?;
        Ok(theirs == Some(ours))
    }

    /// The last of our block ends, up to `high`, that the peer has too.
    async fn last_agreed<P: Peer>(
        &self,
        peer: &P,
        mut high: u64,
    ) -> Result<Mark, CompareError<P::Error>> {
        let mut agreed = Mark { position: 0, canonical_hash: *CANONICAL_GENESIS };
        let mut low = 0;
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let found = self.at_or_before(middle).await?;
            if found.position <= agreed.position {
                // No block ends in between.
                low = middle;
            } else if self.is_at(peer, found).await? {
                (agreed, low) = (found, middle);
            } else {
                high = found.position - 1;
            }
        }
        Ok(agreed)
    }
}

impl Entry {
    fn of(position: u64, fact: &Fact) -> Self {
        Self {
            position,
            fact_hash: canonical_hash([fact]),
            tx_hash: fact.tx_hash,
            log_index: fact.log_index,
            event: in_words(&fact.event),
        }
    }

    fn epoch_end(position: u64, block: u64) -> Self {
        let event = format!("the end of the epoch at block {block}");
        let (fact_hash, tx_hash) = (B256::ZERO, B256::ZERO);
        Self { position, fact_hash, tx_hash, log_index: u32::MAX, event }
    }
}

fn in_words(event: &Event) -> String {
    UntrustedText(format!("{event:?}").into_bytes()).to_string()
}

impl Parting {
    fn between(agreed: Mark, ours: &[Block], theirs: &[Block]) -> Self {
        let (mut our_places, mut their_places) = (places(ours), places(theirs));
        let mut position = agreed.position;
        let (ours_there, theirs_there) = loop {
            position += 1;
            match (our_places.next(), their_places.next()) {
                (Some(our), Some(their)) if our == their => {}
                different_or_ended => break different_or_ended,
            }
        };
        let ratings = rating_differences(ours, theirs);
        Self { agreed, position, ours: ours_there, theirs: theirs_there, ratings }
    }
}

fn places(blocks: &[Block]) -> impl Iterator<Item = Place> {
    blocks.iter().flat_map(|block| {
        block.entries.iter().map(|entry| Place {
            chain_id: block.chain_id,
            block: block.number,
            entry: entry.clone(),
        })
    })
}

/// The ratings of ours that they did not say alike, then those of theirs that we did not say.
fn rating_differences(ours: &[Block], theirs: &[Block]) -> Vec<RatingDifference> {
    let all = |blocks: &[Block]| -> Vec<Reported> {
        blocks.iter().flat_map(|block| block.ratings.iter().cloned()).collect()
    };
    let (ours, theirs) = (all(ours), all(theirs));
    let word_in = |said: &[Reported], wanted: &Reported| {
        let same = |found: &&Reported| (&found.entity, found.seq) == (&wanted.entity, wanted.seq);
        said.iter().find(same).map(|found| found.word)
    };
    let difference = |said: &Reported, ours: Option<B256>, theirs: Option<B256>| RatingDifference {
        entity: said.entity.clone(),
        seq: said.seq,
        ours,
        theirs,
    };
    let ours_differ = ours
        .iter()
        .map(|said| difference(said, Some(said.word), word_in(&theirs, said)))
        .filter(|found| found.ours != found.theirs);
    let theirs_alone = theirs
        .iter()
        .filter(|said| word_in(&ours, said).is_none())
        .map(|said| difference(said, None, Some(said.word)));
    ours_differ.chain(theirs_alone).take(DIFFERENCES_MAX).collect()
}

impl std::fmt::Display for Parting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = |place: &Option<Place>| match place {
            // Their words are a stranger's.
            Some(place) => format!(
                "{} (block {}, log {}, transaction {})",
                UntrustedText(place.entry.event.clone().into_bytes()),
                place.block,
                place.entry.log_index,
                place.entry.tx_hash
            ),
            None => "nothing".to_owned(),
        };
        write!(
            f,
            "the logs are the same up to position {} and part at position {}: here {}, there {}",
            self.agreed.position,
            self.position,
            place(&self.ours),
            place(&self.theirs)
        )?;
        for (place, rating) in self.ratings.iter().take(DIFFERENCES_SHOWN).enumerate() {
            let begin = if place == 0 { "; so they rate differently: " } else { "; " };
            let entity = UntrustedText(rating.entity.clone().into_bytes());
            let (ours, theirs) = (grade(rating.ours), grade(rating.theirs));
            write!(f, "{begin}{entity} (seq {}) {ours} here, {theirs} there", rating.seq)?;
        }
        Ok(())
    }
}

fn grade(word: Option<B256>) -> String {
    let Some(word) = word else { return "none".to_owned() };
    let Ok(word) = Word::unpack(word.into()) else { return "a malformed word".to_owned() };
    let fields = word.fields();
    let letters = Grade::from_number(fields.grade).map_or("no grade", Grade::letters);
    format!("{letters} at position {}", fields.log_pos)
}
