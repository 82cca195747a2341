//! `/metrics`: what this process counts, and what the read model says of itself.
//!
//! Figures that would be wrong after a restart are read from the database at each scrape; only what
//! no table holds is counted here. No label is ever a text that a stranger chooses.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramVec, TextEncoder, register_histogram, register_histogram_vec,
};
use serde_json::Value;
use sqlx::QueryBuilder;

use crate::execute::execute;
use crate::http::Shared;
use crate::session::{Reader, Session};
use crate::status::chains;

static REQUEST_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
    let name = "assay_graphql_request_seconds";
    let help = "Time to answer a GraphQL request, by saved operation and status";
    register_histogram_vec!(name, help, &["operation", "status"], buckets)
        .expect("the name is registered once")
});

static COST_POINTS: LazyLock<Histogram> = LazyLock::new(|| {
    let buckets = vec![1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0];
    register_histogram!("assay_graphql_cost_points", "Cost of the requests that were run", buckets)
        .expect("the name is registered once")
});

/// Counts an answer. `operation` is the name of a saved operation or `other`.
pub(crate) fn answered(operation: &'static str, status: u16, took: Duration) {
    let labels = [operation, &status.to_string()];
    REQUEST_SECONDS.with_label_values(&labels).observe(took.as_secs_f64());
}

/// Counts the points of a request that is run.
pub(crate) fn spent(points: u64) {
    // A cost is at most some thousands.
    COST_POINTS.observe(points as f64);
}

/// A figure of the read model: its name, type and meaning, and a statement that gives labels and
/// value, as text.
struct Figure {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    sql: &'static str,
}

/// Rows are (labels as they are written, value).
const FIGURES: [Figure; 8] = [
    Figure {
        name: "assay_log_position",
        kind: "gauge",
        help: "Newest canonical position that is projected",
        sql: "SELECT '', canonical_position::text FROM read_model.checkpoint",
    },
    Figure {
        name: "assay_ingest_lag_seconds",
        kind: "gauge",
        help: "Age of the newest final block; two epochs (768 s) and a little when all is well",
        sql: "SELECT format('{chain=\"%s\"}', chain_id),
                     greatest(extract(epoch FROM now())::bigint - finalized_time, 0)::text
                FROM read_model.chains WHERE finalized_time IS NOT NULL ORDER BY chain_id",
    },
    Figure {
        name: "assay_rating_actions_total",
        kind: "counter",
        help: "Rating actions said, and whether the end of an epoch (7200 blocks) or an event made them due",
        sql: "SELECT format('{type=\"%s\",trigger=\"%s\"}', name, trigger), count(a.kind)::text
                FROM unnest(ARRAY['assigned', 'affirmed', 'upgraded', 'downgraded', 'withdrawn'])
                     WITH ORDINALITY AS of_kind (name, number)
                CROSS JOIN unnest(ARRAY['epoch_end', 'event']) AS due (trigger)
                LEFT JOIN read_model.rating_actions a ON a.kind = number
                     AND ((a.block_number + 1) % 7200 = 0) = (trigger = 'epoch_end')
               GROUP BY number, name, trigger ORDER BY number, trigger",
    },
    Figure {
        name: "assay_action_latency_seconds",
        kind: "gauge",
        help: "From the time of its block to the record of the newest rating action",
        sql: "SELECT '', greatest(extract(epoch FROM recorded_at)::bigint - block_time, 0)::text
                FROM read_model.rating_actions ORDER BY storage_position DESC LIMIT 1",
    },
    Figure {
        name: "assay_publication_age_seconds",
        kind: "gauge",
        help: "Since the newest publication in an oracle contract",
        sql: "SELECT format('{feed=\"%s:0x%s\"}', oracle_chain_id, encode(oracle, 'hex')),
                     greatest(extract(epoch FROM now() - max(recorded_at)), 0)::bigint::text
                FROM read_model.publications WHERE status <> 'reorged'
               GROUP BY oracle_chain_id, oracle ORDER BY 1",
    },
    Figure {
        name: "assay_publications_total",
        kind: "gauge",
        help: "Publications, by what became of them",
        sql: "SELECT format('{feed=\"%s:0x%s\",status=\"%s\"}', oracle_chain_id,
                            encode(oracle, 'hex'), status), count(*)::text
                FROM read_model.publications
               GROUP BY oracle_chain_id, oracle, status ORDER BY 1",
    },
    Figure {
        name: "assay_feed_position",
        kind: "gauge",
        help: "Last line of the feed that subscriptions and webhooks are told",
        sql: "SELECT '', coalesce(max(position), 0)::text FROM read_model.feed",
    },
    Figure {
        name: "assay_webhook_behind",
        kind: "gauge",
        help: "Lines of the feed that a webhook has not been told yet",
        sql: "SELECT format('{webhook=\"%s\"}', name),
                     (coalesce((SELECT max(position) FROM read_model.feed), 0) - position)::text
                FROM read_model.webhooks ORDER BY name",
    },
];

