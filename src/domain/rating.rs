//! From opinion to rating: what is said, when it changes, and the word the contract stores.
//!
//! `Standing` is where an entity's rating stands; `Standing::rate` takes one assessment and returns
//! everything that follows from it. The caller decides nothing; it writes down.

use std::collections::{BTreeSet, VecDeque};

use alloy_primitives::B256;
use borsh::BorshSerialize;
use sha2::{Digest, Sha256};

use crate::assess::{Basis, Opinion};
use crate::attribution::Attribution;
use crate::block::BlockRef;
use crate::canonical::CanonicalHead;
use crate::cap::{Cap, CapReason, capped};
use crate::decimal::Ppt;
use crate::event::RatingActionKind;
use crate::grade::{ExpectedLossPpt, Grade, MilliNotch};
use crate::id::RatedEntity;
use crate::loss_block::LossProfile;
use crate::lrt::LrtOpinion;
use crate::methodology::Methodology;
use crate::surveillance::{
    GradeMove, Hysteresis, Outlook, Resolution, Watch, WatchTrigger, outlook, watch_step,
};
use crate::tail::{Tail, loss_above_one_percent, loss_model};
use crate::uncertainty::{NotRated, Uncertainty, not_rated, with_coverage_cap};
use crate::word::{Flags, Word, WordFields, WordOutOfRange, ppb_from_ppt};

/// Why a rating is made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// An epoch ended: every counter moves one day.
    EpochEnd,
    /// Something happened that does not wait for the epoch's end.
    Trigger,
}

/// Where an entity's rating stands.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    hysteresis: Option<Hysteresis>,
    watch: Option<Watch>,
    /// What happened in the epoch so far.
    triggers: BTreeSet<WatchTrigger>,
    /// Whether somebody resolved the watch in the epoch so far.
    is_resolved: bool,
    /// Projected grades of the last epochs, oldest first.
    projections: VecDeque<Grade>,
    said: Option<Said>,
    seq: u32,
    /// Hash of the last assessment that was reported.
    reported: Option<B256>,
}

/// What was said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    grade: Grade,
    score: MilliNotch,
    outlook: Outlook,
    is_watch_negative: bool,
    is_withdrawn: bool,
}

/// One assessment of one entity and all that follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rating {
    /// Who is rated.
    pub entity: RatedEntity,
    /// Hash of the methodology it was made with.
    pub methodology: B256,
    /// The block it was assessed at.
    pub at: BlockRef,
    /// The canonical log it rests on.
    pub head: CanonicalHead,
    /// The rating, or why there is none.
    pub verdict: Result<Rated, NotRated>,
    /// What it rests on.
    pub basis: Basis,
    /// Sets of the entity whose slashes pay the AVS itself, or whoever may slash.
    pub self_dealing: BTreeSet<u32>,
    /// What stands behind a liquid restaking token.
    pub lrt: Option<Box<LrtOpinion>>,
    /// What was done, if anything.
    pub action: Option<RatingActionKind>,
    /// The grade said before.
    pub from_grade: Option<Grade>,
    /// The word to sign and its counter, if this is an action or a heartbeat.
    pub report: Option<Word>,
    /// Hash over verdict, basis and warnings: equal where nothing but time has passed.
    pub assessment_hash: B256,
}

/// A rating.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize)]
pub struct Rated {
    /// The grade, after hysteresis and caps.
    pub grade: Grade,
    /// The score of today's figures, after caps.
    pub score: MilliNotch,
    /// Loss blocks.
    pub profile: LossProfile,
    /// The blocks' and caps' points.
    pub attribution: Attribution,
    /// Interval, coverage, sufficiency.
    pub uncertainty: Uncertainty,
    /// The conservative grade, after caps.
    pub conservative_grade: Grade,
    /// Whether it carries the suffix "(p)".
    pub is_provisional: bool,
    /// Where it is heading.
    pub outlook: Outlook,
    /// What put it on watch.
    pub watch: BTreeSet<WatchTrigger>,
    /// P(one-year loss > 1 %).
    pub loss_above_one_percent: Ppt,
    /// The whole distribution, of a liquid restaking token.
    pub tail: Option<Tail>,
}

/// What a rating is made from, besides where it stands.
#[derive(Debug)]
pub struct Assessed<'a> {
    /// Who.
    pub entity: RatedEntity,
    /// At which block.
    pub at: BlockRef,
    /// On which prefix of the canonical log.
    pub head: CanonicalHead,
    /// Why now.
    pub occasion: Occasion,
    /// What the log says.
    pub opinion: Opinion,
    /// What it would say at the end of the outlook's horizon.
    pub projected: &'a Opinion,
}

impl Standing {
    /// No rating yet, and a counter that goes on after `seq`.
    pub fn after(seq: u32) -> Self {
        Self { seq, ..Self::default() }
    }

    /// Notes something that opens a watch; the next rating shows it.
    pub fn note(&mut self, trigger: WatchTrigger) {
        self.triggers.insert(trigger);
    }

