//! What holds for every portfolio, and two independent checks of whole distributions.

use assay_domain::creditrisk::{Obligor, UnitDistribution};
use assay_domain::loss::{
    BasisPoints, Block, BlockId, Factor, Hazard, Level, LossDistribution, LossModel, Probability,
    Severity, input,
};
use proptest::prelude::*;

use crate::vectors::vector;

/// A portfolio before it is built, so that a test can make one part of it worse.
#[derive(Clone, Debug)]
struct Draft {
    hazard: f64,
    beta: f64,
    losses: Vec<(u16, u32)>,
}

fn severity(losses: &[(u16, u32)]) -> Severity {
    let total: u32 = losses.iter().map(|(_, weight)| weight).sum();
    let p = |weight: u32| Probability::from_f64(f64::from(weight) / f64::from(total)).unwrap();
    Severity::new(losses.iter().map(|(loss, weight)| (*loss, p(*weight)))).unwrap()
}

fn model(drafts: &[Draft], factor: Factor) -> LossModel {
    let block = |(i, draft): (usize, &Draft)| {
        let id = BlockId::new(format!("block {i:04}")).unwrap();
        let hazard = Hazard::Rate { per_year: draft.hazard };
        Block::new(id, hazard, draft.beta, severity(&draft.losses)).unwrap()
    };
    LossModel::new(drafts.iter().enumerate().map(block).collect(), factor).unwrap()
}

fn distribution(drafts: &[Draft]) -> LossDistribution {
    model(drafts, Factor::GammaUnitVariance).distribution()
}

fn drafts(hazard_max: f64, loss_max: u16) -> impl Strategy<Value = Vec<Draft>> {
    let losses = prop::collection::vec((1..=loss_max, 1_u32..100), 1..4);
    let draft = (0.0..hazard_max, 0.0..=1.0, losses).prop_map(|(hazard, beta, losses)| Draft {
        hazard,
        beta,
        losses,
    });
    prop::collection::vec(draft, 1..6)
}

fn float(value: impl ToString) -> f64 {
    value.to_string().parse().unwrap()
}

fn gap(a: BasisPoints, b: BasisPoints) -> f64 {
    float(a.minus(b).plus(b.minus(a)))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn mass_is_one_at_both_widths(drafts in drafts(2.0, 10_000)) {
        let found = distribution(&drafts);
        let total = found.losses().map(|(_, p)| p.to_q127()).sum::<u128>();
        prop_assert_eq!(total, 1 << 127);
        let published = found.to_q63();
        prop_assert_eq!(published.len(), 10_001);
        prop_assert_eq!(published.iter().map(|cell| u128::from(*cell)).sum::<u128>(), 1 << 63);
    }

    #[test]
    fn the_order_of_blocks_changes_no_bit(drafts in drafts(1.0, 10_000), seed: u64) {
        let blocks = model(&drafts, Factor::GammaUnitVariance).blocks().to_vec();
        let mut mixed = blocks.clone();
        let turn = usize::try_from(seed % 5).unwrap() % mixed.len();
        mixed.rotate_left(turn);
        mixed.reverse();
        let hash = |blocks| {
            LossModel::new(blocks, Factor::GammaUnitVariance).unwrap().distribution().hash()
        };
        prop_assert_eq!(hash(blocks), hash(mixed));
    }

    #[test]
    fn the_mean_is_the_sum_of_the_blocks(drafts in drafts(1.0, 2_000)) {
        // Five blocks of 2,000 bp at most never reach the cap. A share keeps 64 bits, so each step
        // moves the mean by a relative 2^-63 at most, and cells lose less than 1e-27 bp in all.
        let model = model(&drafts, Factor::GammaUnitVariance);
        let (found, sum) = (model.distribution().expected_loss(), model.expected_loss_uncapped());
        let blocks = f64::from(u32::try_from(drafts.len()).unwrap());
        prop_assert!(gap(found, sum) <= 1e-17 + blocks * float(sum) * 2.2e-19, "{found} {sum}");
    }

    #[test]
    fn nothing_that_is_worse_lowers_the_expected_loss(
        drafts in drafts(1.0, 9_000),
        which: usize,
        more in 1.0..3.0,
        further in 1_u16..1_000,
    ) {
        let before = distribution(&drafts).expected_loss().to_ppt();
        let index = which % drafts.len();
        let with = |change: &dyn Fn(&mut Draft)| {
            let mut worse = drafts.clone();
            change(&mut worse[index]);
            distribution(&worse).expected_loss().to_ppt()
        };
        prop_assert!(with(&|draft| draft.hazard *= more) >= before, "higher hazard");
        prop_assert!(
            with(&|draft| draft.losses.iter_mut().for_each(|(loss, _)| *loss += further)) >= before,
            "more exposure"
        );
        prop_assert!(
            with(&|draft| draft.losses.iter_mut().max().unwrap().1 += 50) >= before,
            "higher severity"
        );
        let mut another = drafts.clone();
        another.push(drafts[index].clone());
        prop_assert!(distribution(&another).expected_loss().to_ppt() >= before, "one block more");
    }

    #[test]
    fn contributions_sum_to_the_shortfall(drafts in drafts(3.0, 10_000)) {
        // Hazards up to 3 make blocks too probable to be divided out, and losses reach the cap.
        let model = model(&drafts, Factor::GammaUnitVariance);
        let found = model.distribution();
        for level in Level::ALL {
            let parts = model.shortfall_by_block(&found, level);
            let sum = parts.iter().fold(BasisPoints::ZERO, |sum, (_, part)| sum.plus(*part));
            let shortfall = found.expected_shortfall(level);
            prop_assert!(gap(sum, shortfall) < 1e-12, "{level:?}: {sum} {shortfall}");
        }
    }

    #[test]
    fn a_larger_tail_is_never_better(drafts in drafts(1.0, 10_000)) {
        let found = distribution(&drafts);
        let mut before = BasisPoints::ZERO;
        for level in Level::ALL {
            let shortfall = found.expected_shortfall(level);
            prop_assert!(shortfall >= BasisPoints::whole(found.value_at_risk(level)));
            prop_assert!(shortfall >= before && shortfall <= BasisPoints::whole(10_000));
            before = shortfall;
        }
    }
}

