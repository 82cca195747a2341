//! What this process counts for `/metrics`; what a table holds is read from there instead.

use std::sync::LazyLock;

use prometheus::{
    Histogram, IntCounter, IntCounterVec, register_histogram, register_int_counter,
    register_int_counter_vec,
};

/// Blocks that a chain took back, counted a reorganisation at a time.
pub static REORGS: LazyLock<IntCounter> = LazyLock::new(|| {
    register_int_counter!("assay_reorgs_total", "Reorganisations recorded by this process")
        .expect("the name is registered once")
});

/// Seconds of a run of the rater.
pub static RATING_RUN_SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = vec![0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];
    register_histogram!("assay_rating_run_seconds", "Time to rate what is new", buckets)
        .expect("the name is registered once")
});

/// Tries to deliver webhooks, by what became of them.
pub static WEBHOOK_DELIVERIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Tries to deliver a webhook, by what became of them";
    let made = register_int_counter_vec!("assay_webhook_deliveries_total", help, &["status"])
        .expect("the name is registered once");
    for status in ["delivered", "failed"] {
        made.with_label_values(&[status]).inc_by(0);
    }
    made
});

/// Makes each of them show from the start.
pub fn show() {
    LazyLock::force(&REORGS);
    LazyLock::force(&RATING_RUN_SECONDS);
    LazyLock::force(&WEBHOOK_DELIVERIES);
}