    /// Takes a trigger back; a watch that nothing else opened is over.
    pub fn withdraw(&mut self, trigger: WatchTrigger) {
        self.triggers.remove(&trigger);
        let is_over =
            |watch: &mut Watch| watch.triggers.remove(&trigger) && watch.triggers.is_empty();
        drop(self.watch.take_if(is_over));
    }

    /// Notes that somebody recorded that the reason for a watch is gone.
    pub const fn resolve(&mut self) {
        self.is_resolved = true;
    }

    /// Number of the last action or heartbeat.
    pub const fn seq(&self) -> u32 {
        self.seq
    }

    /// Makes a rating. An error means a bug in the model: a field that the contract would refuse.
    pub fn rate(
        &mut self,
        assessed: Assessed<'_>,
        methodology: &Methodology,
    ) -> Result<Rating, WordOutOfRange> {
        let before = self.said;
        let opinion = &assessed.opinion;
        let refusal = opinion
            .refusal
            .or_else(|| not_rated(&opinion.profile, methodology))
            .filter(|_| !opinion.is_default);
        if assessed.occasion == Occasion::EpochEnd {
            self.triggers.extend(&opinion.watch);
        }
        let verdict = match refusal {
            Some(reason) => Err(reason),
            None => Ok(self.rated(&assessed, methodology)),
        };
        if verdict.is_err() && assessed.occasion == Occasion::EpochEnd {
            self.triggers.clear();
        }
        let (action, said) = decide(before, verdict.as_ref().ok());
        self.said = said;
        let hash = hash_of(&assessed, &verdict);
        let report = self.report(&assessed, action, verdict.as_ref().ok(), hash, methodology)?;
        Ok(Rating {
            entity: assessed.entity,
            methodology: methodology.hash(),
            at: assessed.at,
            head: assessed.head,
            basis: assessed.opinion.basis,
            lrt: assessed.opinion.lrt,
            self_dealing: assessed.opinion.self_dealing,
            assessment_hash: hash,
            verdict,
            action,
            from_grade: before.map(|said| said.grade),
            report,
        })
    }

    fn rated(&mut self, assessed: &Assessed<'_>, methodology: &Methodology) -> Rated {
        let opinion = &assessed.opinion;
        let uncertainty = Uncertainty::of(&opinion.profile, methodology);
        let held = self.hold(assessed, methodology);
        let mut caps = with_coverage_cap(&opinion.caps, &opinion.profile, methodology);
        let tail = opinion.lrt.as_ref().and_then(|lrt| {
            let model = loss_model(&opinion.profile, Some(lrt.run), methodology);
            let reserve = lrt.first_loss.as_ref().map_or(0, |first_loss| first_loss.bp);
            Some(Tail::of(&model.ok()?, reserve))
        });
        if tail.as_ref().is_some_and(|tail| tail.shortfall_999() > Ppt(Ppt::ONE.0 / 2)) {
            caps.extend(Cap::of(CapReason::TailAboveHalf, methodology));
        }
        if held == Grade::D {
            caps.extend(Cap::of(CapReason::DefaultEvent, methodology));
        }
        let reserve = opinion.lrt.as_ref().and_then(|lrt| lrt.first_loss.as_ref());
        let attribution = Attribution::after(reserve, &opinion.profile, &caps, &methodology.scale);
        let grade = capped(held, &caps);
        let outlook = self.look_ahead(grade, assessed, methodology);
        self.watch(assessed, methodology);
        Rated {
            grade,
            score: attribution.score,
            conservative_grade: capped(uncertainty.conservative_grade, &caps).worse(grade),
            is_provisional: uncertainty.is_provisional(methodology),
            loss_above_one_percent: tail.as_ref().map_or_else(
                || loss_above_one_percent(&opinion.profile, methodology),
                |tail| tail.above_one_percent,
            ),
            tail,
            profile: opinion.profile.clone(),
            attribution,
            uncertainty,
            outlook,
            watch: self.watch.as_ref().map(|watch| watch.triggers.clone()).unwrap_or_default(),
        }
    }

    /// The grade held, before caps: slowly up, quickly down, at once to D.
    fn hold(&mut self, assessed: &Assessed<'_>, methodology: &Methodology) -> Grade {
        let expected_loss = assessed.opinion.profile.expected_loss();
        let raw = methodology.scale.grade(expected_loss);
        let now = self.hysteresis.unwrap_or(Hysteresis::assigned(raw));
        let next = if assessed.opinion.is_default {
            now.default_event().0
        } else if self.hysteresis.is_none() {
            now
        } else {
            let (next, moved) =
                now.step(expected_loss, &methodology.scale, &methodology.surveillance);
            let jumps = raw.notches_below(now.grade) >= methodology.surveillance.jump_notches;
            match (assessed.occasion, moved) {
                (Occasion::EpochEnd, _) => next,
                (Occasion::Trigger, Some(GradeMove::Downgraded { .. })) if jumps => next,
                (Occasion::Trigger, _) => now,
            }
        };
        self.hysteresis = Some(next);
        next.grade
    }

