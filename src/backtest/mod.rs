//! Walks the log forward: what was said before each slash, and how the forecasts did.
//!
//! The engine that rates a live log rates this one, so nothing later than a forecast can be in it.
//! What is measured is in `assay_domain::backtest`; what cannot be inferred is said in words.

mod report;
pub mod svg;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use assay_domain::backtest::Outcome;
use assay_domain::canonical::CanonicalHead;
use assay_domain::event::RatingActionKind;
use assay_domain::grade::Grade;
use assay_domain::methodology::Methodology;
use assay_domain::rating::Rating;
use assay_domain::state::ChainState;
use assay_domain::{
    BlockRef, ChainId, EntityKind, Event, Fact, OperatorId, OperatorSetId, RatedEntity,
};
use serde::Serialize;

use crate::event_store::EventStore;
use crate::rater::RaterError;
use crate::rating::{Engine, Observer};

pub use self::report::{CalibrationFigures, GradeFigures, Report, ScoreFigures, StabilityFigures};

/// Days before a slash at which it is asked what was said.
pub const DAYS_BEFORE: [u64; 4] = [90, 30, 7, 1];

const DAY: u64 = 86_400;

/// The horizon of a forecast.
const YEAR: u64 = 365 * DAY + DAY / 4;

/// Share of the stake that makes a slash a significant loss, 1e-18: 1 %.
const SIGNIFICANT_WAD: u64 = 10_000_000_000_000_000;

/// What was said of an entity at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Seconds since the Unix epoch.
    pub time: u64,
    /// The grade; `None`: not rated.
    pub grade: Option<Grade>,
    /// Expected loss of a year, ppt.
    pub expected_loss_ppt: u64,
    /// Probability of losing more than 1 % in a year, ppt.
    pub probability_ppt: u64,
    /// Whether the rating warned that slashes pay whoever can slash.
    pub is_warned: bool,
}

/// One slash, and what was said of the set that slashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlashRecord {
    /// Chain.
    pub chain_id: ChainId,
    /// Block.
    pub block: u64,
    /// Seconds since the Unix epoch.
    pub time: u64,
    /// Who was slashed.
    pub operator: OperatorId,
    /// By whom.
    #[serde(serialize_with = "as_text")]
    pub operator_set: OperatorSetId,
    /// Largest share of the operator's stake in a strategy, 1e-18.
    pub wad_slashed: u64,
    /// What was said so many days before; `None`: the set was not known then.
    pub said: BTreeMap<u64, Option<Said>>,
}

/// The rated population at a month's end: how many sets had each grade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MonthEnd {
    /// `2026-03`.
    pub month: String,
    /// Operator sets by grade; `NR` not rated.
    pub sets: BTreeMap<String, u32>,
    /// AVSs by grade.
    pub avss: BTreeMap<String, u32>,
    /// Operators by grade.
    pub operators: BTreeMap<String, u32>,
    /// Slashes in the month.
    pub slashes: u32,
}

/// All that the walk saw.
#[derive(Debug, Default)]
pub struct Walk {
    /// Every slash that took something.
    pub slashes: Vec<SlashRecord>,
    /// Every month's end.
    pub months: Vec<MonthEnd>,
    /// Forecasts of operator sets at quarters' ends.
    forecasts: Vec<(OperatorSetId, Said)>,
    /// Time of the first and the last entry.
    first: u64,
    last: u64,
    current: BTreeMap<RatedEntity, Said>,
    /// The last 91 days of each set.
    recent: BTreeMap<RatedEntity, VecDeque<Said>>,
    month: Option<(i16, i8)>,
    slashes_in_month: u32,
    /// Grade to grade at months' ends, of operator sets.
    transitions: BTreeMap<(String, String), u32>,
    at_last_month: BTreeMap<RatedEntity, String>,
    /// Notches moved in rating actions, moves of three and more, and rated days.
    notches: u64,
    moves: u32,
    large_moves: u32,
    rated_days: u64,
}

fn as_text<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Folds and rates the whole log of a store.
pub async fn walk(store: &EventStore, methodology: Arc<Methodology>) -> Result<Walk, RaterError> {
    let end = store.head().await?.position;
    let finalized = store.finalized_at(end).await?;
    let messages = store.messages(0, end).await?;
    let start = || {
        let seqs = BTreeMap::new();
        let mut engine =
            Engine::new(methodology.clone(), finalized.clone(), &seqs, Walk::default());
        for message in &messages {
            engine.message(&message.fact);
        }
        engine
    };
    let (mut engine, _) = store
        .fold_canonical(Some(end), start, |engine, found| engine.fact(&found.fact, &found.hash))
        .await?;
    engine.finish()?;
    let mut walk = engine.observer;
    walk.end_month();
    Ok(walk)
}

