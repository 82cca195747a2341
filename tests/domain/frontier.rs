//! Vector V13 and the certificates of the frontier.

use std::collections::BTreeMap;

use assay_domain::frontier::{
    Certificate, FrontierError, Group, PositionBlock, PositionOutcome, Problem, Scenario, input,
    scenarios,
};
use assay_domain::loss::{BlockId, Factor, Hazard, Probability};
use assay_domain::ratio::{self, Ratio};
use proptest::prelude::*;
use serde_json::{Value, json};

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
fn few_courses_are_kept_as_they_are() {
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
    let found = scenarios(&blocks, Factor::Off, 2).unwrap();
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
    let gamma = scenarios(&blocks, Factor::GammaUnitVariance, 2).unwrap();
    assert_eq!(ratio::sum(gamma.iter().map(|s| s.probability)).unwrap(), Ratio::ONE);
    assert!(scenarios(&blocks, Factor::Off, 3).is_err());
}

/// Operators of two sets each, with a block of their own, and one of each set for all: a million
/// courses and more.
fn many() -> Vec<serde_json::Value> {
    let name = |operator: usize, set: usize| format!("O{operator}|S{set}");
    let own = (0..12).map(|operator| {
        let deep = json!({ name(operator, 0): 9_000 - 300 * operator, name(operator, 1): 1_000 });
        let shallow = json!({ name(operator, 0): 150 + 7 * operator, name(operator, 1): 90 });
        json!({ "id": format!("C1|{operator}"), "lam": "0.06", "beta": "0.3", "outcomes": [
            { "probability": "0.3", "losses_bp": deep },
            { "probability": "0.7", "losses_bp": shallow }] })
    });
    let of_set = (0..2).map(|set| {
        let all: BTreeMap<_, _> = (0..12).map(|operator| (name(operator, set), 2_000)).collect();
        json!({ "id": format!("C3|{set}"), "lam": "0.02", "beta": "0.5",
            "outcomes": [{ "probability": "1", "losses_bp": all }] })
    });
    own.chain(of_set).collect()
}

/// ζ + E[(L − ζ)⁺] / (1 − β) of weights in the scenarios, with ζ their value at risk.
fn tail_in_scenarios(problem: &Problem, weights: &[Ratio]) -> Ratio {
    let product = |(loss, weight): (&Ratio, &Ratio)| loss.times(*weight).unwrap();
    let loss = |one: &Scenario| ratio::sum(one.losses.iter().zip(weights).map(product)).unwrap();
    let mut losses: Vec<_> =
        problem.scenarios().iter().map(|one| (loss(one), one.probability)).collect();
    losses.sort();
    let mut below = Ratio::ZERO;
    let at_risk = losses.iter().find(|(_, probability)| {
        below = below.plus(*probability).unwrap();
        below >= problem.level()
    });
    let at_risk = at_risk.unwrap().0;
    let over = |(loss, probability): &(Ratio, Ratio)| {
        loss.minus(at_risk).unwrap().max(Ratio::ZERO).times(*probability).unwrap()
    };
    let excess = ratio::sum(losses.iter().map(over)).unwrap();
    at_risk.plus(excess.over(Ratio::ONE.minus(problem.level()).unwrap()).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_weights_have_less_tail_risk_than_in_the_scenarios(
        parts in proptest::collection::vec(0_u32..100, 24),
        level in prop::sample::select(vec!["0.9", "0.95", "0.99"]),
    ) {
        let total = parts.iter().sum::<u32>() + 1;
        let positions = parts.iter().enumerate().map(|(index, part)| json!({
            "id": format!("O{}|S{}", index / 2, index % 2),
            "reward": "0.05", "cap": "1", "weight": format!("{part}/{total}"),
        }));
        let file = json!({
            "level": level,
            "positions": positions.collect::<Vec<_>>(),
            "blocks": many(),
            "hasCommonFactor": true,
        });
        let question = input::parse(&serde_json::to_vec(&file).unwrap()).unwrap();
        assert!(question.problem.scenarios().len() <= 1_500);
        let held = question.held.as_ref().unwrap();
        let at_least = tail_in_scenarios(&question.problem, held);
        let found = question.tail_risk(held).unwrap();
        prop_assert!(at_least <= found);
        // And not by much.
        prop_assert!(found.minus(at_least).unwrap() <= found.times(part("1/20")).unwrap(), "{found} {at_least}");
    }
}