    fn look_ahead(
        &mut self,
        grade: Grade,
        assessed: &Assessed<'_>,
        methodology: &Methodology,
    ) -> Outlook {
        let projected = assessed.projected;
        let caps = with_coverage_cap(&projected.caps, &projected.profile, methodology);
        let model = methodology.scale.grade(projected.profile.expected_loss());
        let projected = if projected.is_default { Grade::D } else { capped(model, &caps) };
        let window = usize::from(methodology.surveillance.outlook_better_epochs);
        self.projections.push_back(projected);
        while self.projections.len() > window {
            self.projections.pop_front();
        }
        let found = outlook(grade, self.projections.make_contiguous(), &methodology.surveillance);
        if assessed.occasion == Occasion::Trigger {
            self.projections.pop_back();
        }
        if grade == Grade::D { Outlook::Stable } else { found }
    }

    fn watch(&mut self, assessed: &Assessed<'_>, methodology: &Methodology) {
        // The birth of a rating is no change of it.
        if self.said.is_none() {
            self.triggers.clear();
        }
        if assessed.occasion == Occasion::Trigger && self.triggers.is_empty() {
            return;
        }
        let (next, _) = watch_step(
            self.watch.take(),
            assessed.at.epoch(),
            &self.triggers,
            if self.is_resolved { Resolution::Recorded } else { Resolution::None },
            &methodology.surveillance,
        );
        self.watch = next;
        if assessed.occasion == Occasion::EpochEnd {
            self.is_resolved = false;
            self.triggers.clear();
        }
    }

    /// The word to sign: at an action, at any change a trigger brings, and at each epoch's end.
    fn report(
        &mut self,
        assessed: &Assessed<'_>,
        action: Option<RatingActionKind>,
        rated: Option<&Rated>,
        hash: B256,
        methodology: &Methodology,
    ) -> Result<Option<Word>, WordOutOfRange> {
        let Some(said) = self.said else { return Ok(None) };
        let is_news = assessed.occasion == Occasion::EpochEnd || self.reported != Some(hash);
        if action.is_none() && (said.is_withdrawn || !is_news) {
            return Ok(None);
        }
        self.seq = self.seq.saturating_add(1);
        self.reported = Some(hash);
        let expected_loss = rated
            .map_or(ExpectedLossPpt::ZERO, |rated| rated.profile.expected_loss())
            .0
            .min(Ppt::ONE.0);
        let above = rated.map_or(Ppt::ZERO, |rated| rated.loss_above_one_percent);
        Word::new(WordFields {
            as_of: assessed.at.timestamp,
            log_pos: assessed.head.position,
            seq: self.seq,
            model: methodology.model_id,
            flags: flags(&said),
            grade: said.grade.number(),
            score: said.score.0,
            pd: ppb_from_ppt("pd", above.0)?,
            el: ppb_from_ppt("el", expected_loss)?,
        })
        .map(Some)
    }
}

/// What to do, given what was said and what is found.
fn decide(before: Option<Said>, rated: Option<&Rated>) -> (Option<RatingActionKind>, Option<Said>) {
    let Some(rated) = rated else {
        return match before {
            Some(said) if !said.is_withdrawn => {
                (Some(RatingActionKind::Withdrawn), Some(Said { is_withdrawn: true, ..said }))
            }
            other => (None, other),
        };
    };
    let now = Said {
        grade: rated.grade,
        score: rated.score,
        outlook: rated.outlook,
        is_watch_negative: !rated.watch.is_empty(),
        is_withdrawn: false,
    };
    let action = match before {
        None => Some(RatingActionKind::Assigned),
        Some(said) if said.is_withdrawn => Some(RatingActionKind::Assigned),
        Some(said) if now.grade > said.grade => Some(RatingActionKind::Downgraded),
        Some(said) if now.grade < said.grade => Some(RatingActionKind::Upgraded),
        Some(said)
            if now.outlook != said.outlook || now.is_watch_negative != said.is_watch_negative =>
        {
            Some(RatingActionKind::Affirmed)
        }
        Some(_) => None,
    };
    (action, Some(now))
}

fn flags(said: &Said) -> Flags {
    let when = |applies: bool, flag: Flags| if applies { flag } else { Flags::default() };
    Flags::default()
        .with(when(said.is_watch_negative, Flags::WATCH_NEGATIVE))
        .with(when(said.grade == Grade::D, Flags::DEFAULTED))
        .with(when(said.is_withdrawn, Flags::WITHDRAWN))
}

fn hash_of(assessed: &Assessed<'_>, verdict: &Result<Rated, NotRated>) -> B256 {
    let mut bytes = Vec::with_capacity(1024);
    let about = (assessed.entity, assessed.opinion.basis, &assessed.opinion.self_dealing);
    // Writing to memory does not fail.
    let _infallible = about.serialize(&mut bytes);
    let _infallible = assessed.opinion.lrt.serialize(&mut bytes);
    let _infallible = match verdict {
        Ok(rated) => rated.serialize(&mut bytes),
        Err(reason) => reason.serialize(&mut bytes),
    };
    B256::from(<[u8; 32]>::from(Sha256::digest(&bytes)))
}
