//! Special functions against 50-digit values of mpmath.

use assay_domain::special::{
    beta_quantile, beta_tails, gamma_quantile, gamma_tails, lognormal_quantile, normal_cdf,
    normal_quantile,
};

const GAMMA: &[(f64, f64, f64, f64)] = &[
    (0.5, 0.01, 0.1124629160182849, 0.8875370839817152),
    (0.5, 3.0, 0.9856941215645704, 0.01430587843542964),
    (2.5, 1.0, 0.15085496391539036, 0.8491450360846097),
    (2.5, 9.0, 0.9970535954121197, 0.0029464045878802906),
    (30.0, 25.0, 0.18210391597745512, 0.8178960840225449),
    (30.0, 60.0, 0.9999931237350312, 6.876264968732097e-06),
    (130.5, 120.0, 0.17992858889481445, 0.8200714111051856),
    (130.5, 170.0, 0.9992847331924748, 0.0007152668075252118),
    (5000.0, 5100.0, 0.9206711189223811, 0.07932888107761897),
    (5000.0, 4800.0, 0.0021027954807304734, 0.9978972045192696),
    (100000.0, 100500.0, 0.9428967300239713, 0.057103269976028714),
    (0.05, 1e-08, 0.4089423995834056, 0.5910576004165944),
];
const GAMMAQ: &[(f64, f64, f64)] = &[
    (0.05, 0.5, 0.0019660700000097616),
    (0.5, 0.5, 0.2274682115597864),
    (0.95, 0.5, 1.9207294103470622),
    (0.05, 1.5, 0.1759231588746357),
    (0.95, 2.5, 5.535248846758176),
    (0.2, 0.03125, 2.473284788222512e-23),
    (0.975, 51.0, 65.91876666433681),
    (0.025, 50.0, 37.110963737461866),
    (0.999, 130.0, 168.10017446557288),
    (0.001, 130.0, 97.5933430644305),
    (1e-09, 3.0, 0.0018179466000270157),
    (0.25, 2000.0, 1969.6569631264706),
    (0.999999, 0.75, 12.954021253340024),
];
const BETAQ: &[(f64, f64, f64, f64)] = &[
    (0.025, 1.0, 50.0, 0.0005062279830408291),
    (0.975, 1.0, 50.0, 0.07112173646419764),
    (0.975, 2.0, 49.0, 0.1064695457114999),
    (0.025, 3.0, 98.0, 0.006229971538306394),
    (0.5, 0.5, 0.5, 0.5),
    (0.1, 2.0, 8.0, 0.060769049650768424),
    (0.9, 2.0, 8.0, 0.3683623637899257),
    (0.01, 400.0, 600.0, 0.3642943497663917),
    (0.99, 4.0, 6000.0, 0.0016723679296081183),
    (1e-06, 0.3, 2.0, 4.170506723141453e-21),
];
const NORMAL: &[(f64, f64)] = &[
    (0.5000000001, 2.506628482030354e-10),
    (0.6, 0.2533471031357997),
    (0.95, 1.6448536269514722),
    (0.999, 3.090232306167813),
    (0.01, -2.326347874040841),
    (0.0001, -3.7190164854556804),
    (1e-10, -6.361340902404057),
    (1e-100, -21.273453560965326),
    (0.25, -0.6744897501960817),
    (0.26, -0.643345405392917),
];

/// The accuracy every function of the room promises.
const RELATIVE_ERROR_MAX: f64 = 1e-13;

fn close(what: &str, found: f64, expected: f64) {
    let error = ((found - expected) / expected).abs();
    assert!(error <= RELATIVE_ERROR_MAX, "{what}: {found:e}, expected {expected:e}, off {error:e}");
}

#[test]
fn gamma_tails_are_accurate_each_to_its_own_size() {
    for &(shape, x, lower, upper) in GAMMA {
        let tails = gamma_tails(shape, x);
        close(&format!("P({shape}, {x})"), tails.lower, lower);
        close(&format!("Q({shape}, {x})"), tails.upper, upper);
    }
}

#[test]
fn gamma_quantiles_match() {
    for &(p, shape, expected) in GAMMAQ {
        close(&format!("gamma quantile {p} {shape}"), gamma_quantile(p, shape, 1.0), expected);
        close("rate", gamma_quantile(p, shape, 8.0), expected / 8.0);
    }
}

#[test]
fn beta_quantiles_match_and_invert_the_tails() {
    for &(p, a, b, expected) in BETAQ {
        close(&format!("beta quantile {p} {a} {b}"), beta_quantile(p, a, b), expected);
        let tails = beta_tails(a, b, expected);
        let (found, wanted) = if p <= 0.5 { (tails.lower, p) } else { (tails.upper, 1.0 - p) };
        assert!((found - wanted).abs() <= 1e-11 * wanted, "{found} {wanted}");
    }
}

#[test]
fn normal_quantiles_match_and_invert() {
    for &(p, expected) in NORMAL {
        close(&format!("normal quantile {p}"), normal_quantile(p), expected);
        assert!((normal_cdf(expected) - p).abs() <= 1e-12 * p);
    }
    assert_eq!(normal_quantile(0.5), 0.0);
}

#[test]
fn outside_the_domain_is_not_a_number() {
    assert!(gamma_quantile(1.5, 1.0, 1.0).is_nan());
    assert!(gamma_quantile(0.5, -1.0, 1.0).is_nan());
    assert!(gamma_quantile(f64::NAN, 1.0, 1.0).is_nan());
    assert!(beta_quantile(0.5, 0.0, 1.0).is_nan());
    assert!(normal_quantile(-0.1).is_nan());
    assert!(lognormal_quantile(0.5, -1.0, 1.0).is_nan());
    assert_eq!(gamma_quantile(0.0, 2.0, 1.0), 0.0);
    assert_eq!(gamma_quantile(1.0, 2.0, 1.0), f64::INFINITY);
    assert_eq!(lognormal_quantile(0.9, 3.0, 0.0), 3.0);
}
