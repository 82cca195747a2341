//! Keeps ratings, read model and outbox in step with the log.
//!
//! The whole log is folded once at the start; from then on only what is new. What follows from it
//! — rating actions, rows, reports, checkpoint — is committed in one transaction, so that a crash
//! leaves all of it or nothing.
//! If facts arrive that belong before what was already rated, a `Restated` event says so, the read
//! model is written anew and every action is said again in a new revision; what was said stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::primitives::B256;
use assay_domain::assess::{Basis, When, sensitivities};
use assay_domain::canonical::CanonicalHead;
use assay_domain::event::RatingAction;
use assay_domain::methodology::Methodology;
use assay_domain::rating::Rating;
use assay_domain::rationale::{exit_sentences, rationale};
use assay_domain::state::ChainState;
use assay_domain::word::Word;
use assay_domain::{BlockRef, ChainId, Event, Fact, RatedEntity};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::event_store::{
    self, AppendError, Appender, EventStore, Extension, FoldError, ReadError, own_fact,
};
use crate::projection::{ReadModel, feed, provisional};
use crate::rating::{Engine, Observer, RatingError, on_all_cores};

/// Tag of `Event::Restated`.
const RESTATED: u8 = 202;

/// Tag of `Event::RatingAction`.
pub(crate) const RATING_ACTION: u8 = 203;

/// Reports written by one statement: a few hundred kilobytes of arguments.
const REPORTS_PER_STATEMENT: usize = 5_000;

/// Catching up failed; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RaterError {
    /// The log could not be read or is corrupt.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be folded or rated.
    #[error(transparent)]
    Rating(#[from] RatingError),
    /// The actions could not be appended. Another process may be rating: try again.
    #[error("cannot append rating actions")]
    Append(#[from] AppendError),
    /// The read model could not be read or written.
    #[error("cannot write the read model")]
    Database(#[from] sqlx::Error),
    /// What was said before does not follow from the log. Run `assay verify`.
    #[error("the rating action at position {position} does not follow from the log")]
    SaidOtherwise {
        /// Its storage position.
        position: u64,
    },
    /// The read model was made by another methodology than the one in this binary. Use the Assay
    /// that has it, or a new database.
    #[error("the database was rated with methodology {found}, this binary has {expected}")]
    OtherMethodology {
        /// Of this binary.
        expected: B256,
        /// Of the database.
        found: B256,
    },
}

impl From<FoldError<RatingError>> for RaterError {
    fn from(error: FoldError<RatingError>) -> Self {
        match error {
            FoldError::Read(error) => Self::Read(error),
            FoldError::Apply(error) => Self::Rating(error),
        }
    }
}

/// What catching up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaughtUp {
    /// Where the canonical log stands.
    pub head: CanonicalHead,
    /// Rating actions appended.
    pub actions: usize,
    /// How often ratings were made anew because older facts arrived.
    pub revision: u32,
}

/// What writing the read model alone comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflected {
    /// It reflects all of the canonical log.
    Already,
    /// It was written up to here; nothing was appended.
    Written(CanonicalHead),
    /// So many rating actions are not in the log yet: nothing was done.
    Unsaid(u64),
}

/// Keeps ratings in step with the log.
#[derive(Debug)]
pub struct Rater {
    store: EventStore,
    methodology: Arc<Methodology>,
    /// Methodologies that the log may have adopted since.
    known: Vec<Arc<Methodology>>,
    live: Option<Live>,
}

#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) engine: Engine<Writer>,
    log: event_store::CanonicalHead,
    revision: u32,
}

impl Live {
    /// Whether the read model reflects all of the log already.
    fn is_committed(&self) -> bool {
        let writer = &self.engine.observer;
        writer.restates.is_none()
            && writer.read.is_some_and(|read| read.storage_position == self.log.storage_position)
    }
}

/// What the read model reflects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    storage_position: u64,
    head: CanonicalHead,
    revision: u32,
}

