//! Rates to probabilities and back.

use assay_domain::decimal::{Atto, Ppt};
use assay_domain::grade::ExpectedLossPpt;
use assay_domain::hazard::{
    GammaRate, Slack, Tail, corruption_rate, log_normal_quantile, zero_event_upper_bound,
};
use proptest::prelude::*;

use crate::model_support::{atto, methodology, vector, within_1e12, within_a_ppt};

#[test]
fn v04_gamma_poisson_single() {
    let methodology = methodology();
    let prior = GammaRate::from(methodology.priors.c1);
    let fortnight = Atto::from_whole(14).saturating_div(methodology.clock.days_per_year);
    let v04 = vector("V04_gamma_poisson_single");
    for row in v04["rows"].as_array().unwrap() {
        let posterior = prior.posterior(atto(&row["n"]), atto(&row["X"]));
        assert_eq!(posterior.shape, atto(&row["shape"]));
        assert_eq!(posterior.rate, atto(&row["rate"]));
        within_1e12(posterior.mean(), &row["mean"]);
        within_a_ppt(posterior.predictive(Atto::ONE), &row["P_ge1_1y"]);
        within_a_ppt(posterior.predictive(fortnight), &row["P_ge1_14d"]);
        for (level, field) in [("0.05", "q05"), ("0.5", "q50"), ("0.95", "q95")] {
            within_1e12(posterior.quantile(level.parse().unwrap()), &row[field]);
        }
    }
    for row in v04["zero_event_bounds"].as_array().unwrap() {
        let bound = zero_event_upper_bound("0.95".parse().unwrap(), atto(&row["X"]));
        within_1e12(bound, &row["one_sided_95_upper_zero_events"]);
    }
}

#[test]
fn v10f_corruption_hazard() {
    let corruption = methodology().corruption;
    for (slack, rate) in vector("V10f_corruption_hazard").as_object().unwrap() {
        let (sign, digits) = match slack.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, slack.as_str()),
        };
        let slack = sign * i64::try_from(digits.parse::<Ppt>().unwrap().0).unwrap();
        within_1e12(corruption_rate(Some(Slack(slack)), &corruption), rate);
    }
    assert_eq!(corruption_rate(None, &corruption), "0.01".parse().unwrap());
}

#[test]
fn v18_log_normal_interval() {
    let methodology = methodology();
    let interval = &vector("V18_lrt_balance_sheet")["lognormal_EL_interval"];
    let mean = ExpectedLossPpt(atto(&interval["mean"]).to_ppt().0);
    let cv = atto(&interval["cv"]);
    let z = methodology.uncertainty.interval_z;
    let cases =
        [("q05", z, Tail::Lower), ("q50", Atto::ZERO, Tail::Upper), ("q95", z, Tail::Upper)];
    for (field, z, tail) in cases {
        let found = log_normal_quantile(mean, cv.saturating_mul(cv), z, tail);
        let expected: u64 = interval["q_ppt"][field].as_str().unwrap().parse().unwrap();
        assert!(found.0.abs_diff(expected) <= 1, "{field}: {found:?}, expected {expected}");
        let letters = interval["grades"][field].as_str().unwrap();
        assert_eq!(methodology.scale.grade(found).letters(), letters);
    }
}

#[test]
fn nothing_known_is_not_nothing_feared() {
    let no_prior = GammaRate { shape: Atto::ONE, rate: Atto::ZERO };
    assert_eq!(no_prior.predictive(Atto::ONE), Ppt::ONE);
    let impossible = GammaRate { shape: Atto::ZERO, rate: Atto::ONE };
    assert_eq!(impossible.predictive(Atto::ONE), Ppt::ZERO);
    assert_eq!(impossible.predictive(Atto::ZERO), Ppt::ZERO);
}

proptest! {
    #[test]
    fn a_higher_rate_or_longer_time_is_never_less_probable(
        shape in 1..10_000_u64, years in 1..100_000_u64, more in 0..10_000_u64,
    ) {
        let milli = |value: u64| Atto(u128::from(value) * 1_000_000_000_000_000);
        let base = GammaRate { shape: milli(shape), rate: milli(years) };
        let worse = base.posterior(milli(more), Atto::ZERO);
        prop_assert!(worse.predictive(Atto::ONE) >= base.predictive(Atto::ONE));
        let longer = Atto::ONE.saturating_add(milli(more));
        prop_assert!(base.predictive(longer) >= base.predictive(Atto::ONE));
        let quieter = base.posterior(Atto::ZERO, milli(more));
        prop_assert!(quieter.predictive(Atto::ONE) <= base.predictive(Atto::ONE));
    }

    #[test]
    fn less_slack_is_never_less_corruption(
        a in -2_000_000_000_000..2_000_000_000_000_i64,
        b in -2_000_000_000_000..2_000_000_000_000_i64,
    ) {
        let corruption = methodology().corruption;
        let rate = |slack| corruption_rate(Some(Slack(slack)), &corruption);
        prop_assert!(rate(a.min(b)) >= rate(a.max(b)));
    }
}
