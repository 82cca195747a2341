//! `assay export`: whole tables, streamed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use super::{At, ServerArgs};
use crate::command::database::DatabaseArgs;
use crate::command::progress::during;

#[derive(Debug, Args)]
#[command(
    before_help = "Example: assay export history --entity avs-1-0x12b75d5e… --out history.csv"
)]
pub(crate) struct ExportArgs {
    /// Which table.
    table: Table,
    #[arg(long, value_enum, default_value_t = Lines::Csv)]
    format: Lines,
    /// Where to; `-` is standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// The entity a history is of.
    #[arg(long, value_name = "SLUG", required_if_eq("table", "history"))]
    entity: Option<String>,
    /// At which position, or head.
    #[arg(long, value_name = "POSITION", default_value = "head")]
    at: At,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    Ratings,
    Actions,
    Slashings,
    Publications,
    Shares,
    /// Of one entity: every assessment.
    History,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lines {
    Csv,
    /// A JSON object a line.
    Jsonl,
}

fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

pub(crate) async fn run(database: &DatabaseArgs, args: ExportArgs) -> anyhow::Result<()> {
    let at = match &args.at {
        At::Head => None,
        At::Position(position) => Some(position.to_string()),
        other => bail!("an export is at a position: `assay ls --at {other}` names it"),
    };
    let source = args.server.open(database).await?.with_scenarios().await?;
    let mut path = format!("/v1/export/{}.{}", word(args.table), word(args.format));
    let mut ask = '?';
    if let Some(at) = at {
        path += &format!("{ask}at={at}");
        ask = '&';
    }
    if let Some(name) = &args.entity {
        let as_of = source.as_of(&args.at).await?;
        path += &format!("{ask}entity={}", source.find(name, &as_of).await?.slug);
    }
    if args.out == Path::new("-") {
        let write = |chunk: &[u8]| crate::command::write(chunk);
        return source.fetch(&path, write).await;
    }
    let dir = args.out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Under another name until it is whole.
    let mut file = tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    let mut bytes = 0;
    let write = |chunk: &[u8]| {
        bytes += chunk.len();
        file.write_all(chunk).with_context(|| format!("cannot write {}", args.out.display()))
    };
    during("exporting", source.fetch(&path, write)).await?;
    file.persist(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    eprintln!("{bytes} bytes in {}.", args.out.display());
    Ok(())
}