impl Rater {
    /// A rater that has read nothing yet.
    pub const fn new(store: EventStore, methodology: Arc<Methodology>) -> Self {
        Self { store, methodology, known: Vec::new(), live: None }
    }

    /// With the files of methodologies that the log may have adopted.
    #[must_use]
    pub fn knowing(self, known: Vec<Arc<Methodology>>) -> Self {
        Self { known, ..self }
    }

    /// Folds what is new, rates, and commits all that follows.
    pub async fn catch_up(&mut self) -> Result<CaughtUp, RaterError> {
        let live = match self.live.take() {
            Some(live) => self.extend(live).await?,
            None => None,
        };
        // Dropped on an error: the next call folds from the start again.
        let mut live = match live {
            Some(live) => live,
            None => self.fold().await?,
        };
        let done = if live.is_committed() {
            CaughtUp { head: live.engine.head(), actions: 0, revision: live.revision }
        } else {
            self.commit(&mut live).await?
        };
        self.live = Some(live);
        Ok(done)
    }

    /// Writes the read model, or what it lacks, if the log has every rating action already.
    pub async fn reflect(&mut self) -> Result<Reflected, RaterError> {
        self.live = None;
        let mut live = self.fold().await?;
        let writer = &live.engine.observer;
        // What came since may be Assay's own, on which no rating rests.
        let is_there = writer.read.is_some_and(|read| read.head == live.engine.head());
        if is_there && writer.restates.is_none() {
            return Ok(Reflected::Already);
        }
        let said = match writer.read {
            // A read model that is not there is written with what was said.
            None => self.said_in(live.revision).await?.len(),
            Some(_) => 0,
        };
        let actions = writer.actions.iter().filter_map(action_fact).count();
        if writer.restates.is_some() || actions > said {
            let unsaid = actions.saturating_sub(said);
            return Ok(Reflected::Unsaid(u64::try_from(unsaid).unwrap_or(u64::MAX)));
        }
        let done = self.commit(&mut live).await?;
        self.live = Some(live);
        Ok(Reflected::Written(done.head))
    }

    pub(crate) const fn store(&self) -> &EventStore {
        &self.store
    }

    /// The state that the last ratings rest on.
    pub fn state(&self) -> Option<&assay_domain::State> {
        self.live.as_ref().map(|live| live.engine.state())
    }

    /// Takes in what became final since; `None` if that belongs before what was already rated.
    async fn extend(&self, mut live: Live) -> Result<Option<Live>, RaterError> {
        let end = self.store.head().await?.position;
        live.engine.set_finalized(self.store.finalized_at(end).await?);
        let engine = &mut live.engine;
        for message in self.store.messages(live.log.storage_position, end).await? {
            if !engine.message(&message.fact) {
                return Ok(None);
            }
        }
        let read = self
            .store
            .extend_canonical(&live.log, Some(end), |found| engine.fact(&found.fact, &found.hash))
            .await?;
        match read {
            Extension::Older { .. } => Ok(None),
            Extension::Extended(log) => {
                live.engine.finish()?;
                live.log = log;
                Ok(Some(live))
            }
        }
    }

    /// Folds from the start, noticing whether what was written before still holds.
    async fn fold(&self) -> Result<Live, RaterError> {
        let mut connection = self.store.pool().acquire().await?;
        let checkpoint = read_checkpoint(&mut connection, self.methodology.hash()).await?;
        drop(connection);
        let end = self.store.head().await?.position;
        let restated = self.restatements().await?;
        let revision = u32::try_from(restated.len()).unwrap_or(u32::MAX);
        let seqs = self.seqs_before(&restated).await?;
        let live = self.fold_to(end, checkpoint, revision, &seqs).await?;
        let writer = &live.engine.observer;
        let Some(checkpoint) = checkpoint.filter(|_| !writer.is_checkpoint_met) else {
            return Ok(live);
        };
        tracing::warn!(
            position = checkpoint.head.position,
            "facts arrived that belong before what was rated; every rating is made anew"
        );
        let mut all = restated;
        all.push(checkpoint.storage_position);
        let seqs = self.seqs_before(&all).await?;
        let mut live = self.fold_to(end, None, revision.saturating_add(1), &seqs).await?;
        live.engine.observer.restates = Some(checkpoint.storage_position);
        live.engine.observer.read = Some(checkpoint);
        Ok(live)
    }

