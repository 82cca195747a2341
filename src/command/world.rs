//! `assay demo --world`: the made-up year in a log, and its ratings on a local chain on which not
//! everything goes well.

use std::time::Duration;

use alloy::providers::{Provider as _, ProviderBuilder};
use anyhow::Context as _;
use assay::world::{self, CHAIN_ID, DAYS};
use assay_oracle::publish::PublishError;
use assay_oracle::{Publication, publish_once};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::database::Open;
use super::feed::{Feed, LocalChain, newest_report_time};
use super::progress::during;

/// The first oracle contract is written to until this day and never again: a stale feed.
const ABANDONED_DAY: u64 = 200;

/// Seconds after which every batch has expired.
const EXPIRY_SECONDS: u64 = 2_000;

/// A base fee above what the transaction before offered, wei.
const DEAR_WEI: u64 = 50_000_000_000;

/// How long to wait for a block that does not come.
const IN_VAIN: Duration = Duration::from_secs(1);

/// Tells the year, rates it, and publishes it: to one contract until it is abandoned, then to
/// another.
pub(super) async fn stage(open: &Open) -> anyhow::Result<Feed> {
    let store = open.store().await?;
    refuse_other_chains(store.pool()).await?;
    let (pool, mut rater) = (open.oracle().await?, open.rater().await?);
    let first = world::play(&store, &mut rater, 0..=ABANDONED_DAY);
    during("rating the first part of a made-up year", first).await?;
    let local = LocalChain::start(&pool).await?;
    let abandoned = local.publication().await?;
    during("publishing for the last time", publish_once(&pool, &abandoned)).await?;
    let rest = world::play(&store, &mut rater, ABANDONED_DAY + 1..=DAYS);
    during("rating the rest of it", rest).await?;
    let publication = local.publication().await?;
    let trouble = publish_in_trouble(&local, &pool, &publication);
    during("publishing on a busy chain", trouble).await?;
    Ok(Feed::new(local, publication.oracle.address))
}

/// The first batches expire before a block takes them and fail; those after them are replaced at a
/// higher fee; then everything that is due is published.
async fn publish_in_trouble(
    local: &LocalChain,
    pool: &PgPool,
    publication: &Publication,
) -> anyhow::Result<()> {
    let mut hasty = publication.clone();
    hasty.policy.publish_timeout = IN_VAIN;
    // Its clock may be ahead already, when the year was published before.
    let latest = local.chain.head().await?.time.saturating_add(1);
    let now = newest_report_time(pool).await?.saturating_add(60).max(latest);
    anvil(local, "evm_setNextBlockTimestamp", json!([now])).await?;
    anvil(local, "evm_mine", json!([])).await?;
    anvil(local, "evm_setAutomine", json!([false])).await?;
    publish_in_vain(pool, &hasty).await?;
    // What expired is noticed, and sent again at once.
    anvil(local, "evm_increaseTime", json!([EXPIRY_SECONDS])).await?;
    anvil(local, "evm_mine", json!([])).await?;
    publish_in_vain(pool, &hasty).await?;
    // Blocks cost more than what was sent offers. A publisher counts them from its own start on,
    // so one has to come while it waits.
    anvil(local, "anvil_setNextBlockBaseFeePerGas", json!([DEAR_WEI])).await?;
    anvil(local, "evm_mine", json!([])).await?;
    hasty.policy.patience.bump_after_blocks = 1;
    let mine = async {
        tokio::time::sleep(IN_VAIN / 2).await;
        anvil(local, "evm_mine", json!([])).await
    };
    tokio::try_join!(publish_in_vain(pool, &hasty), mine)?;
    // From here on all goes well.
    anvil(local, "evm_mine", json!([])).await?;
    anvil(local, "evm_setAutomine", json!([true])).await?;
    publish_once(pool, publication).await?;
    Ok(())
}

/// Sends what is due to a chain that makes no blocks.
async fn publish_in_vain(pool: &PgPool, publication: &Publication) -> anyhow::Result<()> {
    match publish_once(pool, publication).await {
        Ok(_) | Err(PublishError::NotIncluded { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn anvil(local: &LocalChain, method: &'static str, arguments: Value) -> anyhow::Result<()> {
    let provider = ProviderBuilder::new().connect_http(local.anvil.rpc_url().parse()?);
    let answer: Result<Value, _> = provider.raw_request(method.into(), arguments).await;
    answer.with_context(|| format!("the local chain does not answer {method}"))?;
    Ok(())
}

/// What is appended is for ever: a database that follows a real chain is not one to make things
/// up in.
async fn refuse_other_chains(pool: &PgPool) -> anyhow::Result<()> {
    let other: Option<i64> =
        sqlx::query_scalar("SELECT chain_id FROM event_store.events WHERE chain_id <> $1 LIMIT 1")
            .bind(CHAIN_ID.cast_signed())
            .fetch_optional(pool)
            .await?;
    match other {
        Some(chain) => anyhow::bail!(
            "the database holds events of chain {chain}: use an empty one for the made-up world"
        ),
        None => Ok(()),
    }
}
