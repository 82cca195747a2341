//! Scenarios played on the state of the log, for the query side, which sees no log.
//!
//! The log is folded up to the position that is asked about, without rating anybody, and the state
//! is kept for the next question. What is played is what `assay stress` plays.

use std::collections::VecDeque;
use std::sync::Arc;

use assay_domain::assess::When;
use assay_domain::assess::network::{RestakingNetwork, restaking_network};
use assay_domain::assess::positions::{Subject, book};
use assay_domain::canonical::CanonicalHead;
use assay_domain::decimal::Ppt;
use assay_domain::frontier::Terms;
use assay_domain::methodology::Methodology;
use assay_domain::rating::Rating;
use assay_domain::ratio::{self, Ratio};
use assay_domain::scenario::{Baseline, Effect, Scenario, ScenarioError, apply, effects};
use assay_domain::state::ChainState;
use assay_domain::{BlockRef, ChainId, Fact, RatedEntity};
use assay_graphql::{
    BoxFuture, FoundFrontier, FoundNetwork, FoundPoint, FrontierQuestion, Moment, Simulated,
    SimulationError, Simulator,
};
use tokio::sync::{Mutex, Semaphore};

use crate::event_store::EventStore;
use crate::rating::{Engine, Observer};
use crate::solver;

/// Questions under way or waiting: they are answered one at a time, and the next one is told to
/// come back.
const QUESTIONS_MAX: usize = 4;

/// States kept: the newest, and some that somebody looks back to. Each is as large as the rater's.
const STATES_MAX: usize = 3;

/// Results kept of each state.
const RESULTS_MAX: usize = 64;

/// Plays scenarios on a log.
#[derive(Debug, Clone)]
pub struct LogSimulator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: EventStore,
    methodology: Arc<Methodology>,
    known: Vec<Arc<Methodology>>,
    places: Arc<Semaphore>,
    states: Mutex<VecDeque<Stage>>,
}

/// The state at a position, and what was played on it.
#[derive(Debug)]
struct Stage {
    /// Canonical position, and how often ratings were made anew: positions mean the same within
    /// one revision.
    at: (u64, u32),
    chain_id: ChainId,
    chain: Arc<ChainState>,
    baseline: Arc<Baseline>,
    methodology: Arc<Methodology>,
    results: VecDeque<(Scenario, Arc<Vec<Effect>>)>,
    frontiers: VecDeque<(FrontierQuestion, Arc<FoundFrontier>)>,
    network: Option<Arc<RestakingNetwork>>,
}

/// Nobody is told of anything: only the state is wanted.
struct Silent;

impl Observer for Silent {
    fn fact_folded(&mut self, _: &Fact, _: &ChainState, _: CanonicalHead) {}
    fn rated(&mut self, _: &[Rating], _: &ChainState, _: &Methodology) {}
    fn block_ended(&mut self, _: ChainId, _: BlockRef, _: CanonicalHead) {}
}

impl LogSimulator {
    /// A simulator over a log, with the methodologies that the rater knows.
    pub fn new(
        store: EventStore,
        methodology: Arc<Methodology>,
        known: Vec<Arc<Methodology>>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(QUESTIONS_MAX));
        Self(Arc::new(Inner { store, methodology, known, places, states: Mutex::default() }))
    }

    /// Answers in a task of its own: what somebody gave up waiting for is there for the next who
    /// asks.
    fn under_way<T: Send + 'static>(
        &self,
        answering: impl Future<Output = Result<T, SimulationError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, SimulationError>> {
        let places = self.0.places.clone();
        Box::pin(async move {
            let place = places.try_acquire_owned().map_err(|_| SimulationError::Busy)?;
            let answering = tokio::spawn(async move {
                let done = answering.await;
                drop(place);
                done
            });
            answering.await.map_err(|_| SimulationError::Unavailable)?
        })
    }
}

impl Simulator for LogSimulator {
    fn play(
        &self,
        moment: Moment,
        scenarios: Vec<Scenario>,
    ) -> BoxFuture<'static, Result<Simulated, SimulationError>> {
        let inner = self.0.clone();
        self.under_way(async move { inner.play(moment, scenarios).await })
    }

    fn frontier(
        &self,
        moment: Moment,
        asked: FrontierQuestion,
    ) -> BoxFuture<'static, Result<Arc<FoundFrontier>, SimulationError>> {
        let inner = self.0.clone();
        self.under_way(async move { inner.frontier(moment, asked).await })
    }

    fn network(&self, moment: Moment) -> BoxFuture<'static, Result<FoundNetwork, SimulationError>> {
        let inner = self.0.clone();
        self.under_way(async move { inner.network(moment).await })
    }
}