    pub(crate) async fn fold_to(
        &self,
        end: u64,
        checkpoint: Option<Checkpoint>,
        revision: u32,
        seqs: &BTreeMap<RatedEntity, u32>,
    ) -> Result<Live, RaterError> {
        let (engine, log) = self.replay_to(end, seqs, || Writer::new(checkpoint)).await?;
        Ok(Live { engine, log, revision })
    }

    /// Folds the log from nothing to a storage position, telling an observer.
    pub(crate) async fn replay_to<O: Observer>(
        &self,
        end: u64,
        seqs: &BTreeMap<RatedEntity, u32>,
        observer: impl Fn() -> O,
    ) -> Result<(Engine<O>, event_store::CanonicalHead), RaterError> {
        let finalized = self.store.finalized_at(end).await?;
        let messages = self.store.messages(0, end).await?;
        let start = || {
            let methodology = self.methodology.clone();
            let mut engine = Engine::new(methodology, finalized.clone(), seqs, observer());
            engine.know(&self.known);
            for message in &messages {
                engine.message(&message.fact);
            }
            engine
        };
        let (mut engine, log) = self
            .store
            .fold_canonical(Some(end), start, |engine, found| engine.fact(&found.fact, &found.hash))
            .await?;
        engine.finish()?;
        Ok((engine, log))
    }

    /// Storage positions up to which the ratings before each restatement knew the log.
    pub(crate) async fn restatements(&self) -> Result<Vec<u64>, RaterError> {
        let mut known = Vec::new();
        let read = self
            .store
            .read_own(&[RESTATED], 0, |recorded| {
                if let Event::Restated { known: position } = recorded.fact.event {
                    known.push(position);
                }
                Ok::<(), RatingError>(())
            })
            .await;
        read?;
        Ok(known)
    }

    /// Counters at the start of the revision after these restatements: a number that was used in
    /// an earlier revision is never used again for another word.
    pub(crate) async fn seqs_before(
        &self,
        restated: &[u64],
    ) -> Result<BTreeMap<RatedEntity, u32>, RaterError> {
        let mut seqs = BTreeMap::new();
        for known in restated {
            seqs = self.fold_to(*known, None, 0, &seqs).await?.engine.seqs();
        }
        Ok(seqs)
    }

    /// Throws the read model away and writes it anew from the log. What was said stays said.
    pub async fn rebuild(&mut self) -> Result<CaughtUp, RaterError> {
        self.live = None;
        sqlx::query("DELETE FROM read_model.checkpoint").execute(self.store.pool()).await?;
        self.catch_up().await
    }

    /// The rating actions stored in a revision, in order.
    async fn said_in(&self, revision: u32) -> Result<Vec<(u64, Event)>, RaterError> {
        let mut said = Vec::new();
        let mut at = 0;
        self.store
            .read_own(&[RESTATED, RATING_ACTION], 0, |recorded| {
                match recorded.fact.event {
                    Event::Restated { .. } => at += 1,
                    event if at == revision => said.push((recorded.position, event)),
                    _ => {}
                }
                Ok::<(), RatingError>(())
            })
            .await?;
        Ok(said)
    }

