//! The live stream: positions that became durable, in batches of a bounded size, so that what
//! waits for a slow subscriber is bounded too.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::types::record::Record;

/// Batches that a slow subscriber may be behind.
const BATCHES_MAX: usize = 128;

/// Bytes of a batch; a larger position goes alone.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Who listens.
pub(super) fn channel() -> broadcast::Sender<Arc<[Record]>> {
    broadcast::channel(BATCHES_MAX).0
}

/// Sends `records`, in their order, to those who listen; nobody may.
pub(super) fn send(live: &broadcast::Sender<Arc<[Record]>>, records: Vec<Record>) {
    let (mut batch, mut n_bytes) = (Vec::new(), 0);
    for record in records {
        let record_bytes = record.memory_bytes();
        if n_bytes + record_bytes > BATCH_BYTES_MAX && !batch.is_empty() {
            n_bytes = 0;
            // An error means that the last subscriber has just left.
            drop(live.send(std::mem::take(&mut batch).into()));
        }
        n_bytes += record_bytes;
        batch.push(record);
    }
    if !batch.is_empty() {
        drop(live.send(batch.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::position, *};

    #[test]
    fn batches_have_a_size_and_all_is_in_them() {
        let live = channel();
        let mut subscriber = live.subscribe();
        let records: Vec<_> = (0..1_000).map(position).collect();
        send(&live, records.clone());
        let (mut received, mut n_batches) = (Vec::new(), 0);
        while let Ok(batch) = subscriber.try_recv() {
            assert!(batch.iter().map(Record::memory_bytes).sum::<usize>() <= BATCH_BYTES_MAX);
            received.extend_from_slice(&batch);
            n_batches += 1;
        }
        assert!(n_batches > 1);
        assert_eq!(received, records);
    }
}
