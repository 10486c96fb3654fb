//! Tables of any length: shown in pieces rather than held in memory.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::escape;
use crate::limits::INSPECT_ROWS;

/// Characters of one cell.
const CELL: usize = 200;

/// A table on its way out.
pub struct Rows<'a> {
    out: &'a mut dyn Write,
    header: &'static [&'static str],
    table: Table,
    is_empty: bool,
}

impl<'a> Rows<'a> {
    pub fn new(out: &'a mut dyn Write, header: &'static [&'static str]) -> Self {
        let table = table(header);
        Self {
            out,
            header,
            table,
            is_empty: true,
        }
    }

    /// Adds a row; what strangers wrote in it is escaped here.
    pub fn add<const N: usize>(&mut self, cells: [String; N]) -> io::Result<()> {
        self.is_empty = false;
        self.table
            .add_row(cells.map(|cell| escape::text(&cell, CELL)));
        if self.table.row_count() >= INSPECT_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Shows what was not shown yet, or says that there is nothing.
    pub fn end(mut self, nothing: &str) -> io::Result<()> {
        if self.is_empty {
            return writeln!(self.out, "{nothing}");
        }
        self.flush()
    }

    /// Shows what was not shown yet.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.table.row_count() > 0 {
            let table = std::mem::replace(&mut self.table, table(self.header));
            for line in table.lines() {
                writeln!(self.out, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// A time as people read it, UTC.
pub fn minute(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}
