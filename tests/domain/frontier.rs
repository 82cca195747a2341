//! Vector V13 and the certificates of the frontier.

use assay_domain::decimal::Ppt;
use assay_domain::frontier::{
    Certificate, FrontierError, Group, PositionBlock, PositionOutcome, Problem, SCENARIOS_MAX,
    Scenario, scenarios,
};
use assay_domain::loss::{BlockId, Factor, Hazard, Probability};
use assay_domain::ratio::{self, Ratio};
use serde_json::Value;

use crate::vectors::vector;

fn exact(value: &Value) -> Ratio {
    value.as_str().unwrap().parse().unwrap()
}

fn list(value: &Value) -> Vec<Ratio> {
    value.as_array().unwrap().iter().map(exact).collect()
}

fn part(text: &str) -> Ratio {
    text.parse().unwrap()
}

fn v13(groups: Vec<Group>) -> Problem {
    let expected = vector("V13_cvar_frontier");
    let losses = expected["loss"].as_array().unwrap().iter().map(list);
    let scenarios = list(&expected["prob"]).into_iter().zip(losses);
    Problem::new(
        list(&expected["reward"]),
        list(&expected["cap"]),
        scenarios.map(|(probability, losses)| Scenario { probability, losses }).collect(),
        groups,
        exact(&expected["beta"]),
    )
    .unwrap()
}

#[test]
fn v13_cvar_frontier() {
    let expected = vector("V13_cvar_frontier");
    let problem = v13(Vec::new());
    for point in expected["frontier"].as_array().unwrap() {
        let (certificate, verified) = problem.solve(exact(&point["R"])).unwrap();
        assert_eq!(verified.risk, exact(&point["CVaR95_exact"]), "{point}");
        assert_eq!(verified.gap, Ratio::ZERO, "{point}");
        assert_eq!(certificate.weights, list(&point["w"]), "{point}");
        let close = |found: Ratio, stated: &Value| {
            let (found, stated) =
                (decimal(found), stated.as_str().unwrap().parse::<f64>().unwrap());
            assert!((found - stated).abs() <= 1e-15, "{found} {stated}");
        };
        close(verified.reward, &point["reward"]);
        let losses = expected["loss"].as_array().unwrap().iter().map(list);
        let expected_loss = losses.zip(list(&expected["prob"])).map(|(losses, p)| {
            let terms = losses.iter().zip(&certificate.weights).map(|(l, w)| l.times(*w).unwrap());
            ratio::sum(terms).unwrap().times(p).unwrap()
        });
        close(ratio::sum(expected_loss).unwrap(), &point["EL"]);
    }
}

fn decimal(ratio: Ratio) -> f64 {
    let parse = |text: String| text.parse::<f64>().unwrap();
    parse(ratio.numerator().to_string()) / parse(ratio.denominator().to_string())
}

#[test]
fn a_certificate_that_was_tampered_with_is_refused_or_proves_less() {
    let problem = v13(Vec::new());
    let required = part("3/100");
    let (good, verified) = problem.solve(required).unwrap();
    let refused = |change: fn(&mut Certificate)| {
        let mut bad = good.clone();
        change(&mut bad);
        problem.verify(required, &bad)
    };
    assert!(refused(|c| c.weights[0] = Ratio::ONE).is_err(), "above its cap");
    assert!(refused(|c| c.weights.swap(0, 2)).is_err(), "another sum or a broken cap");
    assert!(refused(|c| c.scenario_prices[0] = Ratio::ONE).is_err(), "prices sum to more than one");
    assert!(refused(|c| c.reward_price = part("-1")).is_err(), "a negative price");
    assert!(refused(|c| c.scenario_prices.truncate(1)).is_err(), "prices are missing");
    let weaker = refused(|c| c.budget_price = Ratio::ZERO).unwrap();
    assert!(weaker.bound < verified.bound && weaker.gap > Ratio::ZERO);
    let riskier = refused(|c| c.at_risk = part("1/2")).unwrap();
    assert!(riskier.risk > verified.risk);
}

