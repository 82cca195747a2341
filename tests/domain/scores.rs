//! Exact fractions, and what a backtest says of few events.

use assay_domain::backtest::{
    BacktestError, Forecast, Outcome, Scores, bootstrap_accuracy_ratio, calibration, garwood,
};
use assay_domain::ratio::{Ratio, RatioError};

#[test]
fn fractions_are_checked() {
    let part = |text: &str| text.parse::<Ratio>();
    assert_eq!(part("0.030").unwrap().to_string(), "3/100");
    assert_eq!(part("-6/4").unwrap().to_string(), "-3/2");
    assert_eq!(part("1/0"), Err(RatioError::DivisionByZero));
    assert_eq!(part("x"), Err(RatioError::NotARatio));
    assert!(part("-1/2").unwrap() < part("-1/3").unwrap());
    assert_eq!(part("1/8").unwrap().to_ppt(), Some(125_000_000_000));
    assert_eq!(part("-1/8").unwrap().to_ppt(), None);
    let mut tiny = part("1/3").unwrap();
    let fails = std::iter::repeat_with(|| tiny.times(tiny).map(|next| tiny = next)).take(9);
    assert!(fails.into_iter().any(|result| result == Err(RatioError::TooLong)));
}

#[test]
fn backtests_refuse_nonsense_and_say_little_of_few_events() {
    let forecast = |ppt, outcome| Forecast { probability_ppt: ppt, outcome };
    assert_eq!(Scores::new(&[]), Err(BacktestError::Count { found: 0 }));
    let above = [forecast(1_000_000_000_001, Outcome::Lost)];
    let found = 1_000_000_000_001;
    assert_eq!(Scores::new(&above), Err(BacktestError::Probability { index: 0, found }));
    let quiet = Scores::new(&[forecast(0, Outcome::Survived); 3]).unwrap();
    assert_eq!((quiet.auc, quiet.skill, quiet.log_loss), (None, None, 0.0));
    let wrong = Scores::new(&[forecast(0, Outcome::Lost)]).unwrap();
    assert_eq!(wrong.log_loss, f64::INFINITY);
    // Garwood for 3 events: tables give 0.6187 to 8.7673.
    let interval = garwood(3, 0.05);
    assert!((interval.lower - 0.618_672).abs() < 1e-6 && (interval.upper - 8.767_273).abs() < 1e-6);
    let calibration = calibration(3, 1.5, 0.05);
    assert_eq!(calibration.ratio, 2.0);
    assert!(calibration.interval.lower < 1.0 && calibration.interval.upper > 1.0);
    assert!((calibration.deviance - 2.0 * (3.0 * 2.0_f64.ln() - 1.5)).abs() < 1e-12);
    let cluster = |ppt, outcome| vec![forecast(ppt, outcome); 2];
    let clusters = [
        cluster(10_000_000_000, Outcome::Survived),
        cluster(20_000_000_000, Outcome::Lost),
        cluster(30_000_000_000, Outcome::Survived),
        cluster(90_000_000_000, Outcome::Lost),
    ];
    let seeds: Vec<u64> = (0..200).collect();
    let interval = bootstrap_accuracy_ratio(&clusters, &seeds, 0.1).unwrap().unwrap();
    assert!(interval.lower < 0.5 && interval.upper == 1.0, "{interval:?}");
    assert_eq!(bootstrap_accuracy_ratio(&clusters[..1], &seeds, 0.1), Ok(None));
}
