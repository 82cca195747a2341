//! Twenty made-up portfolios, the same everywhere, and a Monte Carlo of them that shares nothing
//! with the exact distribution but the blocks' numbers. Also used by `benches/`.

use assay_domain::loss::{Block, BlockId, Factor, Hazard, LossModel, Probability, Severity};

/// A random source that is the same everywhere (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, at most 1.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / 9_007_199_254_740_992.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Numbers of one block.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    per_year: f64,
    beta: f64,
    /// Losses in bp and the probability of this or an earlier one.
    losses: Vec<(u16, f64)>,
}

/// A portfolio: its exact model, and what the simulation draws from.
#[derive(Debug)]
pub(crate) struct Portfolio {
    /// The exact model.
    pub(crate) model: LossModel,
    /// What the simulation draws from.
    pub(crate) drafts: Vec<Draft>,
}

/// Portfolio number `number`: 4 to 12 blocks, rates of 0.1 % to 10 %, one to four losses each.
pub(crate) fn portfolio(number: u64) -> Portfolio {
    let mut random = Random(0xa55a_0000 + number);
    let count = 4 + random.below(9);
    let drafts: Vec<Draft> = (0..count).map(|_| draft(&mut random)).collect();
    let block = |(index, draft): (usize, &Draft)| {
        let mut before = 0.0;
        let losses = draft.losses.iter().map(|(loss, until)| {
            let p = Probability::from_f64(until - before).unwrap();
            before = *until;
            (*loss, p)
        });
        let severity = Severity::new(losses.collect::<Vec<_>>()).unwrap();
        let hazard = Hazard::Rate { per_year: draft.per_year };
        Block::new(BlockId::new(format!("{index:02}")).unwrap(), hazard, draft.beta, severity)
            .unwrap()
    };
    let blocks = drafts.iter().enumerate().map(block).collect();
    Portfolio { model: LossModel::new(blocks, Factor::GammaUnitVariance).unwrap(), drafts }
}

fn draft(random: &mut Random) -> Draft {
    // Quarters and powers of two, so that both sides have the very same numbers.
    let atoms = 1 + random.below(4);
    let mut cells: Vec<u16> = (0..atoms).map(|_| 1 + random.below(4_000) as u16).collect();
    cells.sort_unstable();
    cells.dedup();
    let count = cells.len();
    let share = 1.0 / 4.0;
    let losses = cells
        .into_iter()
        .enumerate()
        .map(|(i, cell)| (cell, if i + 1 == count { 1.0 } else { share * (i + 1) as f64 }))
        .collect();
    // Mostly small; products only, which every platform rounds alike.
    let small = random.uniform() * random.uniform();
    let per_year = 0.001 + 0.099 * small;
    Draft { per_year, beta: random.below(5) as f64 / 4.0, losses }
}

/// Estimates of a simulation with their standard errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    /// Mean loss, bp, and its standard error.
    pub(crate) mean: (f64, f64),
    /// P(loss > 100 bp), and its standard error.
    pub(crate) above: (f64, f64),
    /// E[(loss − v)⁺] in bp at the exact value at risk v of 99 %, and its standard error.
    pub(crate) excess: (f64, f64),
}

/// Draws years: a climate Z ~ Gamma(1, 1), which is the exponential, then each block by itself.
pub(crate) fn simulate(portfolio: &Portfolio, var: u16, draws: u64, seed: u64) -> Estimate {
    let mut random = Random(seed);
    let mut sums = [[0.0_f64; 2]; 3];
    for _ in 0..draws {
        let z = -random.uniform().ln();
        let mut loss = 0_u32;
        for draft in &portfolio.drafts {
            let rate = draft.per_year * ((1.0 - draft.beta) + draft.beta * z);
            if random.uniform() > (-rate).exp() {
                let at = random.uniform();
                let found = draft.losses.iter().find(|(_, until)| at <= *until);
                loss += u32::from(found.unwrap().0);
            }
        }
        let loss = f64::from(loss.min(10_000));
        let excess = (loss - f64::from(var)).max(0.0);
        for (sum, value) in sums.iter_mut().zip([loss, f64::from(loss > 100.0), excess]) {
            sum[0] += value;
            sum[1] += value * value;
        }
    }
    let count = draws as f64;
    let estimate = |[sum, squares]: [f64; 2]| {
        let mean = sum / count;
        (mean, ((squares / count - mean * mean) / count).sqrt())
    };
    Estimate { mean: estimate(sums[0]), above: estimate(sums[1]), excess: estimate(sums[2]) }
}

/// How many standard errors the exact figures are from the simulation's: mean, P(L > 1 %), excess.
pub(crate) fn distances(portfolio: &Portfolio, draws: u64, seed: u64) -> [f64; 3] {
    use assay_domain::loss::Level;
    let exact = portfolio.model.distribution();
    let float = |text: String| text.parse::<f64>().unwrap();
    let var = exact.value_at_risk(Level::P99);
    let found = simulate(portfolio, var, draws, seed);
    let mean = float(exact.expected_loss().to_string());
    let above = exact.probability_above(100).to_q127() as f64 / 2_f64.powi(127);
    let shortfall = float(exact.expected_shortfall(Level::P99).to_string());
    let excess = (shortfall - f64::from(var)) * 0.01;
    let distance = |exact: f64, (estimate, error): (f64, f64)| {
        if error == 0.0 && exact == estimate { 0.0 } else { (estimate - exact) / error }
    };
    [distance(mean, found.mean), distance(above, found.above), distance(excess, found.excess)]
}
