//! The file `assay loss` reads, and the way from shares of positions to the grid.

use alloy_primitives::U256;
use assay_domain::loss::report::LossReport;
use assay_domain::loss::severity::{beta_decile_means, full_or_beta, on_grid, round_to_grid};
use assay_domain::loss::{
    BLOCKS_MAX, BasisPoints, Block, BlockId, Factor, Hazard, Level, LossModel, Probability, input,
};
use serde_json::json;

/// A file of one block with these keys in place of the usual ones must be refused with this
/// message.
fn refused(change: serde_json::Value, message: &str) {
    let mut block = json!({"id": "C1|A", "lam": "0.01", "beta": 0.3, "severity_bp": {"150": "1"}});
    for (key, value) in change.as_object().unwrap() {
        block[key] = value.clone();
        if value == "remove" {
            block.as_object_mut().unwrap().remove(key);
        }
    }
    let file = json!({ "blocks": [block] }).to_string();
    let found = input::parse(file.as_bytes()).expect_err(message).to_string();
    assert_eq!(found, message);
}

#[test]
fn a_bad_block_is_named_with_what_is_wrong_and_what_to_do() {
    let finite = "expected finite numbers not below zero (and r above zero)";
    refused(json!({"lam": -0.1}), &format!("block C1|A: found lam -0.1, {finite}"));
    let number = "expected a finite number, as 0.012 or \"0.012\"";
    refused(json!({"lam": "NaN"}), &format!("block C1|A: lam is \"NaN\", {number}"));
    refused(json!({"lam": [1]}), &format!("block C1|A: lam is [1], {number}"));
    refused(json!({"lam": "1e999"}), &format!("block C1|A: lam is \"1e999\", {number}"));
    refused(
        json!({"beta": 1.5}),
        "block C1|A: found beta 1.5, \
         expected 0 to 1: the share of the hazard that follows the factor",
    );
    refused(
        json!({"severity_bp": {"150": "0.5", "200": 0.4}}),
        "block C1|A: severity probabilities sum to 0.8999999999999999999999999999999999, \
         expected 1; scale them",
    );
    refused(
        json!({"severity_bp": {"150": "0.5", "200": "0.6"}}),
        "block C1|A: severity probabilities sum to more than 1, expected 1; scale them",
    );
    refused(
        json!({"severity_bp": {"10001": 1}}),
        "block C1|A: found a loss of 10001 bp, expected 1 to 10000; \
         cap it at 10000 (all of the exposure)",
    );
    refused(
        json!({"severity_bp": {"1.5": 1}}),
        "block C1|A: a loss in severity_bp is \"1.5\", expected a whole number from 1 to 10000",
    );
    refused(
        json!({"severity_bp": {"5": "-1"}}),
        "block C1|A: severity_bp.5 is \"-1\", \
         expected a decimal number of at most 38 digits, from 0 to 1",
    );
    refused(
        json!({"severity_bp": {"5": 2}}),
        "block C1|A: severity_bp.5 is 2, expected a number from 0 to 1",
    );
    refused(
        json!({"severity_bp": {}}),
        "block C1|A: no loss is listed; give severity_bp at least one loss from 1 to 10000 bp",
    );
    refused(
        json!({"severity_bp": "remove"}),
        "block C1|A: severity_bp is missing, \
         expected an object of losses in bp and their probabilities, as {\"150\": \"0.8\"}",
    );
    let hazard = "block C1|A: the hazard is none, or more than one, \
                  expected one of lam (events a year), p (probability), or k with r (Gamma)";
    refused(json!({"lam": "remove"}), hazard);
    refused(json!({"p": 0.1}), hazard);
    refused(json!({"lam": "remove", "k": 1}), hazard);
    refused(
        json!({"lambda": 1}),
        "block C1|A: unknown key \"lambda\", \
         expected id, severity_bp, beta and one of lam, p, k with r",
    );
    refused(
        json!({"id": "remove"}),
        "block number 1: id is missing, expected a text that names the block",
    );
    refused(
        json!({"id": ""}),
        "block number 1: the id is empty; give the block a name, for example \"C1|A|S1\"",
    );
}