    async fn commit(&self, live: &mut Live) -> Result<CaughtUp, RaterError> {
        let head = live.engine.head();
        let revision = live.revision;
        let log = &live.log;
        let unmapped: BTreeMap<ChainId, u64> = live
            .engine
            .state()
            .chains
            .iter()
            .map(|(id, chain)| (*id, chain.unmapped_logs))
            .collect();
        let mut appender = self.store.begin_append().await?;
        let ahead = self.store.provisional_facts(&log.finalized).await?;
        let writer = &mut live.engine.observer;
        let found = read_checkpoint(appender.connection(), self.methodology.hash()).await?;
        let actions = std::mem::take(&mut writer.actions);
        if found != writer.read {
            // Another process rated meanwhile; what it wrote is the same, but not ours to repeat.
            let position = |checkpoint: Option<Checkpoint>| {
                checkpoint.map_or(0, |checkpoint| checkpoint.storage_position)
            };
            let (expected, found) = (position(writer.read), position(found));
            return Err(AppendError::WrongExpectedPosition { expected, found }.into());
        }
        let mut said = Vec::new();
        if let Some(known) = writer.restates.take() {
            restate(&mut appender, &actions, known).await?;
        } else if writer.read.is_none() {
            // A read model that was thrown away: what was said already is not said again.
            said = self.said_in(revision).await?;
            ReadModel::clear(appender.connection(), Some(revision)).await?;
        }
        let mut said = said.into_iter();
        for action in &actions {
            let Some(fact) = action_fact(action) else { continue };
            let position = match said.next() {
                Some((position, event)) if event == fact.event => position,
                Some((position, _)) => return Err(RaterError::SaidOtherwise { position }),
                None => appender.push(&fact).await?,
            };
            writer.read_model.acted(action, position, revision);
        }
        let connection = appender.connection();
        provisional::clear(connection).await?;
        writer.read_model.flush(connection).await?;
        provisional::write(connection, live.engine.state(), &ahead).await?;
        let writer = &mut live.engine.observer;
        feed::write(connection).await?;
        write_reports(connection, &std::mem::take(&mut writer.reports)).await?;
        write_chains(connection, &unmapped).await?;
        let checkpoint = Checkpoint { storage_position: log.storage_position, head, revision };
        write_checkpoint(connection, checkpoint, self.methodology.hash()).await?;
        appender.commit().await?;
        writer.checkpoint = Some(checkpoint);
        writer.read = Some(checkpoint);
        Ok(CaughtUp { head, actions: actions.len(), revision })
    }
}

async fn restate(
    appender: &mut Appender,
    actions: &[Rating],
    known: u64,
) -> Result<(), RaterError> {
    let first = actions.first().map_or((0, BlockRef::default()), |rating| {
        (rating.entity.chain_id, BlockRef { hash: B256::ZERO, ..rating.at })
    });
    appender.push(&own_fact(first.0, first.1, Event::Restated { known })).await?;
    ReadModel::clear(appender.connection(), None).await?;
    Ok(())
}

pub(crate) fn action_fact(rating: &Rating) -> Option<Fact> {
    let (kind, word) = (rating.action?, rating.report?);
    let expected_loss = rating.verdict.as_ref().map_or(0, |rated| rated.profile.expected_loss().0);
    let action = RatingAction {
        entity: rating.entity,
        kind,
        seq: word.fields().seq,
        word: word.pack(),
        expected_loss_ppt: expected_loss,
        canonical_position: rating.head.position,
        canonical_hash: rating.head.hash,
        methodology_hash: rating.methodology,
        assessment_hash: rating.assessment_hash,
    };
    Some(own_fact(rating.entity.chain_id, rating.at, Event::RatingAction(action)))
}

/// Gathers what is to be written.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) read_model: ReadModel,
    /// What the database reflects already, and is not written again.
    checkpoint: Option<Checkpoint>,
    /// What it reflected when this run began: if that is no longer so, somebody else was faster.
    read: Option<Checkpoint>,
    /// Whether the log still has, at the checkpoint's position, the hash it had then.
    is_checkpoint_met: bool,
    /// The storage position that a restatement supersedes.
    restates: Option<u64>,
    pub(crate) actions: Vec<Rating>,
    /// What is to be signed, with the canonical position at which it was decided.
    pub(crate) reports: Vec<(RatedEntity, Word, u64)>,
}

