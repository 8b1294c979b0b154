//! Exports: all records that were asked for, in batches of a bounded size, as fast as they are taken.
//!
//! Must not know who takes them, nor where the records come from.

use tokio::sync::mpsc;

use super::asking::Stream;
use crate::{api::AnswerError, base::task::TaskGroup, types::record::Record};

/// Bytes of records that an export hands over at once; a larger one goes alone.
const BATCH_BYTES: usize = 64 * 1024;

/// Batches of an export that may wait for a slow reader.
const BATCHES_AHEAD: usize = 1;

/// A batch, or why there are no more. The last one of a whole export is empty.
pub(super) type Batch = Result<Vec<Record>, AnswerError>;

/// Exports `records` in a task of `tasks`.
pub(super) fn batches(records: Stream, tasks: &TaskGroup) -> mpsc::Receiver<Batch> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    // The handle is not needed: a crash drops the sender without the final empty batch, which
    // the reader takes for the failure it is.
    drop(tasks.spawn("export", merge_all(records, sender)));
    receiver
}

async fn merge_all(mut records: Stream, sender: mpsc::Sender<Batch>) {
    let mut batcher = Batcher::default();
    let last = loop {
        let next = tokio::select! {
            biased;
            next = records.next() => next,
            // Nothing is wanted any more of what is half done here.
            () = sender.closed() => return,
        };
        let batch = match next {
            Ok(Some(record)) => batcher.push(record),
            Ok(None) => break Ok(Vec::new()),
            Err(error) => break Err(error),
        };
        if let Some(batch) = batch
            && sender.send(Ok(batch)).await.is_err()
        {
            return;
        }
    };
    if let Some(batch) = batcher.take()
        && sender.send(Ok(batch)).await.is_err()
    {
        return;
    }
    // An error means that nobody reads any more.
    drop(sender.send(last).await);
}

/// Puts records into batches.
#[derive(Default)]
struct Batcher {
    batch: Vec<Record>,
    n_bytes: usize,
}

impl Batcher {
    /// Adds a record; the batch before it, if that is full with it.
    fn push(&mut self, record: Record) -> Option<Vec<Record>> {
        let record_bytes = record.memory_bytes();
        let is_over = self.n_bytes + record_bytes > BATCH_BYTES;
        let full = if is_over { self.take() } else { None };
        self.n_bytes += record_bytes;
        self.batch.push(record);
        full
    }

    /// What is left.
    fn take(&mut self) -> Option<Vec<Record>> {
        self.n_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        (!batch.is_empty()).then_some(batch)
    }
}
