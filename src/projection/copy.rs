//! Rows in the text form of `COPY`: what the projections write.

use alloy::primitives::U256;
use sqlx::PgConnection;

/// Rows of one table, waiting to be copied.
#[derive(Debug)]
pub(super) struct TableRows {
    table: &'static str,
    columns: &'static str,
    text: String,
    is_row_empty: bool,
}

impl TableRows {
    pub(super) const fn new(table: &'static str, columns: &'static str) -> Self {
        Self { table, columns, text: String::new(), is_row_empty: true }
    }

    /// Copies the rows into their table and forgets them.
    pub(super) async fn flush(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let statement = format!("COPY read_model.{} ({}) FROM STDIN", self.table, self.columns);
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(self.text.as_bytes()).await?;
        copy.finish().await?;
        self.text.clear();
        Ok(())
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_row_empty) {
            self.text.push('\t');
        }
    }

    pub(super) fn integer(&mut self, value: impl Into<i128>) -> &mut Self {
        self.separate();
        self.text.push_str(&value.into().to_string());
        self
    }

    pub(super) fn number(&mut self, value: U256) -> &mut Self {
        self.separate();
        self.text.push_str(&value.to_string());
        self
    }

    pub(super) fn boolean(&mut self, value: bool) -> &mut Self {
        self.separate();
        self.text.push(if value { 't' } else { 'f' });
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.separate();
        self.text.push_str("\\\\x");
        self.text.push_str(&alloy::hex::encode(value));
        self
    }

    /// Text; NUL, which Postgres cannot hold, is shown as its escape.
    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.separate();
        for character in value.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '\t' => self.text.push_str("\\t"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\0' => self.text.push_str("\\\\0"),
                plain => self.text.push(plain),
            }
        }
        self
    }

    /// A one-dimensional array of plain items: numbers, hex, `NULL`.
    pub(super) fn array(&mut self, items: impl Iterator<Item = String>) -> &mut Self {
        let items: Vec<String> = items.collect();
        self.text(&format!("{{{}}}", items.join(",")))
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.separate();
        self.text.push_str("\\N");
        self
    }

    pub(super) fn optional<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> &mut Self,
    ) -> &mut Self {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    pub(super) fn end(&mut self) {
        self.text.push('\n');
        self.is_row_empty = true;
    }
}

/// An item of a `bytea[]`.
pub(super) fn bytes_item(value: &[u8]) -> String {
    format!("\"\\\\x{}\"", alloy::hex::encode(value))
}
