//! The exact distribution of a portfolio of 500 blocks: its CPU time beside that of the bare
//! multiply-adds. `--portfolio` prints the blocks instead, for the simulation in `speed.py`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;
use std::hint::black_box;

use assay_domain::loss::kernel::{Reach, Step, Word, convolve};
use assay_domain::loss::{
    Block, BlockId, CELLS, Factor, Hazard, Level, LossModel, Probability, Severity,
};
use serde_json::{Value, json};

/// Operators, sets, and the sets that one operator serves.
const OPERATORS: u64 = 100;
const SETS: u64 = 20;
const SERVED: u64 = 3;
/// The least of so many runs counts: others only disturb.
const RUNS: usize = 5;
/// Times in a run: the clock of a thread moves in steps of some milliseconds.
const TIMES: u32 = 20;

/// What a block loses, as a share of its exposure in 1/1000, with its probability in 1/1000.
type Shape = &'static [(u64, u64)];

/// Signing fault, a set's logic, its keys, corruption, a validator incident.
const C1: Shape = &[(90, 300), (200, 300), (400, 300), (1_000, 100)];
const C3: Shape = &[(80, 300), (200, 250), (500, 200), (1_000, 250)];
const C4: Shape = &[(500, 100), (1_000, 900)];
const C5: Shape = &[(1_000, 1_000)];
const C6: Shape = &[(10, 700), (40, 300)];

/// One block before it is one.
struct Raw {
    id: String,
    per_year: f64,
    beta: f64,
    losses: BTreeMap<u16, u64>,
}

fn raw(id: String, per_year: f64, beta: f64, exposure_bp: u64, shape: Shape) -> Raw {
    let mut losses = BTreeMap::new();
    for (share, p) in shape {
        let loss = (exposure_bp * share).div_ceil(1_000).clamp(1, u64::from(CELLS));
        *losses.entry(loss as u16).or_default() += p;
    }
    Raw { id, per_year, beta, losses }
}

/// Positions of operators in sets as an LRT has them: some large, many small.
fn portfolio() -> Vec<Raw> {
    let mut blocks = Vec::new();
    let mut of_set = vec![0_u64; SETS as usize];
    for operator in 0..OPERATORS {
        // Shares of 1/(k + 12), scaled to about all of the net asset value.
        let stake = 4_400 / (operator + 12);
        let mut whole = 0;
        for place in 0..SERVED {
            let set = (operator * 7 + place * 5) % SETS;
            let exposure = (stake / 4).max(2);
            of_set[set as usize] += exposure;
            whole += exposure;
            blocks.push(raw(format!("C1|{operator:03}|{set:02}"), 0.0123, 0.3, exposure, C1));
        }
        blocks.push(raw(format!("C1w|{operator:03}"), 0.0092, 0.3, whole, C1));
        if operator < 40 {
            blocks.push(raw(format!("C6|{operator:03}"), 0.0154, 0.5, stake, C6));
        }
    }
    for (set, exposure) in of_set.into_iter().enumerate() {
        blocks.push(raw(format!("C3|{set:02}"), 0.0117, 0.5, exposure, C3));
        blocks.push(raw(format!("C4|{set:02}"), 0.005, 0.2, exposure, C4));
        blocks.push(raw(format!("C5|{set:02}"), 0.01, 0.7, exposure, C5));
    }
    blocks
}

fn model(blocks: &[Raw]) -> LossModel {
    let block = |raw: &Raw| {
        let losses =
            raw.losses.iter().map(|(loss, p)| (*loss, Probability::from_ppt(p * 1_000_000_000)));
        let severity = Severity::new(losses).expect("a severity");
        let hazard = Hazard::Rate { per_year: raw.per_year };
        let id = BlockId::new(raw.id.clone()).expect("an id");
        Block::new(id, hazard, raw.beta, severity).expect("a block")
    };
    LossModel::new(blocks.iter().map(block).collect(), Factor::GammaUnitVariance).expect("a model")
}

