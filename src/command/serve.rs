//! `assay serve`: the API over a database that another process writes, and nothing else.

use std::net::SocketAddr;

use clap::Args;

use super::database::DatabaseArgs;
use super::serving::QuotaArgs;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where GraphQL is served.
    #[arg(long, default_value = "127.0.0.1:4747")]
    listen: SocketAddr,
    /// `/ready` says no when the database is further behind a chain than so many blocks.
    #[arg(long, value_name = "BLOCKS")]
    lag_max: Option<u64>,
    #[command(flatten)]
    quotas: QuotaArgs,
}

pub(super) async fn run(database: &DatabaseArgs, args: ServeArgs) -> anyhow::Result<()> {
    let api = args.quotas.api()?;
    let open = database.open().await?;
    let simulator = Some(open.simulator().await?);
    let api = assay_graphql::ApiConfig { lag_blocks_max: args.lag_max, simulator, ..api };
    let router = assay_graphql::router(open.reader().await?, api);
    let listener = super::serving::listen(args.listen).await?;
    super::say(&format!("GraphQL: http://{}/graphql", listener.local_addr()?));
    assay_graphql::serve(listener, router, super::stopped()).await;
    Ok(())
}
