//! Vectors V03, V08, V10, V14, V17 and V18: benchmarks, networks, backtests and balance sheets.

use assay_domain::backtest::{
    Forecast, Outcome, Scores, clopper_pearson, transition_matrix, zero_event_bound,
};
use assay_domain::beacon::{Gwei, slashing_penalty};
use assay_domain::creditrisk::{Obligor, UnitDistribution};
use assay_domain::loss::{Level, Probability};
use assay_domain::network::{Network, Service, corruption_hazard, loss_bound};
use assay_domain::portfolio;
use assay_domain::ratio::Ratio;
use assay_domain::special;
use serde_json::Value;

use crate::vectors::{absolute, number, relative, vector};

const PMF: f64 = 1e-12;
const SHORTFALL: f64 = 1e-9;

fn ratio(value: &Value) -> Ratio {
    value.as_str().unwrap().parse().unwrap()
}

fn integer<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn v03_beacon_correlation_penalty() {
    let expected = vector("V03_beacon_correlation_penalty");
    let total = Gwei(integer(&expected["total_active_balance_gwei"]));
    for row in expected["rows"].as_array().unwrap() {
        let effective = Gwei(integer(&row["effective_balance_gwei"]));
        let slashed = Gwei(integer(&row["slashings_sum_gwei"]));
        let found = slashing_penalty(effective, slashed, total).unwrap();
        assert_eq!(found.initial.0, integer::<u64>(&row["initial_penalty_gwei"]), "{row}");
        assert_eq!(found.correlation.0, integer::<u64>(&row["correlation_penalty_gwei"]), "{row}");
        let share = Ratio::new(found.total.0.into(), effective.0.into()).unwrap();
        assert_eq!(share, short(&row["total_fraction_of_effective_balance"]), "{row}");
    }
    assert!(slashing_penalty(Gwei(32), Gwei(0), Gwei(999_999_999)).is_err());
}

/// A decimal that ends before its thirtieth digit, as a fraction.
fn short(value: &Value) -> Ratio {
    let text = value.as_str().unwrap();
    if text.contains('.') { text.trim_end_matches('0').parse().unwrap() } else { ratio(value) }
}

#[test]
fn v08a_creditriskplus_negative_binomial() {
    let expected = vector("V08a_creditriskplus_negative_binomial");
    let one = Obligor { units: 1, rate: 0.02, own_share: 0.0, sector_shares: vec![(0, 1.0)] };
    let found = UnitDistribution::credit_risk_plus(&vec![one; 10], &[1.0], 30);
    let stated = expected["pmf0_8"].as_array().unwrap();
    for (k, (mine, wanted)) in found.probabilities().iter().zip(stated).enumerate() {
        relative(&format!("V08a pmf {k}"), *mine, wanted, PMF);
    }
}

#[test]
fn v08b_creditriskplus_two_sector() {
    let expected = vector("V08b_creditriskplus_two_sector");
    let sectors: Vec<&String> = expected["sector_variance"].as_object().unwrap().keys().collect();
    let variances: Vec<f64> =
        sectors.iter().map(|name| number(&expected["sector_variance"][name.as_str()])).collect();
    let obligors = expected["obligors"].as_array().unwrap().iter().map(|row| Obligor {
        units: usize::try_from(row["units"].as_u64().unwrap()).unwrap(),
        rate: number(&row["lam"]),
        own_share: number(&row["w0"]),
        sector_shares: sectors
            .iter()
            .enumerate()
            .filter_map(|(i, name)| row["w"].get(name.as_str()).map(|w| (i, number(w))))
            .collect(),
    });
    let obligors: Vec<Obligor> = obligors.collect();
    let found = UnitDistribution::credit_risk_plus(&obligors, &variances, 120);
    let stated = expected["pmf0_12"].as_array().unwrap();
    for (k, (mine, wanted)) in found.probabilities().iter().zip(stated).enumerate() {
        relative(&format!("V08b pmf {k}"), *mine, wanted, PMF);
    }
    relative("V08b EL", found.mean(), &expected["EL"], PMF);
    relative("V08b variance", found.variance(), &expected["variance_closed_form"], PMF);
    assert_eq!(u64::try_from(found.value_at_risk(Level::P99)).ok(), expected["VaR99"].as_u64());
    assert_eq!(u64::try_from(found.value_at_risk(Level::P999)).ok(), expected["VaR999"].as_u64());
    absolute("V08b ES99", found.expected_shortfall(Level::P99), &expected["ES99"], SHORTFALL);
    absolute("V08b ES999", found.expected_shortfall(Level::P999), &expected["ES999"], SHORTFALL);
    let missing = 1.0 - found.probabilities().iter().sum::<f64>();
    assert!(missing.abs() < 1e-14, "truncated mass {missing:e}");
}