#[test]
fn a_bad_file_is_refused() {
    let message = |file: &str| input::parse(file.as_bytes()).unwrap_err().to_string();
    assert!(message("{").starts_with("the file is no JSON: "));
    assert_eq!(message("[]"), "expected an object with a list \"blocks\", as in vector V09");
    let block = r#"{"id":"a","p":"0.5","severity_bp":{"1":1}}"#;
    assert_eq!(
        message(&format!(r#"{{"blocks":[{block},{block}]}}"#)),
        "block a: the id is given twice; merge the blocks or rename one"
    );
    let many = vec![block; BLOCKS_MAX + 1].join(",");
    assert_eq!(
        message(&format!(r#"{{"blocks":[{many}]}}"#)),
        "found 2001 blocks, expected at most 2000; merge the smallest"
    );
    let losses: Vec<String> =
        (1..=6_000).map(|loss| format!(r#""{loss}":{:e}"#, 1.0 / 6_000.0)).collect();
    let wide =
        |id: &str| format!(r#"{{"id":"{id}","p":"0.5","severity_bp":{{{}}}}}"#, losses.join(","));
    assert_eq!(
        message(&format!(r#"{{"blocks":[{},{}]}}"#, wide("x"), wide("y"))),
        "block y: with it the portfolio lists 12000 losses, expected at most 10000; \
         use fewer losses a block"
    );
    let factor = |factor: &str| message(&format!(r#"{{"blocks":[{block}],"factor":{factor}}}"#));
    assert_eq!(
        factor(r#"{"sigma2":"2"}"#),
        "factor: sigma2 is \"2\", expected 1 (stored constants), or 0 for independent blocks"
    );
    assert_eq!(
        factor(r#"{"sigma2":1,"nodes":["0.5"]}"#),
        "factor: nodes is [\"0.5\"], expected the eight stored constants; leave the key out"
    );
    assert_eq!(
        factor(r#"{"sigma2":1,"family":"Normal"}"#),
        "factor: family is \"Normal\", expected \"Gamma mean 1\""
    );
    let large = " ".repeat(input::BYTES_MAX + 1);
    assert_eq!(message(&large), "the file has 4194305 bytes, expected at most 4194304");
}

#[test]
fn hazards_come_in_three_forms() {
    let file = |hazard: &str| {
        let blocks = format!(r#"[{{"id":"a",{hazard},"severity_bp":{{"10000":1}}}}]"#);
        let file = format!(r#"{{"blocks":{blocks},"factor":{{"sigma2":0}}}}"#);
        LossReport::new(&input::parse(file.as_bytes()).unwrap()).expected_loss_ppt
    };
    assert_eq!(file(r#""p":"0.25""#), 250_000_000_000);
    // 1 − e^(−0.01) and the posterior predictive 1 − (3/4)².
    assert_eq!(file(r#""lam":1e-2"#), 9_950_166_251);
    assert_eq!(file(r#""k":2,"r":"3""#), 437_500_000_000);
    assert_eq!(file(r#""lam":1e300"#), 1_000_000_000_000);
    assert_eq!(file(r#""lam":0"#), 0);
}

#[test]
fn no_blocks_lose_nothing() {
    let report = LossReport::new(&input::parse(br#"{"blocks":[]}"#).unwrap());
    assert_eq!(report.expected_loss_ppt, 0);
    assert_eq!(report.tail.var_999, 0);
    assert_eq!(report.pmf_head.len(), 1);
}

/// Beta(a, b) and the means of its deciles to seventeen digits.
const DECILES: [(f64, f64, [f64; 10]); 3] = [
    (
        2.0,
        8.0,
        [
            0.03898121371972854,
            0.07716592426626964,
            0.10711061934740922,
            0.13556840629907166,
            0.16456492208248263,
            0.19562994724546715,
            0.2306404607715018,
            0.27282731353006234,
            0.32998167505633197,
            0.44752951768167504,
        ],
    ),
    (
        1.0,
        3.0,
        [
            0.017053346088000867,
            0.0528532542473338,
            0.09158940881331905,
            0.13395098470921787,
            0.18092997858250243,
            0.23404192674385796,
            0.29580523850064944,
            0.3709811837789784,
            0.4709138410570986,
            0.6518808374790416,
        ],
    ),
    (
        1.0,
        19.0,
        [
            0.0027189825960261854,
            0.008545688306884841,
            0.015063536586778963,
            0.022465841596931484,
            0.031041941140230168,
            0.04125456471215893,
            0.05391646488872508,
            0.07067727989649626,
            0.09588915116534659,
            0.1584265491104215,
        ],
    ),
];

#[test]
fn a_beta_severity_becomes_its_decile_means() {
    for (a, b, expected) in DECILES {
        let found = beta_decile_means(a, b);
        for (mine, wanted) in found.iter().zip(expected) {
            assert!((mine - wanted).abs() <= 1e-13 * wanted, "Beta({a}, {b}): {mine} {wanted}");
        }
        let mean: f64 = found.iter().sum::<f64>() / 10.0;
        assert!((mean - a / (a + b)).abs() < 1e-14);
    }
}

#[test]
fn a_loss_between_cells_keeps_its_mean() {
    let p = |text: &str| Probability::parse(text).unwrap();
    // 0.25 of 1,001 bp is 250.25 bp; 0.0005 of it is half a cell.
    let shares = [(p("0.25"), p("0.5")), (p("0.0005"), p("0.5"))];
    let severity = on_grid(1_001, &shares).unwrap();
    let cells: Vec<u16> = severity.losses().map(|(cell, _)| cell).collect();
    assert_eq!(cells, [0, 1, 250, 251]);
    let mean: f64 = severity.mean().to_string().parse().unwrap();
    assert!((mean - (250.25 + 0.5005) / 2.0).abs() < 1e-15, "{mean}");
    assert!(on_grid(10_001, &shares).is_err());
    assert!(on_grid(0, &shares).is_err());
    // A tenth of everything, nine tenths of Beta(2, 8), on 30 % of the exposure: 0.28 of 3,000 bp.
    let shares = full_or_beta(p("0.1"), 2.0, 8.0).unwrap();
    let mean: f64 = on_grid(3_000, &shares).unwrap().mean().to_string().parse().unwrap();
    assert!((mean - 840.0).abs() < 1e-10, "{mean}");
    assert_eq!(full_or_beta(p("0.1"), -2.0, 8.0), None);
}

#[test]
fn positions_are_rounded_by_largest_remainder() {
    let round = |amounts: &[u64], total| {
        round_to_grid(&amounts.iter().map(|x| U256::from(*x)).collect::<Vec<_>>(), total)
    };
    assert_eq!(round(&[1, 1, 1], 10_000), [3_334, 3_333, 3_333]);
    assert_eq!(round(&[5, 3, 2], 7), [4, 2, 1]);
    assert_eq!(round(&[0, 0], 10), Vec::<u16>::new());
    let huge = [U256::MAX / U256::from(2), U256::MAX / U256::from(4)];
    assert_eq!(round_to_grid(&huge, 9_999), [6_666, 3_333]);
}

#[test]
fn figures_round_half_to_even_and_print_all_digits() {
    assert_eq!(Probability::parse("0.5").unwrap().to_string(), format!("0.5{}", "0".repeat(33)));
    assert_eq!(BasisPoints::whole(12).to_string(), format!("12.{}", "0".repeat(18)));
    assert_eq!(Probability::from_q127(1).to_ppt(), 0);
    assert_eq!(Probability::parse("0.0000000000025").unwrap().to_ppt(), 2);
    assert_eq!(Probability::from_f64(1.0), Some(Probability::ONE));
    assert_eq!(Probability::from_f64(f64::NAN), None);
    assert_eq!(Probability::from_f64(f64::MIN_POSITIVE), Some(Probability::ZERO));
    assert_eq!(Probability::parse("1e-2"), Probability::parse("0.01"));
    assert!(Probability::parse("1.0000001").is_err());
}

#[test]
fn an_event_may_round_to_no_loss_and_keeps_its_mean() {
    // A quarter of one bp: the event costs nothing three times in four.
    let p = |text: &str| Probability::parse(text).unwrap();
    let severity = on_grid(1, &[(p("0.25"), Probability::ONE)]).unwrap();
    let hazard = Hazard::Fixed(p("0.5"));
    let block = Block::new(BlockId::new("small").unwrap(), hazard, 0.0, severity).unwrap();
    let model = LossModel::new(vec![block], Factor::Off).unwrap();
    let found = model.distribution();
    // What leaves a cell is rounded up, by one unit of 6e-39.
    assert!(found.mass(0).to_q127().abs_diff(p("0.875").to_q127()) <= 1);
    assert_eq!(found.expected_loss(), model.expected_loss_uncapped());
    let parts = model.shortfall_by_block(&found, Level::P95);
    assert_eq!(parts[0].1.to_ppt(), found.expected_shortfall(Level::P95).to_ppt());
}