impl Writer {
    fn new(checkpoint: Option<Checkpoint>) -> Self {
        Self {
            read_model: ReadModel::new(checkpoint.map_or(0, |found| found.head.position)),
            checkpoint,
            read: checkpoint,
            is_checkpoint_met: checkpoint.is_none_or(|found| found.head.position == 0),
            restates: None,
            actions: Vec::new(),
            reports: Vec::new(),
        }
    }

    fn meet(&mut self, head: CanonicalHead) {
        self.is_checkpoint_met |= self.checkpoint.is_some_and(|found| found.head == head);
    }

    fn is_new(&self, head: CanonicalHead) -> bool {
        self.checkpoint.is_none_or(|found| head.position > found.head.position)
    }
}

impl Observer for Writer {
    fn fact_folded(&mut self, fact: &Fact, chain: &ChainState, head: CanonicalHead) {
        self.read_model.fact_folded(fact, chain, head);
    }

    fn rated(&mut self, ratings: &[Rating], chain: &ChainState, methodology: &Methodology) {
        let wanted = ratings.iter().filter(|rating| self.read_model.wants(rating)).collect();
        let told = on_all_cores(wanted, |rating: &Rating| {
            (rating.assessment_hash, rationale_of(rating, chain, methodology))
        });
        let told: BTreeMap<B256, Value> = told.into_iter().collect();
        for rating in ratings {
            self.read_model.rated(rating, told.get(&rating.assessment_hash));
            if !self.is_new(rating.head) {
                continue;
            }
            if let Some(word) = rating.report {
                self.reports.push((rating.entity, word, rating.head.position));
            }
            if rating.action.is_some() {
                self.actions.push(rating.clone());
            }
        }
    }

    fn block_ended(&mut self, chain_id: ChainId, block: BlockRef, head: CanonicalHead) {
        self.meet(head);
        self.read_model.block_ended(chain_id, block, head);
    }
}

/// The sentences of a rating, with what it rests on.
fn rationale_of(rating: &Rating, chain: &ChainState, methodology: &Methodology) -> Value {
    let mut rests_on = vec![basis_sentence(rating.basis).to_owned()];
    let warnings: Vec<String> = rating
        .self_dealing
        .iter()
        .map(|set| {
            format!(
                "What operator set {set} slashes goes to the AVS itself or to whoever may slash: \
                 who can slash gains by it."
            )
        })
        .collect();
    let Ok(rated) = &rating.verdict else {
        return json!({ "rests_on": rests_on, "warnings": warnings });
    };
    let changes = sensitivities(chain, &rating.entity, When::at(rating.at), methodology);
    let told =
        rationale(rated.grade, &rated.attribution, &rated.uncertainty, &changes, methodology);
    rests_on.extend(told.limits);
    rests_on.extend(rating.lrt.iter().flat_map(|lrt| exit_sentences(lrt)));
    json!({
        "summary": told.headline,
        "warnings": warnings,
        "drivers": told.drivers,
        "raise": told.raises,
        "lower": told.lowers,
        "rests_on": rests_on,
    })
}

const fn basis_sentence(basis: Basis) -> &'static str {
    match basis {
        Basis::Members => {
            "The set's members and their slashable stake are in the log; they are weighted by it."
        }
        Basis::Intrinsic => {
            "The log holds no members with slashable stake of known value: this is the set's \
             intrinsic rating, with a benchmark operator."
        }
        Basis::WorstSet => "The AVS has the rating of its worst operator set.",
        Basis::OneStrategy => "All of the operator's allocations are in one strategy.",
        Basis::WorstStrategy => {
            "No price of a strategy is recorded, so the operator has the rating of its worst \
             strategy."
        }
        Basis::Nothing => "No allocation of it is in the log.",
        Basis::LookThrough => {
            "The token is looked through to the operators that its contracts delegate to and the \
             operator sets that can slash them."
        }
    }
}

