//! The exact distribution against a simulation, small; `benches/montecarlo.sh` has ten million
//! draws a portfolio. And the hashes of the distributions, which no build may change.

use crate::portfolios::{distances, portfolio};

#[test]
fn twenty_portfolios_are_within_the_errors_of_a_simulation() {
    let mut squares = 0.0;
    for number in 0..20 {
        for distance in distances(&portfolio(number), 40_000, 77 + number) {
            assert!(distance.abs() < 4.0, "portfolio {number}: {distance:.2} standard errors");
            squares += distance * distance;
        }
    }
    // Sixty squares of normal deviates: their mean is one, give or take 0.2.
    let mean = squares / 60.0;
    assert!((0.4..1.8).contains(&mean), "mean square {mean:.2}");
}

#[test]
fn a_wrong_rate_is_found() {
    let (right, wrong) = (portfolio(3), portfolio(4));
    let mixed = crate::portfolios::Portfolio { model: right.model, ..wrong };
    let found = distances(&mixed, 40_000, 5);
    assert!(found.iter().any(|distance| distance.abs() > 6.0), "{found:?}");
}

#[test]
fn the_hashes_of_the_distributions_are_those_of_every_build() {
    let golden = include_str!("../golden/pmf_hashes.txt");
    let found: String = (0..20)
        .map(|number| format!("{number} {}\n", portfolio(number).model.distribution().hash()))
        .collect();
    assert_eq!(found, golden, "benches/determinism.sh compares debug and release");
}