/// A network by names: validators with stakes, services with profit, threshold and validators.
fn network(stakes: &[(&str, &str)], services: &[(&str, &str, &[&str])]) -> Network {
    let index = |name: &str| stakes.iter().position(|(other, _)| *other == name).unwrap();
    let services = services.iter().map(|(profit, threshold, validators)| Service {
        profit: profit.parse().unwrap(),
        threshold: threshold.parse().unwrap(),
        validators: validators.iter().map(|name| index(name)).collect(),
    });
    let stakes = stakes.iter().map(|(_, stake)| stake.parse().unwrap()).collect();
    Network::new(stakes, services.collect()).unwrap()
}

fn named(sigma: &Value) -> Vec<(&str, &str)> {
    let pairs = sigma.as_object().unwrap().iter();
    pairs.map(|(name, stake)| (name.as_str(), stake.as_str().unwrap())).collect()
}

#[test]
fn v10a_dr_abstract_bound() {
    let expected = vector("V10a_DR_abstract");
    let bound = loss_bound(ratio(&expected["gamma"]), ratio(&expected["psi"])).unwrap();
    assert_eq!(bound, Some(ratio(&expected["bound_exact"])));
    assert_eq!(loss_bound(Ratio::ZERO, Ratio::ONE).unwrap(), None);
}

#[test]
fn v10b_dr_theorem_3_is_tight() {
    for eps in ["1/10000", "1/1000000"] {
        let expected = vector(&format!("V10b_DR_theorem3_tight_eps_{eps}"));
        let profit = expected["pi_x"].as_str().unwrap();
        let found = network(&named(&expected["sigma"]), &[(profit, "1", &["a", "b"])]);
        let (gamma, psi) = (found.slack().unwrap().unwrap(), "1/1000".parse().unwrap());
        assert_eq!(gamma, ratio(&expected["gamma_bruteforce"]));
        let lower = found.slack_lower_bound().unwrap();
        assert_eq!(lower, Some(ratio(&expected["gamma_eigenlayer"])));
        assert_eq!(found.worst_case_loss(psi).unwrap(), ratio(&expected["R_psi_exact"]));
        assert_eq!(loss_bound(gamma, psi).unwrap(), Some(ratio(&expected["bound"])));
    }
}

#[test]
fn v10c_dr_theorem_2_zero_slack() {
    let expected = vector("V10c_DR_theorem2_zero_slack");
    let found = network(&named(&expected["sigma"]), &[("1", "1", &["a", "b"])]);
    assert_eq!(found.slack().unwrap(), Some(Ratio::ZERO));
    let loss = |psi: &str| found.worst_case_loss(psi.parse().unwrap()).unwrap();
    assert_eq!(loss("1/100"), ratio(&expected["R_psi_at_1pct"]));
    assert_eq!(loss("1/200"), ratio(&expected["R_psi_at_half_pct"]));
}

#[test]
fn v10d_dr_theorem_6_triangle() {
    let expected = vector("V10d_DR_theorem6_triangle");
    let services: [(&str, &str, &[&str]); 3] =
        [("1", "1", &["a", "b"]), ("1", "1", &["b", "c"]), ("1", "1", &["c", "a"])];
    let found = network(&named(&expected["sigma"]), &services);
    assert_eq!(found.slack().unwrap(), Some(ratio(&expected["gamma_bruteforce"])));
    assert_eq!(found.slack_lower_bound().unwrap(), Some(ratio(&expected["gamma_eigenlayer"])));
    let shock = found.cascade(&[1, 2]).unwrap();
    let remaining: Ratio = expected["sigma"]["a"].as_str().unwrap().parse().unwrap();
    let share = shock.over(remaining).unwrap();
    assert_eq!(share, ratio(&expected["loss_of_coalition_xz_after_shock_bc"]));
}

