//! The shell of the rating model: read the canonical log, fold it, rate, write down.
//!
//! No rule lives here. [`Engine`] takes the canonical log entry by entry and is the same for a live
//! node, an import and `assay verify`; only what happens to its ratings differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy::primitives::B256;
use assay_domain::assess::{self, When};
use assay_domain::attestation::{Message, counting_epoch};
use assay_domain::canonical::{CanonicalHead, Canonicalizer, EpochEnd};
use assay_domain::methodology::Methodology;
use assay_domain::rating::{Assessed, Occasion, Rating, Standing};
use assay_domain::state::{ChainState, CorruptHistory};
use assay_domain::surveillance::WatchTrigger;
use assay_domain::word::WordOutOfRange;
use assay_domain::{BlockRef, ChainId, Event, Fact, OperatorSetId, RatedEntity, State};
use rayon::prelude::*;

/// Ratings made and told at a time: each token's holds its distribution.
const RATED_AT_ONCE_MAX: usize = 256;

/// Fewer are done sooner than another core is woken.
const FOR_ALL_CORES_MIN: usize = 4;

/// Folding or rating failed. The store is corrupt or the model has a bug; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum RatingError {
    /// The log contradicts itself.
    #[error("the log contradicts itself; run `assay verify`")]
    Corrupt(#[from] CorruptHistory),
    /// The log adopted a methodology whose file is not here. Hand it over with `--methodology`.
    #[error("the log adopted methodology {hash}, whose file is not here: use --methodology FILE")]
    UnknownMethodology {
        /// sha256 of the file.
        hash: B256,
    },
    /// A rating does not fit the contract's word.
    #[error("the rating of {entity} at block {block} fits no word; please report this")]
    Word {
        /// Whose rating.
        entity: RatedEntity,
        /// At which block.
        block: u64,
        /// What does not fit.
        #[source]
        source: WordOutOfRange,
    },
}

/// Takes what the engine finds, in order.
pub trait Observer {
    /// A fact was folded.
    fn fact_folded(&mut self, fact: &Fact, chain: &ChainState, head: CanonicalHead);
    /// Entities were rated at one block. `chain` is the state they rest on.
    fn rated(&mut self, ratings: &[Rating], chain: &ChainState, methodology: &Methodology);
    /// A block's last entry, a fact or an epoch's end, and its ratings are done.
    fn block_ended(&mut self, chain_id: ChainId, block: BlockRef, head: CanonicalHead);
}

/// The fold and the ratings over it.
#[derive(Debug)]
pub struct Engine<O> {
    /// What it tells.
    pub observer: O,
    /// The one in force.
    methodology: Arc<Methodology>,
    /// Others that the log may adopt.
    known: Vec<Arc<Methodology>>,
    state: State,
    canonicalizer: Canonicalizer,
    /// Newest final block of each chain: epochs end up to there.
    finalized: BTreeMap<ChainId, u64>,
    standings: BTreeMap<RatedEntity, Standing>,
    open: Option<(ChainId, BlockRef)>,
    /// Whom the open block's events make us rate again.
    due: BTreeSet<RatedEntity>,
    /// Where to stop, when only the state there is wanted.
    state_at: Option<u64>,
    /// Signed messages by the epoch from whose end they count, then by kind and digest.
    messages: BTreeMap<(ChainId, u64), BTreeMap<(u8, B256), Fact>>,
}

impl<O: Observer> Engine<O> {
    /// An engine at the start of the log. `seqs` are counters to go on from after a restatement.
    pub fn new(
        methodology: Arc<Methodology>,
        finalized: BTreeMap<ChainId, u64>,
        seqs: &BTreeMap<RatedEntity, u32>,
        observer: O,
    ) -> Self {
        let standings = seqs.iter().map(|(entity, seq)| (*entity, Standing::after(*seq))).collect();
        Self {
            observer,
            state: State::default(),
            canonicalizer: Canonicalizer::new(methodology.clock.slot_seconds.clone()),
            known: vec![methodology.clone()],
            methodology,
            finalized,
            standings,
            open: None,
            due: BTreeSet::new(),
            state_at: None,
            messages: BTreeMap::new(),
        }
    }

