//! `assay oracle`: the contract, this node's signatures, and what is on chain.

mod admin;
mod args;
mod audit;
mod serve;
mod sign;
mod status;
mod submit;

use clap::Subcommand;

pub(super) use args::{gas_key, parse_peers, rating_keys};
pub(super) use serve::{RemoteLog, feed_back, routes, watch};

use super::database::DatabaseArgs;

#[derive(Debug, Subcommand)]
pub(super) enum OracleCommand {
    /// Put a new rating oracle on a chain.
    Deploy(admin::DeployArgs),
    /// What the contract, the outbox and the peers say.
    Status(status::StatusArgs),
    /// Sign the ratings of a position with this node's keys; prints the signatures.
    Sign(sign::SignArgs),
    /// Bring signed ratings to the contract, from files or from nodes. Needs no database.
    Submit(submit::SubmitArgs),
    /// Appoint other signers; voids whatever is signed and not yet on chain.
    Rotate(admin::RotateArgs),
    /// Stop all updates (the guardian's key).
    Pause(admin::PauseArgs),
    /// Let updates happen again (the owner's key).
    Unpause(admin::PauseArgs),
    /// Compare every rating on chain, now and ever, with the log; name the first that differs.
    AuditChain(audit::AuditChainArgs),
}

pub(super) async fn run(database: &DatabaseArgs, command: OracleCommand) -> anyhow::Result<()> {
    match command {
        OracleCommand::Deploy(args) => admin::deploy(args).await,
        OracleCommand::Status(args) => status::run(database, args).await,
        OracleCommand::Sign(args) => sign::run(database, args).await,
        OracleCommand::Submit(args) => submit::run(args).await,
        OracleCommand::Rotate(args) => admin::rotate(args).await,
        OracleCommand::Pause(args) => admin::pause(args).await,
        OracleCommand::Unpause(args) => admin::unpause(args).await,
        OracleCommand::AuditChain(args) => audit::run(database, args).await,
    }
}
