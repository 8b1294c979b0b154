//! Signals that tell this process to end: the work ends in order, so that no node, folder or
//! namespace of it is left behind.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use waymesh::base::task::spawn_in;

/// Signals and what is said of them: Ctrl-C, `kill`, and a terminal that is closed.
const SIGNALS: [(SignalKind, &str); 3] = [
    (SignalKind::interrupt(), "interrupted"),
    (SignalKind::terminate(), "terminated"),
    (SignalKind::hangup(), "hung up"),
];

/// What is said where it is not known which signal it was.
const TOLD: &str = "interrupted";

/// Why work ended that was not done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(&'static str);

/// Does `work` until it is done or a signal tells to end; then it is dropped, and with it all that it
/// owns. Work that blocks its thread looks at the token that it is given.
///
/// # Errors
/// Those of the work; for a signal one that [`is_told`] knows.
pub(crate) async fn until_told<T, W>(work: impl FnOnce(CancellationToken) -> W) -> io::Result<T>
where
    W: Future<Output = io::Result<T>>,
{
    let told = CancellationToken::new();
    // From here on no signal ends the process at once. Each is heard by a task of its own, on
    // another thread than work that blocks.
    let mut hearing = tokio::task::JoinSet::new();
    for (kind, what) in SIGNALS {
        // Under nohup the run is to outlive its terminal.
        if kind == SignalKind::hangup() && is_ignored(&own_status(), kind) {
            continue;
        }
        let mut signals = signal(kind)?;
        let told = told.clone();
        spawn_in(&mut hearing, "signal", async move {
            signals.recv().await;
            told.cancel();
            what
        });
    }
    tokio::select! {
        outcome = work(told) => outcome,
        what = hearing.join_next() => {
            Err(io::Error::other(Told(what.and_then(Result::ok).unwrap_or(TOLD))))
        }
    }
}

/// What the system says of this process; nothing if it cannot be read.
fn own_status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Whether a signal is ignored by the process of this status.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) >> (kind.as_raw_value() - 1) & 1 == 1
}

/// Fails if a signal has told to end.
///
/// # Errors
/// One that [`is_told`] knows.
pub(crate) fn go_on(told: &CancellationToken) -> io::Result<()> {
    if told.is_cancelled() {
        return Err(io::Error::other(Told(TOLD)));
    }
    Ok(())
}

/// Whether work ended because a signal told it to.
pub(crate) fn is_told(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|why| why.is::<Told>())
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    struct Owned<'a>(&'a std::cell::Cell<bool>);

    impl Drop for Owned<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_signal_that_is_ignored_stands_in_the_status() {
        let is_ignored =
            |mask: &str, kind| is_ignored(&format!("SigBlk:\t7\nSigIgn:\t{mask}\n"), kind);
        assert!(is_ignored("0000000000000001", SignalKind::hangup()));
        assert!(is_ignored("0000000000001003", SignalKind::hangup()));
        assert!(!is_ignored("0000000000001002", SignalKind::hangup()));
        assert!(is_ignored("0000000000001002", SignalKind::interrupt()));
        assert!(!super::is_ignored("", SignalKind::hangup()));
        assert!(own_status().contains("SigIgn:"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn each_signal_ends_the_work_and_drops_what_it_owns() {
        for (signal, expected) in [
            (Signal::TERM, "terminated"),
            (Signal::HUP, "hung up"),
            (Signal::INT, "interrupted"),
        ] {
            if signal == Signal::HUP && is_ignored(&own_status(), SignalKind::hangup()) {
                continue;
            }
            let is_dropped = std::cell::Cell::new(false);
            let outcome: io::Result<()> = until_told(async |_| {
                let _owned = Owned(&is_dropped);
                kill_process(getpid(), signal)?;
                std::future::pending().await
            })
            .await;
            let error = outcome.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(is_told(&error) && is_dropped.get());
        }
        // Work that blocks its thread is told too.
        let outcome: io::Result<()> = until_told(async |told| {
            kill_process(getpid(), Signal::TERM)?;
            loop {
                go_on(&told)?;
            }
        })
        .await;
        assert!(is_told(&outcome.unwrap_err()));
    }
}
