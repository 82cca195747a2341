//! A table: for people in the width of their terminal, or as CSV.

use std::io::IsTerminal as _;

use comfy_table::{Cell, Color};

use super::text::short;

/// The columns whose cells are grades.
const GRADES: [&str; 5] = ["rating", "before", "after", "from", "to"];

/// Characters after which a cell may be wrapped.
const WRAPPED_CHARS: usize = 28;

/// What a column takes beside its cells.
const BORDER_CHARS: usize = 3;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For spreadsheets.
    Csv,
    /// For other programs: every cell of the rows, tab-separated.
    Plain,
}

/// A header and rows of it.
#[derive(Debug, Clone)]
pub(crate) struct Sheet {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns that do not fit a terminal are left out, from the right.
    is_narrowing: bool,
}

impl Sheet {
    pub(crate) fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|name| (*name).to_owned()).collect();
        Self { header, rows: Vec::new(), is_narrowing: false }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// A row as wide as the header.
    pub(super) fn line(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Leaves out, on a narrow terminal, the columns on the right: the most important come first.
    pub(super) fn narrowing(mut self) -> Self {
        self.is_narrowing = true;
        self
    }

    /// How many columns fit a width when long cells are wrapped.
    fn fitting(&self, width: usize) -> usize {
        let mut left = width.saturating_sub(1);
        let mut count = 0;
        for (column, name) in self.header.iter().enumerate() {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            let longest = cells.chain([name.chars().count()]).max().unwrap_or_default();
            let needed = longest.min(WRAPPED_CHARS) + BORDER_CHARS;
            if needed > left {
                break;
            }
            left -= needed;
            count += 1;
        }
        count.max(2).min(self.header.len())
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
            // No cell holds a tab: what is written passes `clean`.
            Format::Plain => self.rows.iter().map(|row| row.join("\t") + "\n").collect(),
        }
    }

    fn text(&self) -> String {
        let mut header: Vec<&str> = self.header.iter().map(String::as_str).collect();
        let mut table = crate::command::table::table(&header);
        if let Some(width) = table.width().filter(|_| self.is_narrowing && table.is_tty()) {
            header.truncate(self.fitting(width.into()));
            if header.len() < self.header.len() {
                let left_out = self.header[header.len()..].join(", ");
                eprintln!("Left out, for want of room: {left_out}; --json and --csv have all.");
                table = crate::command::table::table(&header);
            }
        }
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
    fn as_many_columns_are_shown_as_fit() {
        let mut sheet = Sheet::new(&["entity", "rating", "why"]);
        sheet.row(["x".repeat(24), "CCC+ (p)".to_owned(), "y".repeat(90)]);
        // 1 + 27 + 11, and 31 more for the last, wrapped.
        for (width, count) in [(10, 2), (39, 2), (69, 2), (70, 3), (200, 3)] {
            assert_eq!(sheet.fitting(width), count, "{width}");
        }
    }

    #[test]
    fn csv_is_quoted_and_an_empty_column_is_left_out() {
        let mut sheet = Sheet::new(&["entity", "nothing", "words"]);
        sheet.row(["a".to_owned(), String::new(), "=1, \"x\"".to_owned()]);
        sheet.row(["b".to_owned(), String::new(), "−1".to_owned()]);
        let sheet = sheet.without_empty_columns();
        assert_eq!(sheet.write(Format::Plain), "a\t=1, \"x\"\nb\t−1\n");
        assert_eq!(sheet.write(Format::Csv), "entity,words\r\na,\"'=1, \"\"x\"\"\"\r\nb,−1\r\n");
    }
}
