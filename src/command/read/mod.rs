//! What people ask from a terminal: each command is a GraphQL document, asked of the local
//! database or of a server, and a few lines that show the answer.

mod compare;
mod diff;
mod entity;
mod explain;
mod export;
mod frontier;
mod history;
mod look_through;
mod ls;
#[cfg(feature = "mcp")]
mod mcp;
mod network;
mod policy;
mod sheet;
mod show;
mod slashings;
mod source;
mod text;
mod watch;
mod what_if;

pub(super) use compare::{CompareArgs, run as compare};
pub(super) use diff::{DiffArgs, run as diff};
pub(super) use explain::{ExplainArgs, run as explain};
pub(super) use export::{ExportArgs, run as export};
pub(super) use frontier::run as frontier;
pub(super) use history::{HistoryArgs, run as history};
pub(super) use look_through::{LookThroughArgs, run as look_through};
pub(super) use ls::{LsArgs, run as ls};
#[cfg(feature = "mcp")]
pub(super) use mcp::{McpArgs, run as mcp};
pub(super) use network::{NetworkArgs, run as network};
pub(super) use sheet::{Format, Sheet};
pub(super) use show::{ShowArgs, run as show};
pub(super) use slashings::{SlashingsArgs, run as slashings};
pub(super) use source::{ServerArgs, Source};
pub(super) use watch::{WatchArgs, run as watch};
pub(super) use what_if::{WhatIfArgs, run as what_if, stress};

pub(super) use text::{cause, clean, clean_json, group, short};

use std::fmt;
use std::str::FromStr;

use alloy::primitives::B256;
use clap::Args;
use serde_json::Value;

use super::database::DatabaseArgs;
use source::Answer;

/// What every command that reads takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ReadArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// As of when: a position, block:N (block:CHAIN:N), the 0x… hash of a block with facts,
    /// publication:0x… (its transaction), a day or time on the chain's clock (2026-03-29,
    /// 2026-03-29T12:00:00Z), finalized, or head, which shows slashes that are not final too. All
    /// of these are as the record has them now, restated where older facts came late;
    /// said:TIME is what had been said by then.
    #[arg(long, value_name = "WHEN", default_value = "head")]
    at: At,
    /// Print the API's answer as one JSON document.
    #[arg(long)]
    json: bool,
}

impl ReadArgs {
    /// Whether the API must be asked: of a server, or as of another point than now.
    pub(super) fn is_of_api(&self) -> bool {
        self.server.is_remote() || self.at != At::Head
    }

    /// Whether JSON is wanted.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    async fn open(&self, database: &DatabaseArgs) -> anyhow::Result<Reading> {
        let source = self.server.open(database).await?;
        let as_of = source.as_of(&self.at).await?;
        Ok(Reading { source, as_of, is_json: self.json })
    }

    /// The same with what plays scenarios.
    async fn open_with_scenarios(&self, database: &DatabaseArgs) -> anyhow::Result<Reading> {
        let mut reading = self.open(database).await?;
        reading.source = reading.source.with_scenarios().await?;
        Ok(reading)
    }
}

/// A table as CSV, for those who have a spreadsheet, or plain, for those who have awk.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct CsvArgs {
    /// Print the table as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print the rows alone, a line each, the cells separated by tabs.
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    plain: bool,
}

impl CsvArgs {
    const fn format(self) -> Format {
        match self {
            Self { csv: true, .. } => Format::Csv,
            Self { plain: true, .. } => Format::Plain,
            _ => Format::Text,
        }
    }

    const fn is_for_people(self) -> bool {
        matches!(self.format(), Format::Text)
    }
}

/// A source, and as of when it is asked.
struct Reading {
    source: Source,
    as_of: Value,
    is_json: bool,
}

impl Reading {
    async fn ask(&self, document: &str, mut variables: Value) -> anyhow::Result<Answer> {
        variables["asOf"] = self.as_of.clone();
        self.source.ask(document, variables).await
    }

    /// The answer as JSON if that is wanted, else what `render` makes of it.
    fn show(&self, answer: &Answer, render: impl FnOnce(&Value) -> Shown) {
        if self.is_json {
            super::say(&answer.json());
            return;
        }
        match render(&answer.data) {
            Shown::Text(text) => super::say(&text),
            Shown::Sheet(sheet, format) => super::say(&sheet.write(format)),
        }
        answer.say_when();
    }
}