    /// Folds up to a canonical position and rates nobody: the state there is what is wanted.
    /// An epoch's end and the messages behind it are one step.
    #[must_use]
    pub fn for_state_at(self, position: u64) -> Self {
        Self { state_at: Some(position), ..self }
    }

    fn is_there(&self) -> bool {
        self.state_at.is_some_and(|position| self.head().position >= position)
    }

    /// The methodology in force.
    pub const fn methodology(&self) -> &Arc<Methodology> {
        &self.methodology
    }

    /// The state, at the end of the fold.
    pub fn into_state(self) -> State {
        self.state
    }

    /// Makes further methodologies known, which the log may have adopted.
    pub fn know(&mut self, methodologies: &[Arc<Methodology>]) {
        self.known.extend(methodologies.iter().cloned());
    }

    /// Where the canonical log stands.
    pub const fn head(&self) -> CanonicalHead {
        self.canonicalizer.head()
    }

    /// Each entity's counter of actions and heartbeats.
    pub fn seqs(&self) -> BTreeMap<RatedEntity, u32> {
        self.standings.iter().map(|(entity, standing)| (*entity, standing.seq())).collect()
    }

    /// The state so far.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// More blocks became final.
    pub fn set_finalized(&mut self, finalized: BTreeMap<ChainId, u64>) {
        self.finalized = finalized;
    }

    /// Takes a signed message that will count from the end of some epoch. `false`, and no change,
    /// if that epoch has ended.
    pub fn message(&mut self, fact: &Fact) -> bool {
        let Some(signed) = Message::of_event(&fact.event) else { return true };
        let epoch = counting_epoch(signed.message.effective_block());
        if self.canonicalizer.open_epoch(fact.chain_id).is_some_and(|open| epoch < open) {
            return false;
        }
        let waiting = self.messages.entry((fact.chain_id, epoch)).or_default();
        waiting.insert((fact.event.tag(), signed.digest), fact.clone());
        true
    }

    /// Takes the next canonical fact, with the store's canonical hash up to it.
    pub fn fact(&mut self, fact: &Fact, hash: &B256) -> Result<(), RatingError> {
        let place = (fact.chain_id, fact.block);
        if self.open.is_some_and(|open| open != place) {
            self.close_block()?;
        }
        if self.open.is_none() {
            let until = fact.block.number;
            while !self.is_there()
                && let Some(end) = self.canonicalizer.next_epoch_end_before(fact.chain_id, until)
            {
                self.end_epoch(end)?;
            }
        }
        if self.is_there() {
            return Ok(());
        }
        self.open = Some(place);
        self.state.apply(fact)?;
        let head = self.canonicalizer.append(fact, hash.as_slice());
        if let Some(chain) = self.state.chains.get(&fact.chain_id) {
            self.observer.fact_folded(fact, chain, head);
        }
        self.note(fact);
        Ok(())
    }

    /// Rates what the last block and the epochs that ended since make due.
    pub fn finish(&mut self) -> Result<(), RatingError> {
        self.close_block()?;
        while !self.is_there()
            && let Some(end) = self.canonicalizer.next_final_epoch_end(&self.finalized)
        {
            self.end_epoch(end)?;
        }
        Ok(())
    }

    fn end_epoch(&mut self, end: EpochEnd) -> Result<(), RatingError> {
        self.fold_messages(end)?;
        self.note_timelocks(end);
        let Some(chain) = self.state.chains.get_mut(&end.chain_id) else { return Ok(()) };
        chain.end_epoch(end.block.epoch(), &self.methodology);
        let entities = chain.entities(end.chain_id);
        self.rate(entities, end.chain_id, end.block, Occasion::EpochEnd)?;
        self.observer.block_ended(end.chain_id, end.block, self.canonicalizer.head());
        Ok(())
    }

    /// A call that cannot run yet keeps whom it concerns on watch.
    fn note_timelocks(&mut self, end: EpochEnd) {
        let Some(chain) = self.state.chains.get(&end.chain_id) else { return };
        for entity in chain.held_by_timelocks(end.chain_id, end.block.timestamp) {
            self.standings.entry(entity).or_default().note(WatchTrigger::ChangeScheduled);
        }
    }

