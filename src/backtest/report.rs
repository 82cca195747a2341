//! How the forecasts did, in figures, and what the figures cannot show, in sentences.

use std::collections::BTreeMap;

use assay_domain::OperatorSetId;
use assay_domain::backtest::{
    Forecast, Interval, Outcome, Scores, bootstrap_accuracy_ratio, calibration, clopper_pearson,
    zero_event_bound,
};
use serde::Serialize;

use super::{Said, Walk, grade_name};

/// Samples of the bootstrap; the seeds are 1, 2, 3 and so on.
const SAMPLES: u64 = 400;

/// What is outside each interval: 5 %.
const ALPHA: f64 = 0.05;

/// Metrics of methodology §2.13, with what they can and cannot show.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What no figure here can show, in sentences.
    pub statements: Vec<String>,
    /// Forecasts whose year is over.
    pub forecasts: u32,
    /// Of these, followed by a significant loss.
    pub events: u32,
    /// Forecasts whose year is not over.
    pub open_forecasts: u32,
    /// AVSs among them: what is independent.
    pub clusters: usize,
    /// Brier score, its parts, and the rest; `None` without forecasts.
    pub scores: Option<ScoreFigures>,
    /// Observed over expected events.
    pub calibration: Option<CalibrationFigures>,
    /// Observed frequency by grade with exact intervals.
    pub by_grade: BTreeMap<String, GradeFigures>,
    /// Rating moves.
    pub stability: StabilityFigures,
    /// Grade to grade from month's end to month's end.
    pub transitions: Vec<(String, String, u32)>,
}

/// Figures of [`Scores`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the figures name themselves; see assay_domain::backtest")]
pub struct ScoreFigures {
    pub brier: String,
    pub reliability: String,
    pub resolution: String,
    pub uncertainty: String,
    pub skill: Option<String>,
    pub log_loss: f64,
    pub auc: Option<String>,
    pub accuracy_ratio: Option<String>,
    pub accuracy_ratio_95: Option<[f64; 2]>,
    pub hosmer_lemeshow: f64,
}

/// Figures of `calibration`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the figures name themselves; see assay_domain::backtest")]
pub struct CalibrationFigures {
    pub expected_events: f64,
    pub observed_over_expected: f64,
    pub interval_95: [f64; 2],
    pub interval_99: [f64; 2],
    pub deviance: f64,
}

/// One grade's forecasts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the figures name themselves; see assay_domain::backtest")]
pub struct GradeFigures {
    pub forecasts: u32,
    pub events: u32,
    pub frequency_95: [f64; 2],
}

/// How much ratings move.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the figures name themselves")]
pub struct StabilityFigures {
    pub moves: u32,
    pub large_moves: u32,
    pub notches_per_rated_year: f64,
}

impl Report {
    pub(super) fn new(walk: &Walk, scored: &[(OperatorSetId, Said, Outcome)], open: u32) -> Self {
        let forecasts: Vec<Forecast> = scored
            .iter()
            .map(|(_, said, outcome)| Forecast {
                probability_ppt: said.probability_ppt,
                outcome: *outcome,
            })
            .collect();
        let mut clusters: BTreeMap<_, Vec<Forecast>> = BTreeMap::new();
        let mut by_grade: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for ((set, said, outcome), forecast) in scored.iter().zip(&forecasts) {
            clusters.entry(set.avs).or_default().push(*forecast);
            let (count, lost) = by_grade.entry(grade_name(said.grade)).or_default();
            *count += 1;
            *lost += u32::from(*outcome == Outcome::Lost);
        }
        let count = u32::try_from(forecasts.len()).unwrap_or(u32::MAX);
        let lost = |forecast: &&Forecast| forecast.outcome == Outcome::Lost;
        let events = u32::try_from(forecasts.iter().filter(lost).count()).unwrap_or(u32::MAX);
        let expected: f64 =
            forecasts.iter().map(|forecast| forecast.probability_ppt as f64 / 1e12).sum();
        let groups: Vec<Vec<Forecast>> = clusters.into_values().collect();
        let hit = groups.iter().filter(|group| group.iter().any(|f| lost(&f))).count();
        let seeds: Vec<u64> = (1..=SAMPLES).collect();
        let bootstrap = bootstrap_accuracy_ratio(&groups, &seeds, ALPHA).ok().flatten();
        let rated_years = walk.rated_days as f64 / 365.25;
        Self {
            statements: statements(walk, count, events, open, groups.len(), hit, rated_years),
            forecasts: count,
            events,
            open_forecasts: open,
            clusters: groups.len(),
            scores: Scores::new(&forecasts).ok().map(|scores| figures(&scores, bootstrap)),
            calibration: (expected > 0.0).then(|| calibration_figures(events, expected)),
            by_grade: by_grade
                .into_iter()
                .map(|(grade, (forecasts, events))| {
                    let interval = clopper_pearson(events, forecasts, ALPHA);
                    let frequency_95 = [interval.lower, interval.upper];
                    (grade, GradeFigures { forecasts, events, frequency_95 })
                })
                .collect(),
            stability: StabilityFigures {
                moves: walk.moves,
                large_moves: walk.large_moves,
                notches_per_rated_year: walk.notches as f64 / rated_years.max(1.0 / 365.25),
            },
            transitions: walk
                .transitions
                .iter()
                .map(|((from, to), count)| (from.clone(), to.clone(), *count))
                .collect(),
        }
    }
}

