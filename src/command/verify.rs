//! `assay verify`: recompute and compare.

use clap::Args;

use super::VerificationFailed;
use super::database::DatabaseArgs;
use super::progress::during;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    chain: super::feed::AuditArgs,
}

pub(super) async fn run(database: &DatabaseArgs, args: VerifyArgs) -> anyhow::Result<()> {
    let open = database.open().await?;
    let rater = open.rater().await?;
    let verified = match during("verifying", assay::verify::verify(&rater)).await {
        Ok(verified) => verified,
        Err(error) if error.is_difference() => {
            return Err(VerificationFailed(error.to_string()).into());
        }
        Err(error) => return Err(error.into()),
    };
    super::say(&format!(
        "{} events: every hash holds. {} rating actions in {} revision(s) and every row of the \
         read model follow from them.",
        verified.events, verified.actions, verified.revisions
    ));
    if let Some(oracle) = args.chain.target()? {
        let audited = super::feed::audit(&open, &oracle).await?;
        super::say(&format!("{audited} ratings on chain are the ones in the database."));
    }
    Ok(())
}

/// `assay rebuild`: the read model anew.
pub(super) async fn rebuild(database: &DatabaseArgs) -> anyhow::Result<()> {
    let open = database.open().await?;
    let mut rater = open.rater().await?;
    let done = during("rebuilding the read model", rater.rebuild()).await?;
    super::say(&format!("The read model is written anew up to position {}.", done.head.position));
    Ok(())
}
