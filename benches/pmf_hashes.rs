//! Prints the hash of twenty exact loss distributions: run by `benches/determinism.sh` in a build
//! without optimisation and in one with, whose output must be the same.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

#[path = "../tests/domain/portfolios.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod portfolios;

fn main() {
    for number in 0..20 {
        println!("{number} {}", portfolios::portfolio(number).model.distribution().hash());
    }
}