/// Steele and Vigna's `SplitMix64`, for draws that are the same on every run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform on (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Two distributions of the same hazards: here each block happens at most once, in `CreditRisk+` as
/// often as a Poisson variable says. Coupled draw by draw, they differ only if some block happens
/// twice, which given the climate has probability 1 − e^(−λu)(1 + λu) ≤ (λu)²/2. So cumulative
/// probabilities differ by at most Σ λ² E[u²]/2 = Σ λ² (1 + β²)/2, and `CreditRisk+` is never
/// lower.
#[test]
fn random_portfolios_agree_with_credit_risk_plus() {
    // A thousand take 13 s without optimisation, so a debug build takes the first two hundred.
    let slow = !cfg!(debug_assertions) || std::env::var_os("ASSAY_SLOW_TESTS").is_some();
    let portfolios = if slow { 1_000 } else { 200 };
    let mut draws = Draws(7);
    let mut closest: f64 = 0.0;
    for number in 0..portfolios {
        let drafts: Vec<Draft> = (0..=draws.below(5))
            .map(|_| Draft {
                hazard: 0.0005 + 0.03 * draws.unit(),
                beta: draws.unit(),
                losses: (0..=draws.below(2))
                    .map(|_| (100 * (1 + draws.below(30) as u16), 1 + draws.below(9) as u32))
                    .collect(),
            })
            .collect();
        let model = model(&drafts, Factor::GammaUnitVariance);
        let exact = model.distribution();
        let obligors = model.blocks().iter().flat_map(|block| {
            let Hazard::Rate { per_year } = block.hazard() else { unreachable!("only rates") };
            block.severity().losses().map(move |(loss, p)| Obligor {
                units: usize::from(loss / 100),
                rate: per_year * float(p),
                own_share: 1.0 - block.beta(),
                sector_shares: vec![(0, block.beta())],
            })
        });
        let poisson = UnitDistribution::credit_risk_plus(&obligors.collect::<Vec<_>>(), &[1.0], 99);
        let bound: f64 =
            drafts.iter().map(|d| d.hazard.powi(2) * (1.0 + d.beta.powi(2)) / 2.0).sum();
        let (mut mine, mut theirs) = (0.0, 0.0);
        for (loss, p) in (0_u16..).step_by(100).zip(poisson.probabilities()) {
            mine += float(exact.mass(loss));
            theirs += p;
            let difference = mine - theirs;
            assert!(difference >= -1e-12, "portfolio {number} at {loss} bp: {difference:e}");
            assert!(difference <= bound + 1e-12, "portfolio {number}: {difference:e} > {bound:e}");
            closest = closest.max(difference / bound);
        }
    }
    // The bound is no alibi: the difference comes near it.
    assert!(closest > 0.5, "{closest}");
}

/// Simulates V09 and compares what a simulation can tell, within five standard errors.
#[test]
fn a_simulation_of_v09_agrees_within_five_standard_errors() {
    let file = vector("V09_lrt_end_to_end").to_string();
    let model = input::parse(file.as_bytes()).unwrap();
    let exact = model.distribution();
    let blocks: Vec<_> = model
        .blocks()
        .iter()
        .map(|block| {
            let Hazard::Rate { per_year } = block.hazard() else { unreachable!("only rates") };
            let losses: Vec<_> =
                block.severity().losses().map(|(loss, p)| (f64::from(loss), float(p))).collect();
            (per_year, block.beta(), losses)
        })
        .collect();
    let at_risk = f64::from(exact.value_at_risk(Level::P99));
    let mut draws = Draws(20_261_122);
    let years = 200_000;
    let mut sums = [(0.0, 0.0); 4];
    for _ in 0..years {
        let climate = -draws.unit().ln();
        let mut loss = 0.0;
        for (rate, beta, losses) in &blocks {
            let p = -(-rate * ((1.0 - beta) + beta * climate)).exp_m1();
            if draws.unit() < p {
                let mut left = draws.unit();
                let hit = losses.iter().find(|(_, p)| {
                    left -= p;
                    left < 0.0
                });
                loss += hit.unwrap_or(&losses[0]).0;
            }
        }
        let loss = f64::min(loss, 10_000.0);
        let figures = [
            loss,
            f64::from(u8::from(loss > 100.0)),
            f64::from(u8::from(loss > at_risk)),
            (loss - at_risk).max(0.0),
        ];
        for ((sum, squares), figure) in sums.iter_mut().zip(figures) {
            *sum += figure;
            *squares += figure * figure;
        }
    }
    let stated = [
        float(exact.expected_loss()),
        float(exact.probability_above(100)),
        float(exact.probability_above(exact.value_at_risk(Level::P99))),
        float(exact.expected_loss_after(exact.value_at_risk(Level::P99))),
    ];
    for ((sum, squares), stated) in sums.into_iter().zip(stated) {
        let n = f64::from(years);
        let mean = sum / n;
        let error = ((squares / n - mean * mean) / n).sqrt();
        assert!((mean - stated).abs() <= 5.0 * error, "{mean} ± {error}, stated {stated}");
    }
}
