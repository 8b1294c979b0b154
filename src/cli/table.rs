//! Tables for people: aligned columns, and colours where there is a terminal.

use std::io::{self, Write};

use crate::config::Paint;

/// What a cell wants to say besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing.
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Odd,
    /// Something is wrong.
    Bad,
}

/// A text that may be coloured.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    mood: Mood,
}

impl Cell {
    /// Control characters, which could do anything to a terminal, are shown by their codes.
    pub(super) fn new(text: &str, mood: Mood) -> Self {
        let mut safe = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter.is_control() {
                safe.extend(letter.escape_debug());
            } else {
                safe.push(letter);
            }
        }
        Self { text: safe, mood }
    }

    fn painted(&self, paint: Paint) -> String {
        let code = match self.mood {
            _ if paint == Paint::Plain => return self.text.clone(),
            Mood::Plain => return self.text.clone(),
            Mood::Good => 32,
            Mood::Odd => 33,
            Mood::Bad => 31,
        };
        format!("\u{1b}[{code}m{}\u{1b}[0m", self.text)
    }

    /// The text in a column of this width.
    pub(super) fn padded(&self, width: usize, paint: Paint) -> String {
        let n_blanks = width.saturating_sub(self.width());
        format!("{}{:n_blanks$}", self.painted(paint), "")
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Mood::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Mood::Plain)
    }
}

impl From<Option<&String>> for Cell {
    fn from(text: Option<&String>) -> Self {
        Self::from(text.map_or("-", String::as_str))
    }
}

/// Writes a table with a head; nothing is written after the last text of a line.
pub(super) fn write_table<const N: usize>(
    out: &mut dyn Write,
    paint: Paint,
    head: [&str; N],
    rows: &[[Cell; N]],
) -> io::Result<()> {
    let head = head.map(Cell::from);
    let lines = || std::iter::once(&head).chain(rows);
    let mut widths = [0; N];
    for line in lines() {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.width());
        }
    }
    for line in lines() {
        let mut n_blanks = 0;
        for (cell, width) in line.iter().zip(widths) {
            write!(out, "{:n_blanks$}{}", "", cell.painted(paint))?;
            n_blanks = width - cell.width() + 2;
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(paint: Paint) -> String {
        let mut out = Vec::new();
        let rows = [
            ["é".into(), Cell::new("up", Mood::Good)],
            ["longer".into(), Cell::new("a\u{1b}[2J", Mood::Plain)],
        ];
        write_table(&mut out, paint, ["NAME", "STATE"], &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_aligned_and_hostile_names_are_harmless() {
        assert_eq!(
            table(Paint::Plain),
            "NAME    STATE\né       up\nlonger  a\\u{1b}[2J\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        assert_eq!(
            table(Paint::Coloured),
            "NAME    STATE\né       \u{1b}[32mup\u{1b}[0m\nlonger  a\\u{1b}[2J\n"
        );
    }
}
