//! `waymesh keygen`: a new secret for a cluster. Works alone.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::out::{EXIT_FAILURE, fail, with_stdout};
use crate::cluster::net::secret::{Secret, write_new};

/// What `waymesh keygen` can be told.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// A new file for the secret, readable by its owner alone [default: it is printed]
    file: Option<PathBuf>,
}

/// Makes a secret and prints it, or writes it into a new file and prints nothing.
pub fn run(args: &KeygenArgs) -> ExitCode {
    match &args.file {
        Some(path) => write(path),
        None => with_stdout(|out| print(out).map(|()| ExitCode::SUCCESS)),
    }
}

fn write(path: &Path) -> ExitCode {
    match write_new(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_FAILURE),
    }
}

fn print(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", Secret::generate()?.to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_64_hex_digits_and_new_each_time() {
        let printed = || {
            let mut out = Vec::new();
            print(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let one = printed();
        assert_eq!(one.len(), 65);
        assert!(one.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, printed());
    }
}