/// What a renderer makes.
enum Shown {
    Text(String),
    Sheet(Sheet, Format),
}

/// As of when, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    Head,
    /// The newest position, without what is not final.
    Finalized,
    Position(u64),
    Block {
        chain: Option<u64>,
        number: u64,
    },
    BlockHash(B256),
    /// By its transaction, whose ratings rest on one position.
    Publication(B256),
    /// RFC 3339.
    Time(String),
    /// RFC 3339, on the server's own clock.
    Said(String),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
        let hash = |text: &str| {
            text.parse().map_err(|_| format!("{text} is no hash of 0x and 64 hexadecimal digits"))
        };
        match text {
            "head" => return Ok(Self::Head),
            "finalized" => return Ok(Self::Finalized),
            "safe" => {
                return Err("the record marks what is final and not what is safe: \
                            say finalized or head"
                    .to_owned());
            }
            _ if text.starts_with("0x") => return hash(text).map(Self::BlockHash),
            _ => {}
        }
        if let Some(transaction) = text.strip_prefix("publication:") {
            return hash(transaction).map(Self::Publication);
        }
        if let Some(block) = text.strip_prefix("block:") {
            return Ok(match block.split_once(':') {
                Some((chain, block)) => {
                    Self::Block { chain: Some(number(chain)?), number: number(block)? }
                }
                None => Self::Block { chain: None, number: number(block)? },
            });
        }
        if let Some(time) = text.strip_prefix("said:") {
            return Ok(Self::Said(moment(time)?));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Position(number(text)?));
        }
        moment(text).map(Self::Time)
    }
}

/// A time, or this hour of a day.
fn time_of(text: &str, of_day: &str) -> Result<String, jiff::Error> {
    let found = match text.parse::<jiff::civil::Date>() {
        Ok(day) if text.len() == 10 => format!("{day}{of_day}").parse::<jiff::Timestamp>(),
        _ => text.parse::<jiff::Timestamp>(),
    };
    found.map(|time| time.to_string())
}

/// A time, or the end of a day.
fn moment(text: &str) -> Result<String, String> {
    time_of(text, "T23:59:59Z").map_err(|_| {
        format!(
            "{text} is no position, block:N, block hash, publication:TRANSACTION, \
             day (2026-03-29), time (RFC 3339), finalized or head"
        )
    })
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("head"),
            Self::Finalized => f.write_str("finalized"),
            Self::Position(position) => write!(f, "{position}"),
            Self::Block { chain: None, number } => write!(f, "block:{number}"),
            Self::Block { chain: Some(chain), number } => write!(f, "block:{chain}:{number}"),
            Self::BlockHash(hash) => write!(f, "{hash}"),
            Self::Publication(transaction) => write!(f, "publication:{transaction}"),
            Self::Time(time) => f.write_str(time),
            Self::Said(time) => write!(f, "said:{time}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_read_as_it_is_typed() {
        let read = |text: &str| text.parse::<At>();
        assert_eq!(read("head"), Ok(At::Head));
        assert_eq!(read("262"), Ok(At::Position(262)));
        assert_eq!(read("block:7"), Ok(At::Block { chain: None, number: 7 }));
        assert_eq!(read("block:1:7"), Ok(At::Block { chain: Some(1), number: 7 }));
        assert_eq!(read("2026-03-29"), Ok(At::Time("2026-03-29T23:59:59Z".to_owned())));
        assert_eq!(
            read("said:2026-03-29T14:00:00+02:00"),
            Ok(At::Said("2026-03-29T12:00:00Z".to_owned()))
        );
        let hash = format!("0x{}", "ab".repeat(32));
        assert_eq!(read(&hash), Ok(At::BlockHash(B256::repeat_byte(0xab))));
        for text in ["finalized", "block:1:7", &hash, &format!("publication:{hash}")] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        let wrong = ["", "block:", "block:x", "-1", "yesterday", "2026-13-01", "0xabc", "safe"];
        for wrong in wrong.into_iter().chain(["publication:7"]) {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("").unwrap_err().contains("block:N"));
    }
}