async fn read_checkpoint(
    connection: &mut PgConnection,
    methodology: B256,
) -> Result<Option<Checkpoint>, RaterError> {
    type Row = (i64, i64, Vec<u8>, i32, Vec<u8>);
    let row: Option<Row> = sqlx::query_as(
        "SELECT storage_position, canonical_position, canonical_hash, revision, methodology_hash
         FROM read_model.checkpoint",
    )
    .fetch_optional(connection)
    .await?;
    let Some((storage, position, hash, revision, found)) = row else { return Ok(None) };
    if found != methodology.as_slice() {
        let found = B256::try_from(found.as_slice()).unwrap_or_default();
        return Err(RaterError::OtherMethodology { expected: methodology, found });
    }
    Ok(Some(Checkpoint {
        storage_position: storage.cast_unsigned(),
        head: CanonicalHead {
            position: position.cast_unsigned(),
            hash: B256::try_from(hash.as_slice()).unwrap_or_default(),
        },
        revision: revision.cast_unsigned(),
    }))
}

async fn write_checkpoint(
    connection: &mut PgConnection,
    checkpoint: Checkpoint,
    methodology: B256,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO read_model.checkpoint (storage_position, canonical_position, canonical_hash,
            revision, methodology_hash) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (only_row) DO UPDATE SET storage_position = excluded.storage_position,
            canonical_position = excluded.canonical_position,
            canonical_hash = excluded.canonical_hash, revision = excluded.revision,
            methodology_hash = excluded.methodology_hash, updated_at = now()",
    )
    .bind(checkpoint.storage_position.cast_signed())
    .bind(checkpoint.head.position.cast_signed())
    .bind(checkpoint.head.hash.as_slice())
    .bind(checkpoint.revision.cast_signed())
    .bind(methodology.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// Copies where ingestion stands to where the API may read it.
async fn write_chains(
    connection: &mut PgConnection,
    unmapped: &BTreeMap<ChainId, u64>,
) -> sqlx::Result<()> {
    let chain_ids: Vec<i64> = sqlx::query_scalar("SELECT chain_id FROM event_store.cursors")
        .fetch_all(&mut *connection)
        .await?;
    for chain_id in chain_ids {
        sqlx::query(
            "INSERT INTO read_model.chains
                (chain_id, head_number, finalized_number, finalized_time, unmapped_logs)
             SELECT c.chain_id, greatest(c.next_block - 1, c.finalized_number, 0),
                c.finalized_number, c.finalized_time, $2
             FROM event_store.cursors c WHERE c.chain_id = $1
             ON CONFLICT (chain_id) DO UPDATE SET head_number = excluded.head_number,
                finalized_number = excluded.finalized_number,
                finalized_time = excluded.finalized_time,
                unmapped_logs = excluded.unmapped_logs, updated_at = now()",
        )
        .bind(chain_id)
        .bind(unmapped.get(&chain_id.cast_unsigned()).copied().unwrap_or(0).cast_signed())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Puts what is to be signed into the outbox.
async fn write_reports(
    connection: &mut PgConnection,
    reports: &[(RatedEntity, Word, u64)],
) -> sqlx::Result<()> {
    for reports in reports.chunks(REPORTS_PER_STATEMENT) {
        let (mut keys, mut seqs) = (Vec::new(), Vec::new());
        let (mut words, mut positions) = (Vec::new(), Vec::new());
        for (entity, word, position) in reports {
            keys.push(entity.key().to_vec());
            seqs.push(i64::from(word.fields().seq));
            words.push(word.pack().to_be_bytes_vec());
            positions.push(position.cast_signed());
        }
        sqlx::query(
            "INSERT INTO outbox.reports (entity_key, seq, word, canonical_position)
             SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bigint[])
             ON CONFLICT DO NOTHING",
        )
        .bind(keys)
        .bind(seqs)
        .bind(words)
        .bind(positions)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