impl Inner {
    async fn play(
        &self,
        moment: Moment,
        scenarios: Vec<Scenario>,
    ) -> Result<Simulated, SimulationError> {
        // Held to the end: one question at a time.
        let mut states = self.states.lock().await;
        let mut stage = self.stage(&mut states, moment).await?;
        let played = stage.play_all(scenarios).await;
        let (chain_id, methodology_hash) = (stage.chain_id, stage.methodology.hash());
        keep(&mut states, stage);
        Ok(Simulated { chain_id, methodology_hash, played: played? })
    }

    async fn frontier(
        &self,
        moment: Moment,
        asked: FrontierQuestion,
    ) -> Result<Arc<FoundFrontier>, SimulationError> {
        let mut states = self.states.lock().await;
        let mut stage = self.stage(&mut states, moment).await?;
        let found = stage.frontier(asked).await;
        keep(&mut states, stage);
        found
    }

    async fn network(&self, moment: Moment) -> Result<FoundNetwork, SimulationError> {
        let mut states = self.states.lock().await;
        let mut stage = self.stage(&mut states, moment).await?;
        let (chain_id, found) = (stage.chain_id, stage.network().await);
        keep(&mut states, stage);
        Ok((chain_id, found?))
    }

    /// The stage at a moment, taken from those kept or made anew.
    async fn stage(
        &self,
        states: &mut VecDeque<Stage>,
        moment: Moment,
    ) -> Result<Stage, SimulationError> {
        let at = (moment.position, moment.revision);
        let is_it = |stage: &Stage| {
            stage.at == at && moment.chain_id.is_none_or(|wanted| wanted == stage.chain_id)
        };
        match states.iter().position(is_it).and_then(|at| states.remove(at)) {
            Some(stage) => Ok(stage),
            None => self.fold(moment).await,
        }
    }

    /// The state at a position, by the log that the read model reflects.
    async fn fold(&self, moment: Moment) -> Result<Stage, SimulationError> {
        let away = |error: &dyn std::error::Error| {
            tracing::warn!(%error, "the log cannot be folded for a scenario");
            SimulationError::Unavailable
        };
        let end = moment.storage_position;
        let finalized = self.store.finalized_at(end).await.map_err(|error| away(&error))?;
        let messages = self.store.messages(0, end).await.map_err(|error| away(&error))?;
        let start = || {
            let seqs = std::collections::BTreeMap::<RatedEntity, u32>::new();
            let engine = Engine::new(self.methodology.clone(), finalized.clone(), &seqs, Silent);
            let mut engine = engine.for_state_at(moment.position);
            engine.know(&self.known);
            for message in &messages {
                engine.message(&message.fact);
            }
            engine
        };
        let apply = |engine: &mut Engine<Silent>, found: &crate::event_store::CanonicalFact| {
            engine.fact(&found.fact, &found.hash)
        };
        let folded = self.store.fold_canonical(Some(end), start, apply).await;
        let (mut engine, _) = folded.map_err(|error| away(&error))?;
        engine.finish().map_err(|error| away(&error))?;
        let methodology = engine.methodology().clone();
        let mut chains = engine.into_state().chains;
        let chain_id = match (moment.chain_id, chains.len()) {
            (Some(wanted), _) => wanted,
            (None, 1) => chains.keys().next().copied().ok_or(SimulationError::NoChain)?,
            (None, 0) => return Err(SimulationError::NoChain),
            (None, _) => return Err(SimulationError::SeveralChains),
        };
        let chain = Arc::new(chains.remove(&chain_id).ok_or(SimulationError::NoChain)?);
        let (of, by) = (chain.clone(), methodology.clone());
        let rating = tokio::task::spawn_blocking(move || Baseline::of(&of, chain_id, &by));
        let baseline = Arc::new(rating.await.map_err(|error| away(&error))?);
        let at = (moment.position, moment.revision);
        Ok(Stage {
            at,
            chain_id,
            chain,
            baseline,
            methodology,
            results: VecDeque::new(),
            frontiers: VecDeque::new(),
            network: None,
        })
    }
}

fn keep(states: &mut VecDeque<Stage>, stage: Stage) {
    states.push_front(stage);
    states.truncate(STATES_MAX);
}