#[test]
fn a_group_limit_costs_risk_and_its_price_proves_it() {
    let group = Group { positions: vec![1, 0, 1], limit: part("3/5") };
    let limited = v13(vec![group]);
    let required = part("3/100");
    let (certificate, verified) = limited.solve(required).unwrap();
    assert_eq!(verified.gap, Ratio::ZERO);
    assert!(certificate.group_prices[0] > Ratio::ZERO);
    assert!(verified.risk > v13(Vec::new()).solve(required).unwrap().1.risk);
}

#[test]
fn a_reward_nobody_earns_is_infeasible() {
    let found = v13(Vec::new()).solve(part("56/1000"));
    assert_eq!(found, Err(FrontierError::Infeasible { required: part("56/1000") }));
}

#[test]
fn the_sweep_runs_from_least_risk_to_most_reward() {
    let problem = v13(Vec::new());
    assert_eq!(problem.highest_reward().unwrap(), part("55/1000"));
    let points = problem.sweep(21).unwrap();
    assert_eq!(points.len(), 21);
    assert_eq!(points.last().unwrap().2.risk, part("41/200"));
    for pair in points.windows(2) {
        assert!(pair[0].2.risk <= pair[1].2.risk && pair[0].2.reward <= pair[1].2.reward);
        assert_eq!(pair[1].2.gap, Ratio::ZERO);
    }
    assert!(problem.sweep(1).is_err());
}

#[test]
fn scenarios_keep_all_mass_and_leave_the_rest_to_the_worst_case() {
    let block = |id: &str, p: &str, losses_bp: Vec<u16>| PositionBlock {
        id: BlockId::new(id).unwrap(),
        hazard: Hazard::Fixed(Probability::parse(p).unwrap()),
        beta: 0.0,
        outcomes: vec![PositionOutcome { probability: Probability::ONE, losses_bp }],
    };
    let blocks = [
        block("a", "0.5", vec![10, 0]),
        block("b", "0.25", vec![0, 20]),
        block("c", "0.125", vec![5_000, 9_990]),
    ];
    let (found, left) = scenarios(&blocks, Factor::Off, 2).unwrap();
    assert_eq!(left, Ppt::ZERO);
    let total = found.iter().map(|scenario| scenario.probability);
    assert_eq!(ratio::sum(total).unwrap(), Ratio::ONE);
    let probability = |losses: [&str; 2]| {
        let wanted: Vec<Ratio> = losses.map(part).to_vec();
        found.iter().find(|scenario| scenario.losses == wanted).unwrap().probability
    };
    assert_eq!(probability(["0", "0"]), part("21/64"));
    assert_eq!(probability(["1/1000", "0"]), part("21/64"));
    assert_eq!(probability(["1/1000", "2/1000"]), part("7/64"));
    // b and c: 20 and 9,990 bp are capped at all. a, b and c come together too.
    assert_eq!(probability(["1/2", "1"]), part("1/64"));
    assert_eq!(probability(["501/1000", "1"]), part("1/64"));
    let (gamma, _) = scenarios(&blocks, Factor::GammaUnitVariance, 2).unwrap();
    assert_eq!(ratio::sum(gamma.iter().map(|s| s.probability)).unwrap(), Ratio::ONE);
    assert!(scenarios(&blocks, Factor::Off, 3).is_err());

    // Sixteen coins with losses of their own have 65,536 courses: 1,500 are kept.
    let coin = |n: u16| block(&format!("coin {n}"), "0.5", vec![1 << n.min(12), n]);
    let coins: Vec<PositionBlock> = (0..16).map(coin).collect();
    let (kept, left) = scenarios(&coins, Factor::Off, 2).unwrap();
    assert_eq!(kept.len(), SCENARIOS_MAX + 1);
    assert_eq!(kept.last().unwrap().losses, [Ratio::ONE, Ratio::ONE]);
    assert_eq!(ratio::sum(kept.iter().map(|s| s.probability)).unwrap(), Ratio::ONE);
    assert!(left > Ppt(900_000_000_000), "{left}");
}
