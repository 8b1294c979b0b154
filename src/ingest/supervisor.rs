//! Supervises line buffers: a crashed one is made anew and runs its chunk again without the line
//! that killed it.
//!
//! State that must outlive a crash (the session before the chunk, the bytes) stays here. The rate
//! of crashes of a connection is limited; beyond it the connection is given up.

use std::{cell::RefCell, collections::VecDeque, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{
    Shared, events,
    line_buffer::{Job, JobDone, LineInHand, Session, run},
};
use crate::{
    base::{task::spawn_child, time::Instant},
    types::ids::ConnectionId,
};

/// Crashes of one connection within [`RESTART_WINDOW`] that are survived.
pub(crate) const RESTARTS_MAX: usize = 5;

/// The time within which crashes are counted.
pub(crate) const RESTART_WINDOW: Duration = Duration::from_secs(10);

thread_local! {
    /// What the line buffer that runs on this thread works on. A job has no await inside, so it
    /// begins and ends on one thread.
    static CURRENT: RefCell<Option<Arc<Chunk>>> = const { RefCell::new(None) };
}

/// Why a job was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// More crashes than a connection may have.
    TooManyRestarts,
    /// A crash outside any line: running the job again would crash again.
    NotALine,
}

/// Runs the jobs of one connection.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    /// Instants of the latest crashes, oldest first; at most [`RESTARTS_MAX`].
    crashes: VecDeque<Instant>,
}

impl Supervisor {
    /// Runs the job of `chunk` in a line buffer task, and again in a new one after each crash; `session` is the
    /// one of before the job until it is done.
    ///
    /// Not cancel safe: after a dropped call the job may have run or not.
    pub(crate) async fn run(
        &mut self,
        connection: ConnectionId,
        chunk: Arc<Chunk>,
        session: &mut Session,
        shared: &Arc<Shared>,
    ) -> Result<Box<JobDone>, GivenUp> {
        let mut crashed = Vec::new();
        loop {
            if let Ok(mut done) = start(&chunk, session, &crashed, shared).await {
                *session = std::mem::take(&mut done.session);
                return Ok(done);
            }
            let in_hand = &chunk.in_hand;
            let place = in_hand.take_place();
            events::line_buffer_restarted(shared, connection, session.vehicle(), place);
            let number = in_hand.number().ok_or(GivenUp::NotALine)?;
            self.note_crash(Instant::now())?;
            crashed.push(number);
        }
    }

    fn note_crash(&mut self, now: Instant) -> Result<(), GivenUp> {
        let crashes = &mut self.crashes;
        while crashes
            .front()
            .is_some_and(|first| now.since(*first) >= RESTART_WINDOW)
        {
            crashes.pop_front();
        }
        if crashes.len() >= RESTARTS_MAX {
            return Err(GivenUp::TooManyRestarts);
        }
        crashes.push_back(now);
        Ok(())
    }
}

/// Starts a line buffer. Not a part of [`Supervisor::run`], whose future would hold what the line
/// buffer is made of.
fn start(
    chunk: &Arc<Chunk>,
    session: &Session,
    crashed: &[usize],
    shared: &Arc<Shared>,
) -> JoinHandle<Box<JobDone>> {
    let buffer = LineBufferTask {
        chunk: Arc::clone(chunk),
        done: Box::new(JobDone::new(session.snapshot())),
        crashed: crashed.to_vec(),
        shared: Arc::clone(shared),
    };
    spawn_child(buffer.run())
}

/// What is the same for all line buffers that work on it, one after the other.
#[derive(Debug)]
pub(crate) struct Chunk {
    job: Job,
    in_hand: LineInHand,
}

impl Chunk {
    /// A chunk with no line in hand.
    pub(crate) fn new(job: Job) -> Arc<Self> {
        let in_hand = LineInHand::default();
        Arc::new(Self { job, in_hand })
    }
}

struct LineBufferTask {
    chunk: Arc<Chunk>,
    done: Box<JobDone>,
    crashed: Vec<usize>,
    shared: Arc<Shared>,
}

impl LineBufferTask {
    async fn run(self) -> Box<JobDone> {
        CURRENT.set(Some(Arc::clone(&self.chunk)));
        let Chunk { job, in_hand } = &*self.chunk;
        let done = run(job, self.done, &self.crashed, &self.shared, in_hand);
        CURRENT.set(None);
        done
    }
}

/// For the process's panic hook: notes `place` for the line buffer that is panicking on this
/// thread, if one is. False if none is, and the panic is somebody else's.
pub fn note_panic(place: &str) -> bool {
    let current =
        CURRENT.with(|current| current.try_borrow_mut().ok().and_then(|mut it| it.take()));
    let Some(chunk) = current else {
        return false;
    };
    chunk.in_hand.note_place(place);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_are_survived_up_to_a_rate() {
        let mut supervisor = Supervisor::default();
        for millis in 0..RESTARTS_MAX as u64 {
            assert_eq!(supervisor.note_crash(Instant::from_millis(millis)), Ok(()));
        }
        let within = Instant::from_millis(9_999);
        assert_eq!(supervisor.note_crash(within), Err(GivenUp::TooManyRestarts));
        assert_eq!(supervisor.note_crash(Instant::from_millis(10_000)), Ok(()));
    }

    #[test]
    fn a_panic_elsewhere_is_not_a_line_buffers() {
        assert!(!note_panic("somewhere"));
    }
}