/// Nanoseconds that this thread has run so far.
fn cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|first| first.parse().ok()).expect("a number")
}

/// CPU seconds of one time, in the best of some runs.
fn seconds(mut work: impl FnMut()) -> f64 {
    let one = |_| {
        let before = cpu_nanoseconds();
        (0..TIMES).for_each(|_| work());
        cpu_nanoseconds() - before
    };
    let least = (0..RUNS).map(one).min().unwrap_or_default();
    least as f64 / 1e9 / f64::from(TIMES)
}

/// Cells that each event changes and how many sources each of them has, in the order of the fold.
fn work(model: &LossModel, factor: Factor) -> Vec<(usize, usize)> {
    let mut work = Vec::new();
    for node in factor.nodes() {
        let losses = model.blocks().iter().map(|block| block.losses_given(node.climate));
        let mut steps: Vec<(Step, usize)> =
            losses.map(|losses| (Step::new(losses.clone()), losses.count())).collect();
        steps.sort_by_key(|(step, _)| step.furthest());
        let mut cells = vec![0; usize::from(CELLS) + 1];
        cells[0] = <u128 as Word>::ONE;
        let mut reach = Reach::default();
        for (step, atoms) in steps {
            reach = convolve(&mut cells, reach, &step);
            // Every cell keeps a share of itself and receives one for each atom.
            work.push((reach.held + 1, atoms + 1));
        }
    }
    work
}

/// The same multiply-adds on cells of the same width, and nothing else: no rounding, no shift, no
/// cap, nothing written. Atoms of a block share a pass, as they do in the kernel.
fn multiply_adds(cells: &[u128], work: &[(usize, usize)]) -> u128 {
    let sum = |sum: u128, (held, sources): &(usize, usize)| {
        let share = black_box(0x1234_5678_9abc_def0_u64);
        // So that there are as many windows as cells.
        let window = &cells[..(held + sources - 1).min(cells.len())];
        sum.wrapping_add(match sources {
            2 => pass::<2>(window, share),
            3 => pass::<3>(window, share),
            4 => pass::<4>(window, share),
            _ => pass::<5>(window, share),
        })
    };
    work.iter().fold(0, sum)
}

#[inline(never)]
fn pass<const N: usize>(cells: &[u128], share: u64) -> u128 {
    let sources = cells.windows(N).map(|window| {
        let window: &[u128; N] = window.try_into().expect("as wide");
        u128::products(*window, [share; N])
    });
    sources.fold(0, u128::wrapping_add)
}

fn main() {
    let blocks = portfolio();
    if std::env::args().any(|argument| argument == "--portfolio") {
        let shown = |raw: &Raw| {
            let losses: Vec<Value> =
                raw.losses.iter().map(|(loss, p)| json!([loss, *p as f64 / 1_000.0])).collect();
            json!({ "lam": raw.per_year, "beta": raw.beta, "losses": losses })
        };
        println!("{}", json!(blocks.iter().map(shown).collect::<Vec<_>>()));
        return;
    }
    let model = model(&blocks);
    let exact = seconds(|| drop(black_box(model.distribution())));
    let distribution = model.distribution();
    let cells: Vec<u128> = (0..=CELLS).map(|cell| distribution.mass(cell).to_q127()).collect();
    let factor = Factor::GammaUnitVariance;
    let work = work(&model, factor);
    let count: usize = work.iter().map(|(held, sources)| held * sources).sum();
    let floor = seconds(|| {
        black_box(multiply_adds(black_box(&cells), &work));
    });
    let shortfall = distribution.expected_shortfall(Level::P999).to_ppt();
    println!(
        "{}",
        json!({
            "blocks": blocks.len(),
            "nodes": factor.nodes().len(),
            "multiplyAdds": count,
            "exactCpuSeconds": exact,
            "multiplyAddsCpuSeconds": floor,
            "ratioToMultiplyAdds": exact / floor,
            "expectedShortfall999Bp": shortfall as f64 / 1e8,
            "valueAtRisk999Bp": distribution.value_at_risk(Level::P999),
        })
    );
}
