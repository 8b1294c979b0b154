//! `load-test floor`: the least that a server can do with a vehicle's line, as the baseline of the
//! benches.
//!
//! ```text
//! poller (one thread, epoll): read, find lines, parse, pick a shard, append to the open group
//!    ▲ answers: one write for each socket and group        │ every 5 ms
//!    └──────────── syncer (one thread): write, fdatasync ◀─┘
//! ```
//!
//! It keeps its word (an answer leaves after the sync that covers the line) and no other promise of
//! the node: no limits, no duplicates, no recovery, no supervision. It shares no code with the node,
//! so that a mistake of one is not a mistake of both.

mod group;
mod line;
mod poller;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::{group::Syncer, poller::Poller};
use crate::out::Out;

/// Options of `floor`.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArgs {
    /// Where vehicles connect; port 0 takes any
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    vehicles: SocketAddr,
    /// Folder for the file of records
    #[arg(long, value_name = "DIR", default_value = "./floor-data")]
    data: PathBuf,
}

/// Serves until the process is killed; the first line of standard output is the address.
pub(crate) fn run(args: &FloorArgs) -> ExitCode {
    let fail = |error: &io::Error| {
        Out.note(&format!("error: {error}"));
        ExitCode::FAILURE
    };
    let mut poller = match open(args) {
        Ok(poller) => poller,
        Err(error) => return fail(&error),
    };
    // What failed is told before the connections close, so that it is known when they do.
    match poller.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn open(args: &FloorArgs) -> io::Result<Poller> {
    std::fs::create_dir_all(&args.data).map_err(|error| at(&args.data, &error))?;
    let records = args.data.join("records");
    let syncer = Syncer::start(&records).map_err(|error| at(&records, &error))?;
    let poller = Poller::bind(args.vehicles, syncer)?;
    Out.line(&poller.address()?.to_string());
    Ok(poller)
}

/// The error with what it is about.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let args = FloorArgs {
            vehicles: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: file.join("data"),
        };
        let error = open(&args).err().unwrap().to_string();
        assert!(error.contains(args.data.to_str().unwrap()), "{error}");
    }
}
