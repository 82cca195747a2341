//! Vectors V07, V09 and V16: the loss distribution through the functions production uses.

use assay_domain::loss::kernel::{self, Reach, Step, Word};
use assay_domain::loss::report::LossReport;
use assay_domain::loss::{
    Block, BlockId, Factor, Hazard, Level, LossDistribution, LossModel, Probability, Severity,
    input,
};
use serde_json::{Map, Value, json};

use crate::vectors::{absolute, number, relative, vector};

/// Settled: probabilities and pmf figures, relative.
const PMF: f64 = 1e-12;
/// Settled: value at risk and expected shortfall, basis points.
const SHORTFALL_BP: f64 = 1e-9;
/// Settled: an expected loss within one part per trillion of exposure, in basis points.
const PPT_BP: f64 = 1e-8;

fn block(id: &str, p: &str, loss_bp: u16) -> Block {
    let hazard = Hazard::Fixed(Probability::parse(p).unwrap());
    Block::new(BlockId::new(id).unwrap(), hazard, 0.0, Severity::certain(loss_bp).unwrap()).unwrap()
}

fn independent(blocks: Vec<Block>) -> LossDistribution {
    LossModel::new(blocks, Factor::Off).unwrap().distribution()
}

/// Ten operators of 2 % a year.
fn ten(loss_bp: u16) -> Vec<Block> {
    (0..10).map(|i| block(&format!("operator {i}"), "0.02", loss_bp)).collect()
}

fn float(value: impl ToString) -> f64 {
    value.to_string().parse().unwrap()
}

/// The figures V07 states, in its names.
fn check(name: &str, found: &LossDistribution) {
    let expected = vector(name);
    absolute(&format!("{name} EL"), float(found.expected_loss()), &expected["EL"], PPT_BP);
    if let Some(sd) = expected.get("sd") {
        relative(&format!("{name} sd"), float(found.standard_deviation()), sd, PMF);
    }
    for (level, name_of) in [(Level::P95, "95"), (Level::P99, "99"), (Level::P999, "999")] {
        let at_risk = u64::from(found.value_at_risk(level));
        assert_eq!(Some(at_risk), expected[format!("VaR{name_of}")].as_u64(), "{name} {name_of}");
        let shortfall = &expected[format!("ES{name_of}")];
        let what = format!("{name} ES{name_of}");
        absolute(&what, float(found.expected_shortfall(level)), shortfall, SHORTFALL_BP);
    }
    relative(&format!("{name} PSL"), float(found.probability_above(100)), &expected["PSL"], PMF);
    if let Some(pmf) = expected.get("pmf").and_then(Value::as_object) {
        assert_eq!(found.losses().count(), pmf.len(), "no other loss is possible");
        for (loss, p) in pmf {
            let mass = float(found.mass(loss.parse().unwrap()));
            relative(&format!("{name} pmf {loss}"), mass, p, PMF);
        }
    }
}

#[test]
fn v07a_independent_binomial() {
    check("V07a_independent_binomial_lgd100", &independent(ten(1000)));
    check("V07a_independent_binomial_lgd50", &independent(ten(500)));
}

#[test]
fn v07b_comonotone() {
    check("V07b_comonotone_lgd100", &independent(vec![block("all", "0.02", 10_000)]));
    check("V07b_comonotone_lgd50", &independent(vec![block("all", "0.02", 5_000)]));
}

#[test]
fn v07c_common_shock_plus_independent() {
    let mut blocks = ten(250);
    blocks.push(block("shock", "0.005", 4000));
    check("V07c_common_shock_plus_independent", &independent(blocks));
}

#[test]
fn v07d_single_operator() {
    let expected = vector("V07d_single_operator");
    let found = independent(vec![block("operator", "0.0154", 2800)]);
    let share = |bp: f64| bp / 10_000.0;
    absolute("V07d EL", share(float(found.expected_loss())), &expected["EL"], 1e-12);
    assert_eq!(found.expected_loss().to_ppt(), 4_312_000_000);
    relative("V07d sd", share(float(found.standard_deviation())), &expected["sd"], PMF);
    let shortfall = share(float(found.expected_shortfall(Level::P99)));
    absolute("V07d ES99", shortfall, &expected["ES99"], SHORTFALL_BP / 10_000.0);
    assert_eq!(found.value_at_risk(Level::P99), 2800);
    assert_eq!(found.value_at_risk(Level::P95), 0);
}

#[test]
fn v16_fixed_point_q63() {
    let expected = vector("V16_fixed_point_Q1_63");
    let p: u64 = expected["p_q63"].as_str().unwrap().parse().unwrap();
    let mut cells = vec![0_u64; 11];
    cells[0] = <u64 as Word>::ONE;
    let mut reach = Reach::default();
    for _ in 0..10 {
        reach = kernel::convolve(&mut cells, reach, &Step::q63(p, 1));
    }
    let deficit = kernel::settle(&mut cells, reach.possible);
    assert_eq!(deficit, u128::from(expected["mass_deficit_ulps"].as_u64().unwrap()));
    let pmf: Vec<String> = cells.iter().map(u64::to_string).collect();
    assert_eq!(json!(pmf), expected["pmf_q63"]);
    assert_eq!(cells.iter().sum::<u64>(), 1 << 63);
    let mean: u128 = cells.iter().zip(0_u128..).map(|(&m, k)| u128::from(m) * k * 1000).sum();
    assert_eq!((mean >> 63).to_string(), expected["EL_bp_q63_floor"].as_str().unwrap());
}

