//! `assay archive`: write an archive.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    /// x
    file: PathBuf,
}

pub(super) fn run(args: ArchiveArgs) -> anyhow::Result<()> {
    anyhow::bail!("{}", args.file.display())
}