/// Everything, in the text format of Prometheus.
pub(crate) async fn text(shared: &Shared) -> String {
    LazyLock::force(&REQUEST_SECONDS);
    LazyLock::force(&COST_POINTS);
    let mut text = String::new();
    // What a counter holds can always be written.
    let _written = TextEncoder::new().encode_utf8(&prometheus::gather(), &mut text);
    let pool = &shared.backend.pool;
    let (open, idle) = (pool.size(), pool.num_idle());
    let used = usize::try_from(open).unwrap_or_default().saturating_sub(idle);
    let name = "assay_db_pool_connections";
    let states = [("{state=\"idle\"}", idle), ("{state=\"used\"}", used)];
    family(&mut text, name, "gauge", "Connections of the API to the database", states);
    let sockets = [("", shared.live.sockets())];
    family(&mut text, "assay_graphql_sockets", "gauge", "WebSockets open", sockets);
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    family(&mut text, "assay_build_info", "gauge", "Which build this is", [(version, 1)]);

    // Without the database, or without one of its figures, the rest still stands.
    for figure in &FIGURES {
        let session = Session::new(pool.clone());
        let rows = figure.read(&mut *session.reader().await).await;
        family(&mut text, figure.name, figure.kind, figure.help, rows);
    }
    let session = Session::new(pool.clone());
    let chains = chains(&mut *session.reader().await).await.unwrap_or_default();
    let heads: Vec<_> = chains.iter().map(|one| (label(one), one.head_number.0)).collect();
    let help = "Newest block that was ingested, final or not";
    family(&mut text, "assay_ingest_head_block", "gauge", help, heads);
    let lags: Vec<_> = chains.iter().map(|one| (label(one), one.lag_blocks.0)).collect();
    let help = "Blocks that the chain should have made since the last one was ingested";
    family(&mut text, "assay_ingest_lag_blocks", "gauge", help, lags);
    let unmapped: Vec<_> = chains.iter().map(|one| (label(one), &one.unmapped_logs.0)).collect();
    let help = "Logs of our contracts kept without being understood";
    family(&mut text, "assay_unmapped_logs", "gauge", help, unmapped);
    let open = "{ slashings(where: { isOpen: true }) { totalCount } }";
    let answer: Value =
        serde_json::from_str(&execute(pool, open, Value::Null).await).unwrap_or_default();
    let open = answer.pointer("/data/slashings/totalCount").map(|count| ("", count));
    let help = "Slashes of which not all is burnt or handed over yet";
    family(&mut text, "assay_open_slashings", "gauge", help, open);
    text
}

fn label(chain: &crate::status::Chain) -> String {
    format!("{{chain=\"{}\"}}", chain.chain_id.0)
}

impl Figure {
    async fn read(&self, reader: &mut Reader) -> Vec<(String, String)> {
        reader.rows(QueryBuilder::new(self.sql)).await.unwrap_or_default()
    }
}

/// Writes a metric with its samples, or only its description where there is none.
fn family<L: std::fmt::Display, V: std::fmt::Display>(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    samples: impl IntoIterator<Item = (L, V)>,
) {
    let _written = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _written = writeln!(text, "{name}{labels} {value}");
    }
}
