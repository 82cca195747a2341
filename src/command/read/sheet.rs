//! A table: for people in the width of their terminal, or as CSV.

use std::io::IsTerminal as _;

use comfy_table::{Cell, Color};

use super::text::short;

/// The columns whose cells are grades.
const GRADES: [&str; 5] = ["rating", "before", "after", "from", "to"];

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For spreadsheets.
    Csv,
}

/// A header and rows of it.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// A row as wide as the header.
    pub(super) fn line(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Leaves out a column in which no row says anything.
    pub(super) fn without_empty_columns(mut self) -> Self {
        for column in (0..self.header.len()).rev() {
            if self.rows.iter().all(|row| row[column].is_empty()) {
                self.header.remove(column);
                self.rows.iter_mut().for_each(|row| drop(row.remove(column)));
            }
        }
        self
    }

    pub(crate) fn write(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Csv => self.csv(),
        }
    }

    fn text(&self) -> String {
        let header: Vec<&str> = self.header.iter().map(String::as_str).collect();
        let mut table = crate::command::table::table(&header);
        let is_coloured = is_coloured();
        for row in &self.rows {
            table.add_row(row.iter().zip(&header).map(|(text, name)| {
                let cell = Cell::new(text);
                match GRADES.contains(name).then(|| colour(text)).flatten() {
                    Some(colour) if is_coloured => cell.fg(colour),
                    _ => cell,
                }
            }));
        }
        table.to_string()
    }

    fn csv(&self) -> String {
        let mut written = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let cells: Vec<String> = row.iter().map(|text| assay_graphql::csv_cell(text)).collect();
            written += &cells.join(",");
            written += "\r\n";
        }
        written
    }
}

/// Whether colours are wanted: on a terminal, unless the user asks for none.
pub(super) fn is_coloured() -> bool {
    let is_unset = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    std::io::stdout().is_terminal()
        && is_unset("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A slug in a table: short on a terminal, whole for whoever reads a pipe.
pub(super) fn name(slug: &str) -> String {
    if std::io::stdout().is_terminal() { short(slug) } else { super::clean(slug) }
}

fn colour(grade: &str) -> Option<Color> {
    match grade.trim_end_matches(" (p)").trim_end_matches(['+', '-']) {
        "AAA" | "AA" | "A" | "BBB" => Some(Color::Green),
        "BB" | "B" => Some(Color::Yellow),
        "CCC" | "D" => Some(Color::Red),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_quoted_and_an_empty_column_is_left_out() {
        let mut sheet = Sheet::new(&["entity", "nothing", "words"]);
        sheet.row(["a".to_owned(), String::new(), "=1, \"x\"".to_owned()]);
        sheet.row(["b".to_owned(), String::new(), "−1".to_owned()]);
        let sheet = sheet.without_empty_columns();
        assert_eq!(sheet.write(Format::Csv), "entity,words\r\na,\"'=1, \"\"x\"\"\"\r\nb,−1\r\n");
    }
}