/// What the figures can and cannot show.
fn statements(
    walk: &Walk,
    count: u32,
    events: u32,
    open: u32,
    clusters: usize,
    hit: usize,
    rated_years: f64,
) -> Vec<String> {
    let slashers: std::collections::BTreeSet<_> =
        walk.slashes.iter().map(|slash| slash.operator_set.avs).collect();
    let slashers = slashers.len();
    let mut said = vec![
        format!(
            "{} slashes of operator sets took something, {:.1} rated set-years were walked.",
            walk.slashes.len(),
            rated_years
        ),
        format!(
            "{count} forecasts at quarters' ends have their year behind them, {events} of them \
             were followed by a loss of at least 1 %; the year of {open} more is not over."
        ),
        format!(
            "They belong to {clusters} AVSs, of which {hit} lost: that is the number of \
             independent events. Below about 20 of them an accuracy ratio or a calibration test \
             says nothing. {slashers} AVSs slashed in all of this log."
        ),
        "The rate for a recipient that the AVS or its slasher controls (0.5 a year) was set with \
         these very slashes in view: in-sample, and only slashes after the methodology's adoption \
         test it."
            .to_owned(),
        "The outcome is an event of the set (1 % of an operator's stake), the forecast its \
         P(loss > 1 %), an upper bound from the blocks."
            .to_owned(),
        "Beacon-chain slashings with operator labels: n events = 0 in this log, no inference."
            .to_owned(),
    ];
    if walk.slashes.is_empty() {
        let bound = zero_event_bound(rated_years.max(1.0 / 365.25), ALPHA);
        said.push(format!("No event in {rated_years:.1} years bounds the rate by {bound:.2}."));
    }
    said
}

fn figures(scores: &Scores, bootstrap: Option<Interval>) -> ScoreFigures {
    let text = |ratio: assay_domain::ratio::Ratio| ratio.to_string();
    ScoreFigures {
        brier: text(scores.brier),
        reliability: text(scores.reliability),
        resolution: text(scores.resolution),
        uncertainty: text(scores.uncertainty),
        skill: scores.skill.map(text),
        log_loss: scores.log_loss,
        auc: scores.auc.map(text),
        accuracy_ratio: scores.accuracy_ratio.map(text),
        accuracy_ratio_95: bootstrap.map(|interval| [interval.lower, interval.upper]),
        hosmer_lemeshow: scores.hosmer_lemeshow,
    }
}

fn calibration_figures(events: u32, expected: f64) -> CalibrationFigures {
    let found = calibration(events, expected, ALPHA);
    let wider = calibration(events, expected, 0.01).interval;
    CalibrationFigures {
        expected_events: expected,
        observed_over_expected: found.ratio,
        interval_95: [found.interval.lower, found.interval.upper],
        interval_99: [wider.lower, wider.upper],
        deviance: found.deviance,
    }
}
