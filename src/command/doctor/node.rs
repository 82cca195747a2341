//! The nodes that are relied on, and what the key that pays for publications has left.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::utils::format_ether;
use alloy::primitives::{Address, U256};
use assay::chain::endpoint::Endpoint;
use assay::chain::probe::{BURST, probe};
use assay_domain::ChainId;
use assay_oracle::batch::BATCH_LEN_MAX;
use assay_oracle::chain::Chain;

use super::{Checks, SKEW_SECONDS_MAX, State};
use crate::command::progress::during;
use crate::command::read::group;

/// A head block that is older is not the head: five slots.
const HEAD_SECONDS_MAX: u64 = 60;

/// A range of fewer blocks makes a backfill of years slow.
const LOG_RANGE_LOW: u64 = 2_000;

/// A key that pays for fewer full batches needs ether, as the pages of docs/OPERATIONS.md have it.
const BATCHES_LOW: U256 = U256::from_limbs([10, 0, 0, 0]);

/// What the contract takes, as `oracle/check.sh` measures it.
const GAS: &str = include_str!("../../../oracle/gas.json");

/// A node: which chain, how far, how wide a range of logs.
pub(super) async fn node(checks: &mut Checks, number: usize, url: &str) {
    let check = format!("rpc {number}");
    let endpoint = match Endpoint::parse(url) {
        Ok(endpoint) => endpoint,
        Err(error) => return checks.add(check, State::Bad, error.to_string(), "correct --rpc-url"),
    };
    let name = endpoint.to_string();
    let found = match during("trying the node", probe(endpoint)).await {
        Ok(found) => found,
        Err(error) => {
            return checks.add(
                check,
                State::Bad,
                error.to_string(),
                "correct --rpc-url, or change the provider",
            );
        }
    };
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let age = ours.saturating_sub(found.head_time);
    let ahead = found.head_time.saturating_sub(ours);
    let range = found.log_range.map_or_else(|| "no".to_owned(), group);
    let finalized = found
        .finalized
        .map_or_else(|| "no finalized tag".to_owned(), |block| format!("final {}", group(block)));
    let state_depth = match found.state_depth {
        Some(depth) if depth == found.head => "state of every block".to_owned(),
        Some(0) => "state of the newest block alone".to_owned(),
        Some(depth) => format!("state of {} blocks ago", group(depth)),
        None => "no state".to_owned(),
    };
    let (many, took) = (found.burst_answered, found.burst_millis);
    let detail = format!(
        "{name}: chain {}, block {} of {age} s ago, {finalized}, logs of {range} blocks at once, \
         {state_depth}, {many} of {BURST} requests at once answered in {took} ms",
        found.chain_id,
        group(found.head)
    );
    let (state, fix) = match () {
        () if found.log_range.is_none() => {
            (State::Bad, "it gives no logs: change the provider or the plan")
        }
        () if ahead > SKEW_SECONDS_MAX => {
            (State::Bad, "its head lies in the future: let NTP set this clock")
        }
        () if age > HEAD_SECONDS_MAX => {
            (State::Warning, "it lags, or the chain is one that stands still")
        }
        () if found.finalized.is_none() => (State::Warning, "pass --finality-depth to assay run"),
        () if found.log_range < Some(LOG_RANGE_LOW) => (State::Warning, "a backfill will be slow"),
        () if many < BURST => {
            (State::Warning, "a backfill will wait for it; a plan may allow more")
        }
        () => (State::Ok, ""),
    };
    checks.add(check, state, detail, fix);
}

/// What a key that pays for publications has, and how many full batches that is.
pub(super) async fn submitter(
    checks: &mut Checks,
    address: Address,
    rpc_url: &str,
    chain_id: ChainId,
) {
    let asked = async {
        let chain = Chain::connect(rpc_url, chain_id).await?;
        let balance = chain.balance(address).await?;
        anyhow::Ok((balance, chain.market_fees(u128::MAX).await?))
    };
    let check = format!("submitter {address}");
    let (balance, fees) = match during("asking for the balance", asked).await {
        Ok(found) => found,
        Err(error) => {
            let fix = "correct --oracle-rpc-url or --oracle-chain-id";
            return checks.add(check, State::Bad, format!("{error:#}"), fix);
        }
    };
    let gas: serde_json::Value = serde_json::from_str(GAS).unwrap_or_default();
    let rating = U256::from(gas["push_100_each"].as_u64().unwrap_or_default());
    let fee = U256::from(fees.map_or(0, |fees| fees.max_fee_wei));
    let batch = rating * U256::from(BATCH_LEN_MAX) * fee;
    let batches = balance.checked_div(batch).unwrap_or(U256::MAX);
    let detail = match batch.is_zero() {
        true => format!("{} ether; the node offers no fee", format_ether(balance)),
        false => format!(
            "{} ether: about {batches} batches of {BATCH_LEN_MAX} ratings at {} ether",
            format_ether(balance),
            format_ether(batch)
        ),
    };
    let state = match () {
        () if balance.is_zero() => State::Bad,
        () if batches < BATCHES_LOW => State::Warning,
        () => State::Ok,
    };
    checks.add(check, state, detail, "send it ether");
}