    /// Folds the messages that count from an epoch's end on.
    fn fold_messages(&mut self, end: EpochEnd) -> Result<(), RatingError> {
        let due = (end.chain_id, 0)..=(end.chain_id, end.block.epoch());
        let epochs: Vec<(ChainId, u64)> = self.messages.range(due).map(|(key, _)| *key).collect();
        let facts: BTreeMap<(u8, B256), Fact> =
            epochs.iter().filter_map(|key| self.messages.remove(key)).flatten().collect();
        let Some(chain) = self.state.chains.get_mut(&end.chain_id) else { return Ok(()) };
        let events: Vec<&Event> = facts.values().map(|fact| &fact.event).collect();
        let noticed = chain.fold_messages(&events, end.block.timestamp);
        for event in events {
            let Event::MethodologyAdopted(signed) = event else { continue };
            if chain.registry.entitled(event).is_ok() {
                let hash = signed.message.methodology;
                let found = self.known.iter().find(|known| known.hash() == hash);
                self.methodology = found.ok_or(RatingError::UnknownMethodology { hash })?.clone();
            }
        }
        for ((tag, digest), fact) in &facts {
            let head = self.canonicalizer.append_message(*tag, digest);
            let fact = Fact { block: end.block, ..fact.clone() };
            self.observer.fact_folded(&fact, chain, head);
        }
        let chain_id = end.chain_id;
        let lapsed = noticed.anti_slashers_lapsed.iter();
        for operator in lapsed {
            let entity = RatedEntity::operator(chain_id, *operator);
            self.standings.entry(entity).or_default().note(WatchTrigger::AntiSlasherLapsed);
        }
        for set in &noticed.rulesets_changed {
            let entities =
                [RatedEntity::operator_set(chain_id, *set), RatedEntity::avs(chain_id, set.avs)];
            for entity in entities {
                let standing = self.standings.entry(entity).or_default();
                standing.note(WatchTrigger::MetadataOrRulesetChanged);
            }
        }
        for entity in noticed.watches_resolved {
            self.standings.entry(entity).or_default().resolve();
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), RatingError> {
        let Some((chain_id, block)) = self.open.take() else { return Ok(()) };
        let due = std::mem::take(&mut self.due);
        self.rate(due, chain_id, block, Occasion::Trigger)?;
        self.observer.block_ended(chain_id, block, self.canonicalizer.head());
        Ok(())
    }

    /// Rates entities on all cores: each rests on the state and on its own standing alone, so
    /// neither their order nor the number of cores shows.
    fn rate(
        &mut self,
        entities: impl IntoIterator<Item = RatedEntity>,
        chain_id: ChainId,
        at: BlockRef,
        occasion: Occasion,
    ) -> Result<(), RatingError> {
        if self.state_at.is_some() {
            return Ok(());
        }
        let Some(chain) = self.state.chains.get(&chain_id) else { return Ok(()) };
        let methodology = &*self.methodology;
        let head = self.canonicalizer.head();
        let rate = |(entity, mut standing): (RatedEntity, Standing)| {
            let opinion = assess::assess(chain, &entity, When::at(at), methodology);
            let horizon = When::look_ahead(at, methodology);
            let projected = assess::assess(chain, &entity, horizon, methodology);
            let assessed = Assessed { entity, at, head, occasion, opinion, projected: &projected };
            let rating = standing
                .rate(assessed, methodology)
                .map_err(|source| RatingError::Word { entity, block: at.number, source })?;
            Ok((standing, rating))
        };
        let mut entities = entities.into_iter().peekable();
        while entities.peek().is_some() {
            let part = entities.by_ref().take(RATED_AT_ONCE_MAX);
            let part: Vec<(RatedEntity, Standing)> = part
                .map(|entity| (entity, self.standings.remove(&entity).unwrap_or_default()))
                .collect();
            let rated: Result<(Vec<Standing>, Vec<Rating>), RatingError> =
                on_all_cores(part, rate).into_iter().collect();
            let (standings, ratings) = rated?;
            let entities = ratings.iter().map(|rating| rating.entity);
            self.standings.extend(entities.zip(standings));
            self.observer.rated(&ratings, chain, methodology);
        }
        Ok(())
    }

    /// Notes whom an event makes due, and what it puts on watch.
    fn note(&mut self, fact: &Fact) {
        if !fact.event.is_trigger() {
            return;
        }
        let chain_id = fact.chain_id;
        let Some(chain) = self.state.chains.get(&chain_id) else { return };
        let subjects = fact.event.subjects();
        let mut concerned = BTreeSet::new();
        let concern = chain.concern_of(&fact.event);
        if fact.event.governed().is_some() && concern.is_none() {
            return;
        }
        let of_validator = chain.validator_slashing_of(fact).and_then(|found| found.operator);
        let operators = subjects.operator.into_iter().chain(of_validator);
        concerned.extend(operators.map(|id| RatedEntity::operator(chain_id, id)));
        concerned.extend(subjects.avs.map(|id| RatedEntity::avs(chain_id, id)));
        let of_avs = |set: &&OperatorSetId| Some(set.avs) == subjects.avs;
        // An incident moves every set of its AVS; any other event moves its own set alone.
        let sets: BTreeSet<OperatorSetId> = match fact.event {
            Event::OperatorSlashed { .. } | Event::AvsMetadataUriUpdated { .. } => {
                chain.operator_sets.keys().filter(of_avs).copied().collect()
            }
            _ if fact.event.governed().is_some() => chain.sets_concerned(&fact.event),
            _ => subjects.operator_set.into_iter().collect(),
        };
        concerned.extend(chain.dependents(chain_id, &sets));
        concerned.extend(subjects.lrt.map(|token| RatedEntity::lrt(chain_id, token)));
        concerned.extend(chain.lrts_with(chain_id, &concerned));
        let (trigger, tokens) = match concern {
            Some((trigger, tokens)) => (Some(trigger), tokens),
            None => (watch_trigger(&fact.event), Vec::new()),
        };
        concerned.extend(tokens.into_iter().map(|token| RatedEntity::lrt(chain_id, token)));
        if let (Some(trigger), Event::TimelockOperationCancelled { .. }) = (trigger, &fact.event) {
            let held = chain.held_by_timelocks(chain_id, 0);
            for entity in concerned.difference(&held) {
                self.standings.entry(*entity).or_default().withdraw(trigger);
            }
        } else if let Some(trigger) = trigger {
            for entity in &concerned {
                self.standings.entry(*entity).or_default().note(trigger);
            }
        }
        self.due.extend(concerned);
    }
}

/// What a function makes of each, in their order.
pub(crate) fn on_all_cores<T: Send, R: Send>(
    items: Vec<T>,
    make: impl Fn(T) -> R + Sync + Send,
) -> Vec<R> {
    match items.len() {
        0..FOR_ALL_CORES_MIN => items.into_iter().map(make).collect(),
        _ => items.into_par_iter().with_max_len(1).map(make).collect(),
    }
}

/// What an event puts on watch, if anything.
fn watch_trigger(event: &Event) -> Option<WatchTrigger> {
    match event {
        Event::SlasherUpdated { .. } | Event::SlasherMigrated { .. } => {
            Some(WatchTrigger::SlasherUpdated)
        }
        Event::OperatorSlashed { wad_slashed, .. } => {
            wad_slashed.iter().any(|wad| !wad.is_zero()).then_some(WatchTrigger::OperatorSlashed)
        }
        Event::StrategyAddedToOperatorSet { .. } => Some(WatchTrigger::StrategyAddedToOperatorSet),
        Event::AllocationDelaySet { .. } => Some(WatchTrigger::AllocationDelayBelowExit),
        Event::AvsMetadataUriUpdated { .. } => Some(WatchTrigger::MetadataOrRulesetChanged),
        Event::LrtNavGuardSet { .. } => Some(WatchTrigger::ValueGuard),
        Event::BeaconValidatorObserved { .. } => Some(WatchTrigger::ValidatorsSlashed),
        _ => None,
    }
}