#[test]
fn v09_lrt_end_to_end() {
    let expected = vector("V09_lrt_end_to_end");
    let found = report(expected);
    check_report("V09", &found, expected);
    for name in ["EL_uncapped_sum_of_blocks", "ES99_euler_sum"] {
        absolute(&format!("V09 {name}"), number(&found[name]), &expected[name], SHORTFALL_BP);
    }
    for (id, part) in expected["ES99_euler"].as_object().unwrap() {
        let mine = number(&found["ES99_euler"][id]);
        absolute(&format!("V09 ES99_euler {id}"), mine, part, SHORTFALL_BP);
    }
    for (reserve, loss) in expected["EL_after_first_loss_reserve_bp"].as_object().unwrap() {
        let mine = number(&found["EL_after_first_loss_reserve_bp"][reserve]);
        absolute(&format!("V09 EL after {reserve}"), mine, loss, PPT_BP);
    }
    let distribution = input::parse(&serde_json::to_vec(expected).unwrap()).unwrap().distribution();
    for (reserve, loss) in expected["EL_after_first_loss_reserve_bp"].as_object().unwrap() {
        let left = distribution.after(reserve.parse().unwrap());
        let mine = float(left.expected_loss());
        absolute(&format!("V09 what {reserve} leaves"), mine, loss, PPT_BP);
        let mass = left.losses().fold(Probability::ZERO, |sum, (_, p)| sum.plus(p));
        assert_eq!(mass, Probability::ONE);
    }
    let head = expected["pmf_head"].as_object().unwrap();
    assert_eq!(found["pmf_head"].as_object().unwrap().len(), head.len());
    for (loss, p) in head {
        relative(&format!("V09 pmf {loss}"), number(&found["pmf_head"][loss]), p, PMF);
    }
    let by_block = expected["EL_by_block"].as_array().unwrap();
    assert_eq!(found["EL_by_block"].as_array().unwrap().len(), by_block.len());
    for wanted in by_block {
        let mut all = found["EL_by_block"].as_array().unwrap().iter();
        let mine = all.find(|mine| mine["id"] == wanted["id"]).unwrap();
        let id = &wanted["id"];
        for name in ["p", "p_closed_form_continuous_gamma", "mean_loss_bp"] {
            relative(&format!("V09 {id} {name}"), number(&mine[name]), &wanted[name], PMF);
        }
        absolute(&format!("V09 {id} EL"), number(&mine["EL"]), &wanted["EL"], PPT_BP);
    }
}

/// The bits of the whole distribution. A machine on which this differs computes something else.
#[test]
fn v09_distribution_is_the_same_bits_everywhere() {
    let found = report(vector("V09_lrt_end_to_end"));
    let hash = "0x62902e011ef86948cc3eccc56daab89ad5e738b1cc8766048425d1ed0c95d467";
    assert_eq!(found["pmf_sha256"], hash);
}

#[test]
fn v09_with_the_factor_off() {
    let mut file = vector("V09_lrt_end_to_end").clone();
    file["factor"] = Value::Null;
    check_report("V09 factor off", &report(&file), &file["independent_factor_off"]);
}

#[test]
fn v09_without_common_shocks() {
    let file = vector("V09_lrt_end_to_end");
    let mut broken = file.clone();
    let blocks = file["blocks"].as_array().unwrap().iter();
    broken["blocks"] = blocks.flat_map(|block| per_position(block, &file["exposure_bp"])).collect();
    check_report("V09 naive", &report(&broken), &file["same_EL_no_common_shocks"]);
}

/// Breaks a shock into independent events of its positions, as a naive model would.
fn per_position(block: &Value, exposure_bp: &Value) -> Vec<Value> {
    let id = block["id"].as_str().unwrap();
    let (kind, name) = id.split_once('|').unwrap();
    let mut positions = Map::new();
    for (set, operators) in exposure_bp.as_object().unwrap() {
        for (operator, exposure) in operators.as_object().unwrap() {
            if (kind == "C34" && set == name) || (kind == "C1w" && operator == name) {
                positions.insert(format!("{id}|{operator}|{set}"), exposure.clone());
            }
        }
    }
    if positions.is_empty() {
        return vec![block.clone()];
    }
    let whole: u64 = positions.values().filter_map(Value::as_u64).sum();
    let part = |(id, exposure): (String, Value)| {
        let losses = block["severity_bp"].as_object().unwrap().iter().map(|(loss, p)| {
            let loss: u64 = loss.parse().unwrap();
            ((loss * exposure.as_u64().unwrap() / whole).to_string(), p.clone())
        });
        let mut part = block.clone();
        part["severity_bp"] = losses.collect::<Map<_, _>>().into();
        part["id"] = id.into();
        part
    };
    positions.into_iter().map(part).collect()
}

fn report(file: &Value) -> Value {
    let model = input::parse(file.to_string().as_bytes()).unwrap();
    serde_json::to_value(LossReport::new(&model)).unwrap()
}

/// Compares whichever of the headline figures the vector states.
fn check_report(name: &str, found: &Value, expected: &Value) {
    let stated = |figure: &str| expected.get(figure).map(|value| (figure.to_owned(), value));
    for (figure, value) in ["VaR95", "VaR99", "VaR999"].into_iter().filter_map(stated) {
        assert_eq!(&found[&figure], value, "{name} {figure}");
    }
    for (figure, value) in ["ES95", "ES99", "ES999"].into_iter().filter_map(stated) {
        absolute(&format!("{name} {figure}"), number(&found[&figure]), value, SHORTFALL_BP);
    }
    absolute(&format!("{name} EL"), number(&found["EL"]), &expected["EL"], PPT_BP);
    for (figure, value) in ["sd", "PSL_gt_1pct"].into_iter().filter_map(stated) {
        relative(&format!("{name} {figure}"), number(&found[&figure]), value, PMF);
    }
}