impl Stage {
    async fn frontier(
        &mut self,
        asked: FrontierQuestion,
    ) -> Result<Arc<FoundFrontier>, SimulationError> {
        if let Some((_, found)) = self.frontiers.iter().find(|(of, _)| *of == asked) {
            return Ok(found.clone());
        }
        let (chain, methodology) = (self.chain.clone(), self.methodology.clone());
        let solving = tokio::task::spawn_blocking(move || solve(&chain, asked, &methodology));
        let solved = solving.await.map_err(|_| SimulationError::Unavailable)?;
        let found = Arc::new(solved.map_err(SimulationError::Refused)?);
        self.frontiers.push_front((asked, found.clone()));
        self.frontiers.truncate(RESULTS_MAX);
        Ok(found)
    }

    async fn network(&mut self) -> Result<Arc<RestakingNetwork>, SimulationError> {
        if let Some(found) = &self.network {
            return Ok(found.clone());
        }
        let (chain, methodology) = (self.chain.clone(), self.methodology.clone());
        let building = tokio::task::spawn_blocking(move || {
            restaking_network(&chain, When::newest(&chain), &methodology)
        });
        let found = Arc::new(building.await.map_err(|_| SimulationError::Unavailable)?);
        self.network = Some(found.clone());
        Ok(found)
    }

    async fn play_all(
        &mut self,
        scenarios: Vec<Scenario>,
    ) -> Result<Vec<(Scenario, Arc<Vec<Effect>>)>, SimulationError> {
        let mut played = Vec::new();
        for scenario in scenarios {
            let known = self.results.iter().find(|(of, _)| *of == scenario);
            let effects = match known {
                Some((_, effects)) => effects.clone(),
                None => self.play(&scenario).await?,
            };
            played.push((scenario, effects));
        }
        Ok(played)
    }

    async fn play(&mut self, scenario: &Scenario) -> Result<Arc<Vec<Effect>>, SimulationError> {
        let (chain, chain_id, baseline) =
            (self.chain.clone(), self.chain_id, self.baseline.clone());
        let (methodology, wanted) = (self.methodology.clone(), scenario.clone());
        let playing = tokio::task::spawn_blocking(move || {
            let stressed = apply(&chain, chain_id, &wanted, &methodology)?;
            Ok::<_, ScenarioError>(effects(&chain, &baseline, &stressed, &methodology))
        });
        let played = playing.await.map_err(|_| SimulationError::Unavailable)?;
        let effects = Arc::new(played.map_err(SimulationError::Scenario)?);
        self.results.push_front((scenario.clone(), effects.clone()));
        self.results.truncate(RESULTS_MAX);
        Ok(effects)
    }
}

/// What `assay frontier --of` solves. The error is a sentence.
fn solve(
    chain: &ChainState,
    asked: FrontierQuestion,
    methodology: &Methodology,
) -> Result<FoundFrontier, String> {
    let say = |error: &dyn std::error::Error| error.to_string();
    let subject = Subject::Entity(&asked.entity);
    let book = book(chain, subject, None, When::newest(chain), methodology);
    let book = book.map_err(|error| say(&error))?;
    let level = Ratio::new(asked.level.0.into(), Ppt::ONE.0.into()).map_err(|error| say(&error))?;
    // Prices of the whole are not asked.
    let none = Ratio::ZERO;
    let terms = Terms {
        level,
        points: asked.points,
        hurdle_rate: none,
        expense: none,
        exit_cost: none,
        oracle_lag_loss: none,
        opt_in: None,
    };
    let question = book.question(&terms).map_err(|error| say(&error))?;
    let ppt = |share: Ratio| Ppt(share.to_ppt().unwrap_or(0));
    // Where nothing is earned there is nothing to choose.
    let is_rewarded = question.rewards.iter().any(|reward| !reward.is_zero());
    let points = if is_rewarded {
        solver::sweep(&question).map_err(|error| say(&error))?
    } else {
        Vec::new()
    };
    let held = question.held.as_ref().map(|weights| {
        let earned = weights.iter().zip(&question.rewards).map(|(a, b)| a.times(*b));
        let earned = earned.collect::<Result<Vec<_>, _>>().and_then(ratio::sum);
        let earned = earned.map_err(|error| say(&error))?;
        let risk = question.tail_risk(weights).map_err(|error| say(&error))?;
        Ok::<_, String>((ppt(earned), ppt(risk)))
    });
    let count = book.positions.len();
    Ok(FoundFrontier {
        window: book.window.map(|window| (window.days, window.from, window.to)),
        points: points
            .into_iter()
            .map(|point| FoundPoint {
                reward: ppt(point.verified.reward),
                risk: ppt(point.risk),
                gap: ppt(point.gap),
                weights: point.certificate.weights.iter().take(count).copied().map(ppt).collect(),
            })
            .collect(),
        held: held.transpose()?,
        positions: book.positions,
    })
}
