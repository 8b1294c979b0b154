//! What a line buffer makes of one chunk, without a socket.

use super::{
    super::{
        line_buffer::{self, Job, JobDone, LineInHand, Session},
        *,
    },
    bench::Bench,
};
use crate::{base::time::Instant, types::time::UnixMillis};

fn done_of(bench: &Bench, text: String) -> Box<JobDone> {
    let job = Job {
        bytes: text.into(),
        flush: None,
        now: Instant::from_millis(0),
        received: UnixMillis(0),
    };
    let done = Box::new(JobDone::new(Session::default()));
    line_buffer::run(&job, done, &[], &bench.shared(), &LineInHand::default())
}

#[tokio::test]
async fn of_a_flood_of_rejected_lines_the_first_are_set_aside_and_all_are_counted() {
    let bench = Bench::new(true);
    let lines: String = (0..1_000).map(|number| format!("no {number}\n")).collect();
    let done = done_of(&bench, format!("{lines}id a\n{lines}at 1\n"));
    let kept: Vec<_> = done.rejected.iter().map(|kept| &kept.line[..]).collect();
    let first: Vec<_> = (0..256).map(|number| format!("no {number}")).collect();
    assert_eq!(kept, first.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!((done.tally.n_received, done.tally.n_positions), (2_002, 1));
    events::lines_counted(&bench.metrics.ingest, &done.tally, 1);
    let metrics = &bench.metrics.ingest;
    assert_eq!(metrics.lines.count("rejected"), 2_000);
    for reason in [RejectReason::UnknownProtocol, RejectReason::Malformed] {
        assert_eq!(metrics.lines_rejected.count(reason.as_str()), 1_000);
    }
}
