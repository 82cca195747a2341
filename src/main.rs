//! The `assay` binary: parse, set up tracing, dispatch.

use std::process::ExitCode;

mod command;

/// What is told without `ASSAY_LOG`. A connection that is open when a private Postgres is stopped
/// is no news.
const TOLD: &str = "warn,sqlx_core::pool::connection=error";

fn main() -> ExitCode {
    let args = command::Args::from_command_line();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("ASSAY_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(TOLD)),
        )
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("assay: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("assay: {error:#}");
            command::exit_code(&error)
        }
    }
}
