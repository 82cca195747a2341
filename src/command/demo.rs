//! `assay demo`: the whole main job on the real mainnet slashing ledger, on this machine alone.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use assay::intake::{self, Door};
use assay::projection::publications;
use assay::world;
use clap::Args;
use serde_json::{Value, json};

use super::database::{DatabaseArgs, Open};
use super::feed;
use super::import::{Imported, archive_input, import};
use super::nodes;
use super::progress::during;
use super::say;
use super::story::{self, Row};

/// The mainnet slashing ledger, written by `assay archive write` from facts that the chain states.
const LEDGER: &[u8] = include_bytes!("ledger.assay");

/// The ledger's chain.
const MAINNET: u64 = 1;

/// How many rating actions there are.
const ACTIONS: &str = "{ ratingActions(first: 1) { totalCount } }";

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where GraphQL is served.
    #[arg(long, default_value = "127.0.0.1:4747")]
    listen: SocketAddr,
    /// A made-up year with fictional names instead of the real ledger: something on every page.
    #[arg(long)]
    world: bool,
    /// Stop after the ratings are shown, instead of serving GraphQL.
    #[arg(long)]
    once: bool,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Nodes that sign, each with its own database and key; more than half must agree.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
}

pub(super) async fn run(database: &DatabaseArgs, args: DemoArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    if args.world {
        return world(database, &args).await;
    }
    let open = database.open().await?;
    let imported = import_ledger(&open).await.context("the shipped ledger was not imported")?;
    let rated = during("rating", open.rater().await?.catch_up()).await?;
    let reader = open.reader().await?;
    let (feed, council) = match args.nodes {
        1 => (feed::publish(&open).await?, None),
        count => {
            let (feed, council) = nodes::publish(&open, count).await?;
            (feed, Some(council))
        }
    };
    publications::project(&open.store().await?).await?;
    let agreed = feed::audit(&open, &feed.target()).await;
    if args.json {
        let ratings = rows_as_json(&story::rows(&reader, None).await?);
        let result = json!({
            "events": imported.report.events,
            "ratings": ratings,
            "agree": agreed.is_ok(),
            "council": council,
        });
        say(&result.to_string());
    } else {
        say(&opening(&imported, rated.actions));
        story::tell(&reader).await?;
        if let Some(council) = &council {
            say(&format!("\n{council}"));
        }
        if let Ok(count) = &agreed {
            let keys = council.as_ref().map_or_else(|| "2 of 3".to_owned(), nodes::Told::quorum);
            say(&format!(
                "\nThe feed: {count} ratings signed by {keys} keys and stored in {} on a local \
                 chain. Contract, GraphQL and Postgres agree on them bit for bit.",
                feed.oracle
            ));
        }
        say(&format!("Done in {:.1} s.", begun.elapsed().as_secs_f64()));
    }
    agreed?;
    if args.once {
        return Ok(());
    }
    serve(&open, &args, &feed).await
}

/// The made-up year: in a database of its own, which goes away with the program.
async fn world(database: &DatabaseArgs, args: &DemoArgs) -> anyhow::Result<()> {
    let open = database.open_apart().await?;
    let feed = super::world::stage(&open).await?;
    let store = open.store().await?;
    publications::project(&store).await?;
    let reader = open.reader().await?;
    let events = world::facts()?.len();
    if args.json {
        let ratings = rows_as_json(&story::rows(&reader, None).await?);
        say(&json!({ "isDemo": true, "events": events, "ratings": ratings }).to_string());
    } else {
        let counted = super::query::ask(&reader, ACTIONS, Value::Null).await?;
        say(&format!(
            "DEMO: a made-up year of {events} events on chain {}; {} rating actions follow. Every \
             name, address and figure is invented.",
            world::CHAIN_ID,
            counted["ratingActions"]["totalCount"]
        ));
    }
    if args.once {
        return Ok(());
    }
    serve(&open, args, &feed).await
}

/// Appends the shipped ledger, through the same path as any archive.
pub(super) async fn import_ledger(open: &Open) -> anyhow::Result<Imported> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(LEDGER)?;
    let input = archive_input(file.path(), MAINNET)?;
    import(&open.store().await?, input, MAINNET).await
}

fn opening(imported: &Imported, actions: usize) -> String {
    let counts: Vec<String> =
        imported.report.events.iter().map(|(name, count)| format!("{count} {name}")).collect();
    format!(
        "The mainnet slashing ledger: {}.\n{} of them are new here; {} rating actions follow.",
        counts.join(", "),
        imported.appended,
        actions
    )
}

fn rows_as_json(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|row| {
            json!({
                "entity": row.slug,
                "kind": row.kind,
                "grade": row.grade,
                "el_ppt": row.expected_loss_ppt,
                "position": row.position,
                "block": row.block,
            })
        })
        .collect()
}

async fn serve(open: &Open, args: &DemoArgs, feed: &feed::Feed) -> anyhow::Result<()> {
    let simulator = Some(open.simulator().await?);
    let door = Door::new(open.store().await?);
    let config = assay_graphql::ApiConfig {
        simulator,
        recorder: Some(Arc::new(door.clone())),
        ..assay_graphql::ApiConfig::default()
    };
    let router = assay_graphql::router(open.reader().await?, config).merge(intake::routes(door));
    let listener = super::serving::listen(args.listen).await?;
    let address = listener.local_addr()?;
    if args.json {
        // For programs that drive the demo: where things are, one line.
        let place = json!({
            "graphql": format!("http://{address}/graphql"),
            "oracle": feed.oracle,
            "rpc_url": feed.rpc_url(),
        });
        say(&place.to_string());
    } else {
        say(&format!(
            "\nThe dashboard: http://{address}/   GraphQL and GraphiQL: http://{address}/graphql\n\
             The oracle contract: {} at {}",
            feed.oracle,
            feed.rpc_url(),
        ));
        if !args.world {
            let queries = story::QUERIES.join("\n\n");
            say(&format!("\nThree queries worth pasting:\n\n{queries}"));
        }
        say("\nCtrl-C stops everything.");
    }
    assay::metrics::show();
    assay_graphql::serve(listener, router, super::stopped()).await;
    Ok(())
}
