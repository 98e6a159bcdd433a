//! Columns for people: as wide as they must be, the last one as it comes.

use std::io::{self, Write};

/// Prints rows under their headings. Without a row nothing is printed.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let headings = headings.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let widths: Vec<_> =
        (0..N).map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut out = io::stdout().lock();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:<width$}  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
