//! `assay loss`: the exact loss distribution of anyone's blocks.

use std::path::PathBuf;

use anyhow::Context as _;
use assay_domain::loss::input;
use assay_domain::loss::report::LossReport;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct LossArgs {
    /// JSON with `blocks` and, if there is one, `factor`, in the form of vector V09.
    file: PathBuf,
    /// Print one JSON object with every figure.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: LossArgs) -> anyhow::Result<()> {
    let text = super::read_file(&args.file)?;
    let model = input::parse(text.as_bytes())
        .with_context(|| format!("{} is refused", args.file.display()))?;
    let report = LossReport::new(&model);
    if args.json {
        super::say(&serde_json::to_string(&report)?);
        return Ok(());
    }
    let mut table = super::table::table(&["", "bp of NAV"]);
    let tail = &report.tail;
    for (name, figure) in [
        ("expected loss", report.expected_loss.clone()),
        ("standard deviation", report.sd.clone()),
        ("VaR 95 %", tail.var_95.to_string()),
        ("VaR 99 %", tail.var_99.to_string()),
        ("VaR 99.9 %", tail.var_999.to_string()),
        ("ES 95 %", tail.es_95.clone()),
        ("ES 99 %", tail.es_99.clone()),
        ("ES 99.9 %", tail.es_999.clone()),
        ("P(loss > 1 %), not bp", report.significant_loss.clone()),
    ] {
        table.add_row([name.to_owned(), figure]);
    }
    super::say(&table.to_string());
    Ok(())
}