#[test]
fn v10e_pooled_and_unique_stake() {
    let expected = vector("V10e_pooled_vs_unique_stake");
    let pooled = network(
        &[("v1", "100"), ("v2", "50")],
        &[("30", "2/3", &["v1", "v2"]), ("10", "1/2", &["v1"])],
    );
    let unique = network(
        &[("v1s1", "40"), ("v2s1", "50"), ("v1s2", "30")],
        &[("30", "2/3", &["v1s1", "v2s1"]), ("10", "1/2", &["v1s2"])],
    );
    for (name, found) in [("pooled", pooled), ("unique", unique)] {
        let wanted = &expected[name];
        assert_eq!(found.slack().unwrap(), Some(ratio(&wanted["gamma"])), "{name}");
        let lower = found.slack_lower_bound().unwrap();
        assert_eq!(lower, Some(ratio(&wanted["gamma_eigenlayer"])), "{name}");
    }
    let lower = ratio(&expected["unique"]["gamma_local_lower_bound"]);
    assert_eq!(lower, ratio(&expected["unique"]["gamma_eigenlayer"]));
}

#[test]
fn v10f_corruption_hazard() {
    for (slack, hazard) in vector("V10f_corruption_hazard").as_object().unwrap() {
        let found = corruption_hazard(slack.parse().unwrap());
        relative(&format!("V10f {slack}"), found, hazard, PMF);
    }
}

#[test]
fn v14_backtest() {
    let expected = vector("V14_backtest");
    let ppt = |p: &Value| ratio(p).to_ppt().unwrap();
    let outcome = |y: &Value| if y == 1 { Outcome::Lost } else { Outcome::Survived };
    let pairs = expected["p"].as_array().unwrap().iter().zip(expected["y"].as_array().unwrap());
    let forecasts: Vec<Forecast> =
        pairs.map(|(p, y)| Forecast { probability_ppt: ppt(p), outcome: outcome(y) }).collect();
    let found = Scores::new(&forecasts).unwrap();
    assert_eq!(found.brier, ratio(&expected["brier_exact"]));
    let parts = found.reliability.minus(found.resolution).unwrap();
    assert_eq!(parts.plus(found.uncertainty).unwrap(), found.brier, "Murphy's identity");
    for (mine, name) in [
        (found.reliability, "reliability"),
        (found.resolution, "resolution"),
        (found.uncertainty, "uncertainty"),
        (found.skill.unwrap(), "brier_skill_vs_base"),
    ] {
        relative(&format!("V14 {name}"), decimal(mine), &expected[name], PMF);
    }
    assert_eq!(found.auc, Some(ratio(&expected["auc_exact"])));
    assert_eq!(found.accuracy_ratio, Some(ratio(&expected["accuracy_ratio_exact"])));
    relative("V14 log loss", found.log_loss, &expected["log_loss"], PMF);
    let chi2 = &expected["hosmer_lemeshow_chi2"];
    relative("V14 Hosmer-Lemeshow", found.hosmer_lemeshow, chi2, PMF);
    for (name, ends) in expected["clopper_pearson_95"].as_object().unwrap() {
        let (events, trials) = name.split_once('/').unwrap();
        let found = clopper_pearson(events.parse().unwrap(), trials.parse().unwrap(), 0.05);
        relative(&format!("V14 Clopper-Pearson {name} lower"), found.lower, &ends[0], PMF);
        relative(&format!("V14 Clopper-Pearson {name} upper"), found.upper, &ends[1], PMF);
    }
    let counts = serde_json::from_value::<Vec<Vec<u64>>>(expected["transition_counts"].clone());
    let matrix = transition_matrix(&counts.unwrap()).unwrap();
    let text: Vec<Vec<String>> =
        matrix.iter().map(|row| row.iter().map(Ratio::to_string).collect()).collect();
    assert_eq!(serde_json::to_value(text).unwrap(), expected["cohort_transition_matrix"]);
}