impl Observer for Walk {
    fn fact_folded(&mut self, fact: &Fact, _chain: &ChainState, _head: CanonicalHead) {
        self.advance(fact.block.timestamp);
        let Event::OperatorSlashed { operator, operator_set, wad_slashed, .. } = &fact.event else {
            return;
        };
        let worst = wad_slashed.iter().max().copied().unwrap_or_default();
        let wad_slashed = u64::try_from(worst).unwrap_or(u64::MAX);
        if wad_slashed == 0 {
            return;
        }
        self.slashes_in_month += 1;
        let time = fact.block.timestamp;
        let entity = RatedEntity::operator_set(fact.chain_id, *operator_set);
        let said = |days: u64| {
            let until = time.saturating_sub(days * DAY);
            let recent = self.recent.get(&entity)?;
            recent.iter().rev().find(|said| said.time <= until).copied()
        };
        self.slashes.push(SlashRecord {
            chain_id: fact.chain_id,
            block: fact.block.number,
            time,
            operator: *operator,
            operator_set: *operator_set,
            wad_slashed,
            said: DAYS_BEFORE.into_iter().map(|days| (days, said(days))).collect(),
        });
    }

    fn rated(&mut self, ratings: &[Rating], _chain: &ChainState, _methodology: &Methodology) {
        ratings.iter().for_each(|rating| self.note(rating));
    }

    fn block_ended(&mut self, _chain_id: ChainId, block: BlockRef, _head: CanonicalHead) {
        self.last = self.last.max(block.timestamp);
    }
}

impl Walk {
    fn note(&mut self, rating: &Rating) {
        self.advance(rating.at.timestamp);
        let rated = rating.verdict.as_ref().ok();
        let said = Said {
            time: rating.at.timestamp,
            grade: rated.map(|rated| rated.grade),
            expected_loss_ppt: rated.map_or(0, |rated| rated.profile.expected_loss().0),
            probability_ppt: rated.map_or(0, |rated| rated.loss_above_one_percent.0),
            is_warned: !rating.self_dealing.is_empty(),
        };
        if rating.entity.kind == EntityKind::OperatorSet {
            let recent = self.recent.entry(rating.entity).or_default();
            recent.push_back(said);
            // One more is kept, so that day 90 has an answer between two epochs.
            while recent.get(1).is_some_and(|next| next.time + 91 * DAY < said.time) {
                recent.pop_front();
            }
            let is_epoch_end = rating.at.number % 7_200 == 7_199;
            self.rated_days += u64::from(is_epoch_end && rated.is_some());
        }
        if let (Some(from), Some(to)) = (rating.from_grade, said.grade)
            && matches!(
                rating.action,
                Some(RatingActionKind::Upgraded | RatingActionKind::Downgraded)
            )
        {
            let moved = from.number().abs_diff(to.number());
            self.notches += u64::from(moved);
            self.moves += 1;
            self.large_moves += u32::from(moved >= 3);
        }
        self.current.insert(rating.entity, said);
    }

    /// Takes notice of a month that ended.
    fn advance(&mut self, time: u64) {
        if self.first == 0 {
            self.first = time;
        }
        self.last = self.last.max(time);
        let month = month_of(time);
        if self.month.is_some_and(|last| month > last) {
            self.end_month();
        }
        self.month = self.month.max(Some(month));
    }

    fn end_month(&mut self) {
        let Some((year, month)) = self.month else { return };
        let mut ended = MonthEnd {
            month: format!("{year:04}-{month:02}"),
            sets: BTreeMap::new(),
            avss: BTreeMap::new(),
            operators: BTreeMap::new(),
            slashes: std::mem::take(&mut self.slashes_in_month),
        };
        for (entity, said) in &self.current {
            let grade = grade_name(said.grade);
            let counts = match entity.kind {
                EntityKind::OperatorSet => &mut ended.sets,
                EntityKind::Avs => &mut ended.avss,
                EntityKind::Operator => &mut ended.operators,
                EntityKind::Lrt => continue,
            };
            *counts.entry(grade.clone()).or_default() += 1;
            if entity.kind != EntityKind::OperatorSet {
                continue;
            }
            if let Some(before) = self.at_last_month.insert(*entity, grade.clone()) {
                *self.transitions.entry((before, grade)).or_default() += 1;
            }
            // In default there is nothing left to forecast.
            if month % 3 == 0 && said.grade.is_some_and(|grade| grade != Grade::D) {
                let set = OperatorSetId {
                    avs: assay_domain::AvsId(entity.address),
                    id: entity.operator_set_id,
                };
                let time = end_of(year, month);
                self.forecasts.push((set, Said { time, ..*said }));
            }
        }
        self.months.push(ended);
    }

    /// What was said of everyone last.
    pub const fn current(&self) -> &BTreeMap<RatedEntity, Said> {
        &self.current
    }

