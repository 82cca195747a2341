//! `assay replay`: what the log comes to, for somebody on another machine to compare.

use assay::replay::{ReplayError, Replayed, held, replay};
use clap::Args;
use serde_json::{Value, json};

use super::VerificationFailed;
use super::database::DatabaseArgs;
use super::failure::Failure;
use super::progress::during;
use super::table::table;

#[derive(Debug, Args)]
#[command(before_help = "Example: assay replay --position 262 --verify")]
pub(super) struct ReplayArgs {
    /// Up to this position of the canonical log, as the API has it [default: all of it].
    #[arg(long, value_name = "N")]
    position: Option<u64>,
    /// Compare with what the read model holds there; exit code 4 if it differs.
    #[arg(long)]
    verify: bool,
    /// Also the end of each epoch on the way: where two machines first differ, they parted.
    #[arg(long)]
    epochs: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(database: &DatabaseArgs, args: ReplayArgs) -> anyhow::Result<()> {
    let open = database.open().await?;
    let rater = open.rater().await?;
    let replayed = async {
        let held = match args.verify {
            true => Some(held(&rater, args.position).await?),
            false => None,
        };
        replay(&rater, args.position, held.as_ref(), args.epochs).await
    };
    let (epochs, here) = match during("replaying", replayed).await {
        Ok(replayed) => replayed,
        Err(error) if error.is_difference() => {
            return Err(VerificationFailed(error.to_string()).into());
        }
        Err(error @ (ReplayError::Ahead(_) | ReplayError::NotHeld(_))) => {
            return Err(Failure::NotFound(error.to_string()).into());
        }
        Err(error) => return Err(error.into()),
    };
    if args.json {
        let mut told = as_json(&here);
        if args.epochs {
            told["epochs"] = epochs.iter().map(as_json).collect();
        }
        super::say(&told.to_string());
    } else {
        let mut lines = table(&["position", "chain", "block", "log", "ratings", "entities"]);
        for one in epochs.iter().chain([&here]) {
            let block = one.block.map(|(chain, block)| (chain.to_string(), block.number));
            let (chain, block) = block.unwrap_or_default();
            let (log, ratings) = (one.log.hash.to_string(), one.ratings_root.to_string());
            let (position, entities) = (one.log.position, one.entities.to_string());
            let row = [position.to_string(), chain, block.to_string(), log, ratings, entities];
            lines.add_row(row);
        }
        super::say(&lines.to_string());
    }
    if args.verify {
        eprintln!("The read model holds the same log and the same ratings.");
    }
    Ok(())
}

fn as_json(one: &Replayed) -> Value {
    let block = one.block.map(|(chain_id, block)| {
        json!({ "chainId": chain_id, "number": block.number, "time": block.timestamp })
    });
    json!({
        "position": one.log.position,
        "block": block,
        "logHash": one.log.hash,
        "ratingsRoot": one.ratings_root,
        "entities": one.entities,
    })
}