#[test]
fn v04_zero_event_bounds() {
    for row in vector("V04_gamma_poisson_single")["zero_event_bounds"].as_array().unwrap() {
        let found = zero_event_bound(number(&row["X"]), 0.05);
        relative("V04 bound", found, &row["one_sided_95_upper_zero_events"], PMF);
    }
}

/// A fraction as a float, for comparison with a rounded decimal.
fn decimal(ratio: Ratio) -> f64 {
    let parse = |text: String| text.parse::<f64>().unwrap();
    parse(ratio.numerator().to_string()) / parse(ratio.denominator().to_string())
}

#[test]
fn v17_vasicek() {
    let expected = vector("V17_vasicek");
    let (p, severity) = (number(&expected["PD"]), number(&expected["LGD"]));
    let correlation = portfolio::basel_correlation(p);
    relative("V17 R", correlation, &expected["R"], PMF);
    let conditional = portfolio::conditional_probability(p, correlation, 0.999);
    relative("V17 conditional PD", conditional, &expected["cond_PD_999"], PMF);
    let capital = portfolio::basel_capital(p, severity);
    relative("V17 K", capital, &expected["K_no_maturity_adj"], PMF);
    let pool = &expected["finite_pool_n10_p2pct_rho20"];
    let found = portfolio::vasicek_pool(10, 0.02, 0.2).unwrap();
    for (k, (mine, wanted)) in
        found.probabilities().iter().zip(pool["pmf"].as_array().unwrap()).enumerate()
    {
        relative(&format!("V17 pmf {k}"), *mine, wanted, PMF);
    }
    // A default costs 1,000 bp.
    absolute("V17 EL", 1000.0 * found.mean(), &pool["EL"], 1e-8);
    for (level, name) in [(Level::P99, "99"), (Level::P999, "999")] {
        let at_risk = 1000 * u64::try_from(found.value_at_risk(level)).unwrap();
        assert_eq!(Some(at_risk), pool[format!("VaR{name}")].as_u64());
        // The vector states fifteen digits, the last of which is 1e-11.
        let shortfall = 1000.0 * found.expected_shortfall(level);
        absolute(&format!("V17 ES{name}"), shortfall, &pool[format!("ES{name}")], SHORTFALL);
    }
}

#[test]
fn v18_lrt_balance_sheet() {
    let expected = vector("V18_lrt_balance_sheet");
    let coverage =
        portfolio::reserve_coverage(Ratio::whole(1_003_250), Ratio::whole(1_005_000)).unwrap();
    assert_eq!(coverage, ratio(&expected["reserve_coverage_exact"]));
    let shortfall = portfolio::immediate_shortfall(coverage).unwrap();
    relative("V18 shortfall", decimal(shortfall), &expected["immediate_shortfall"], PMF);
    let run = &expected["stale_nav_run"];
    let (loss, redeemed) = (ratio(&run["loss"]), ratio(&run["redeemed_at_stale_nav"]));
    let found = portfolio::stale_price_loss(loss, redeemed).unwrap();
    assert_eq!(found, ratio(&run["remaining_holder_loss_exact"]));
    let probability = |text: &str| Probability::parse(text).unwrap();
    let reports = portfolio::reports_to_recognise(probability("0.05"), probability("0.0003"));
    assert_eq!(
        reports.map(u64::from),
        expected["reports_to_recognise_5pct_loss_at_3bp_cap"].as_u64()
    );
    let part = |text: &str| text.parse::<Ratio>().unwrap();
    let reward = |split| portfolio::yearly_reward(part("0.012"), part("90"), part(split)).unwrap();
    assert_eq!(reward("0"), short(&expected["reward"]["gross_apr"]));
    assert_eq!(reward("0.1"), short(&expected["reward"]["net_of_10pct_operator_split"]));
    let interval = &expected["lognormal_EL_interval"];
    relative("V18 sigma", special::lognormal_sigma(1.5), &interval["sigma_log"], PMF);
    for (name, p) in [("q05", 0.05), ("q50", 0.5), ("q95", 0.95)] {
        let found = portfolio::expected_loss_quantile_ppt(4_300_000_000, 1.5, p).unwrap();
        assert_eq!(found, integer::<u64>(&interval["q_ppt"][name]), "{name}");
    }
}
