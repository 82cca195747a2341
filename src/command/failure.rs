//! Why a command failed, as an exit code: the one place that gives them.

use std::error::Error;
use std::process::ExitCode;

use assay::chain::source::SourceError;
use assay::cluster::ClusterError;
use assay::db::ConnectError;

/// Something was checked and found different: exit code 4.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct VerificationFailed(pub(crate) String);

/// What ends a command with a code of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nothing of that name, or not at that point of the record.
    #[error("{0}")]
    NotFound(String),
    /// Something that must be in order is not.
    #[error("{0}")]
    Unhealthy(String),
    /// A server is out of reach, or answers with something else.
    #[error("{0}")]
    Network(String),
    /// The local database is out of reach.
    #[error("{0}")]
    Database(String),
    /// What the caller demands does not hold.
    #[error("{0}")]
    Policy(String),
    /// What rests on an older schema would fail.
    #[error("{0}")]
    Breaking(String),
    /// The API refuses the question.
    #[error("{0}")]
    Refused(String),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::NotFound(_) => 3,
            Self::Unhealthy(_) => 5,
            Self::Network(_) => 6,
            Self::Database(_) => 7,
            Self::Policy(_) => 8,
            Self::Breaking(_) => 9,
            Self::Interrupted => 130,
        }
    }
}

/// The exit code of an error: the first of its causes that has one, else 1 (2 is clap's).
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let of_context = error.is::<VerificationFailed>().then_some(4);
    ExitCode::from(of_context.or_else(|| error.chain().find_map(code)).unwrap_or(1))
}

fn code(cause: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.code());
    }
    let is_network = cause.is::<SourceError>() || cause.is::<alloy::transports::TransportError>();
    let is_database = cause.is::<ConnectError>()
        || cause.is::<ClusterError>()
        || cause.is::<sqlx::Error>()
        || cause.is::<sqlx::migrate::MigrateError>();
    match () {
        () if cause.is::<VerificationFailed>() => Some(4),
        () if is_network => Some(6),
        () if is_database => Some(7),
        () => None,
    }
}
