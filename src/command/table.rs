//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets};

/// A table with a header, as wide as the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}
