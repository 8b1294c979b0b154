//! Standard output of the commands: one place that writes, that takes a closed pipe for the quiet end
//! it is, and that says whether there are colours.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use crate::config::Paint;

/// Exit code for wrong arguments or a wrong configuration.
pub const EXIT_USAGE: u8 = 64;

/// Exit code for what could not start or was answered with an error.
pub const EXIT_FAILURE: u8 = 1;

/// Exit code for a bug or a store that failed.
pub const EXIT_BUG: u8 = 70;

/// Runs a command that writes to standard output and ends by itself. A reader that went away is no
/// error, and the command's own code stays what it is.
pub fn with_stdout(
    command: impl FnOnce(&mut dyn Write) -> Result<ExitCode, io::Error>,
) -> ExitCode {
    let mut stdout = io::BufWriter::new(Leaving::new(io::stdout().lock()));
    match command(&mut stdout).and_then(|code| stdout.flush().map(|()| code)) {
        Ok(code) => code,
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

/// An output whose reader may go away: what is written from then on is nowhere, and no error.
struct Leaving<W> {
    output: W,
    is_gone: bool,
}

impl<W> Leaving<W> {
    const fn new(output: W) -> Self {
        Self {
            output,
            is_gone: false,
        }
    }

    fn unless_gone<T>(
        &mut self,
        act: impl FnOnce(&mut W) -> io::Result<T>,
        or: T,
    ) -> io::Result<T> {
        if self.is_gone {
            return Ok(or);
        }
        match act(&mut self.output) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_gone = true;
                Ok(or)
            }
            outcome => outcome,
        }
    }
}

impl<W: Write> Write for Leaving<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(|output| output.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone(Write::flush, ())
    }
}

/// Colours for a terminal, unless `NO_COLOR` is set and not empty (<https://no-color.org>); none for
/// anything else.
pub fn paint(output: &impl IsTerminal) -> Paint {
    let no_colour = std::env::var_os("NO_COLOR");
    paint_for(output.is_terminal(), no_colour.as_deref())
}

fn paint_for(is_terminal: bool, no_colour: Option<&OsStr>) -> Paint {
    if is_terminal && no_colour.is_none_or(OsStr::is_empty) {
        Paint::Coloured
    } else {
        Paint::Plain
    }
}

/// Says on standard error why a command ended, and gives its exit code.
pub fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let mut stderr = io::stderr().lock();
    let is_written = writeln!(stderr, "waymesh: {error}").is_ok();
    debug_assert!(
        is_written || !io::stderr().is_terminal(),
        "a terminal takes what is written"
    );
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_a_terminal_whose_user_does_not_say_no() {
        let cases = [
            (true, None, Paint::Coloured),
            (true, Some(""), Paint::Coloured),
            (true, Some("1"), Paint::Plain),
            (true, Some("0"), Paint::Plain),
            (false, None, Paint::Plain),
            (false, Some("1"), Paint::Plain),
        ];
        for (is_terminal, no_colour, expected) in cases {
            let paint = paint_for(is_terminal, no_colour.map(OsStr::new));
            assert_eq!(paint, expected, "{is_terminal} {no_colour:?}");
        }
    }

    /// Takes some bytes, then fails in one way.
    struct Short(usize, io::ErrorKind);

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(self.1)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_goes_away_costs_nothing_and_a_full_disk_is_an_error() {
        let mut gone = Leaving::new(Short(4, io::ErrorKind::BrokenPipe));
        for _ in 0..3 {
            gone.write_all(b"abc").unwrap();
        }
        gone.flush().unwrap();
        assert!(gone.is_gone);
        let mut full = Leaving::new(Short(4, io::ErrorKind::StorageFull));
        full.write_all(b"abc").unwrap();
        let error = full.write_all(b"abc").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