    /// Scores the forecasts whose year is over.
    pub fn report(&self) -> Report {
        let mut scored: Vec<(OperatorSetId, Said, Outcome)> = Vec::new();
        let mut open = 0;
        for (set, said) in &self.forecasts {
            if said.time + YEAR > self.last {
                open += 1;
                continue;
            }
            let is_lost = self.slashes.iter().any(|slash| {
                slash.operator_set == *set
                    && slash.wad_slashed >= SIGNIFICANT_WAD
                    && slash.time > said.time
                    && slash.time <= said.time + YEAR
            });
            scored.push((*set, *said, if is_lost { Outcome::Lost } else { Outcome::Survived }));
        }
        Report::new(self, &scored, open)
    }
}

/// The grade's letters, or NR.
#[must_use]
pub fn grade_name(grade: Option<Grade>) -> String {
    grade.map_or("NR".to_owned(), |grade| grade.to_string())
}

/// Year and month of a time, UTC.
fn month_of(time: u64) -> (i16, i8) {
    let at = civil(time);
    (at.year(), at.month())
}

/// `2026-03-31`, UTC.
#[must_use]
pub fn date(time: u64) -> String {
    civil(time).date().to_string()
}

fn civil(time: u64) -> jiff::civil::DateTime {
    let second = i64::try_from(time).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(jiff::tz::TimeZone::UTC).datetime()
}

/// The first second after a month.
fn end_of(year: i16, month: i8) -> u64 {
    let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let first = jiff::civil::date(year, month, 1).to_zoned(jiff::tz::TimeZone::UTC);
    first.map_or(0, |first| u64::try_from(first.timestamp().as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    fn set(number: u8) -> OperatorSetId {
        let avs = assay_domain::AvsId(alloy::primitives::Address::repeat_byte(number));
        OperatorSetId { avs, id: 0 }
    }

    fn forecast(number: u8, time: u64, probability_ppt: u64) -> (OperatorSetId, Said) {
        let grade = Some(Grade::ALL[usize::from(number)]);
        let (expected_loss_ppt, is_warned) = (probability_ppt, false);
        (set(number), Said { time, grade, expected_loss_ppt, probability_ppt, is_warned })
    }

    fn slash(number: u8, time: u64, wad_slashed: u64) -> SlashRecord {
        SlashRecord {
            chain_id: 1,
            block: time,
            time,
            operator: OperatorId(alloy::primitives::Address::ZERO),
            operator_set: set(number),
            wad_slashed,
            said: BTreeMap::new(),
        }
    }

    #[test]
    fn a_forecast_is_scored_by_its_own_year_and_no_other() {
        let wad = 1_000_000_000_000_000_000;
        let walk = Walk {
            first: START,
            last: START + YEAR + 10 * DAY,
            forecasts: vec![
                forecast(1, START, 100_000_000_000),
                forecast(2, START, 500_000_000_000),
                forecast(3, START, 900_000_000_000),
                forecast(4, START, 900_000_000_000),
                forecast(3, START + 11 * DAY, 900_000_000_000),
            ],
            slashes: vec![
                // Before, within, after, and too small.
                slash(1, START, wad),
                slash(2, START + 1, wad / 100),
                slash(3, START + YEAR + 1, wad),
                slash(4, START + 5, wad / 101),
            ],
            ..Walk::default()
        };
        let report = walk.report();
        assert_eq!((report.forecasts, report.events, report.open_forecasts), (4, 1, 1));
        assert_eq!(report.clusters, 4);
        let scores = report.scores.unwrap();
        // (0.1² + 0.5² + 0.9² + 0.9²) / 4
        assert_eq!(scores.brier, "47/100");
        assert_eq!(scores.auc.as_deref(), Some("1/3"));
        let calibration = report.calibration.unwrap();
        assert!((calibration.expected_events - 2.4).abs() < 1e-12);
        assert_eq!(report.by_grade["AA+"].events, 0);
        assert_eq!(report.by_grade["AA"].events, 1);
    }

    #[test]
    fn the_picture_has_a_bar_for_each_grade_and_a_mark_for_slashes() {
        let month = |month: &str, slashes, sets: &[(&str, u32)]| MonthEnd {
            month: month.to_owned(),
            sets: sets.iter().map(|(grade, count)| ((*grade).to_owned(), *count)).collect(),
            avss: BTreeMap::new(),
            operators: BTreeMap::new(),
            slashes,
        };
        let months =
            [month("2026-01", 0, &[("AAA", 1)]), month("2026-02", 3, &[("AAA", 2), ("D", 1)])];
        let picture = svg::population(&months);
        assert_eq!(picture.matches("</title></rect>").count(), 3);
        assert!(picture.contains("font-weight=\"bold\">3</text>"));
        assert!(picture.trim_end().ends_with("</svg>"));
    }
}
