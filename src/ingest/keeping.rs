//! What connections keep between two reads: lines without an end, replies that nobody takes.
//!
//! All of it counts in the room for bytes in flight. But nothing says that it will ever end, and a
//! room full of it would stand still. So a connection may always keep its share, a quarter of the
//! room divided by the number of connections; what is kept beyond shares may fill another quarter,
//! and when it does not fit, the connection that has come no further for longest is told to end.
//! Half of the room is always left for whole lines, which the store settles.

use std::{
    collections::BTreeMap,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::IngestConfig;
use crate::base::room::{Room, RoomGuard};

/// The part of the room that shares are of, and the part that what is beyond them may fill.
const PART: usize = 4;

/// Connections that keep more than their share, those that have come no further for longest first.
#[derive(Debug)]
pub(crate) struct Keepers {
    share_bytes: usize,
    bytes_max: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    n_bytes: usize,
    next_number: u64,
    waiting: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

/// What one connection keeps.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    room: Option<RoomGuard>,
    place: Option<Box<Place>>,
}

/// A place in the queue of those who keep more than their share.
#[derive(Debug)]
struct Place {
    number: u64,
    bytes: usize,
    /// Absent once it has been heard.
    end: Option<oneshot::Receiver<()>>,
    keepers: Arc<Keepers>,
}

impl Keepers {
    pub(crate) fn new(config: &IngestConfig) -> Self {
        let bytes_max = config.room_bytes as usize / PART;
        Self {
            share_bytes: bytes_max / config.n_connections_max.get() as usize,
            bytes_max,
            queue: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn enter(&mut self, bytes: usize, end: oneshot::Sender<()>) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.n_bytes += bytes;
        self.waiting.insert(number, (bytes, end));
        number
    }

    fn leave(&mut self, number: u64) -> Option<oneshot::Sender<()>> {
        let (bytes, end) = self.waiting.remove(&number)?;
        self.n_bytes -= bytes;
        Some(end)
    }

    /// Tells the first ones to end until the rest fits. One alone always fits.
    fn make_fit(&mut self, bytes_max: usize) {
        while self.n_bytes > bytes_max && self.waiting.len() > 1 {
            let Some((_, (bytes, end))) = self.waiting.pop_first() else {
                return;
            };
            self.n_bytes -= bytes;
            // A place hears it for as long as it is in the queue.
            end.send(()).ok();
        }
    }
}

impl Keeping {
    /// Notes that `bytes` are kept now, and whether any that were kept before have gone on.
    pub(crate) fn note(
        &mut self,
        bytes: usize,
        has_gone_on: bool,
        (room, keepers): (&Room, &Arc<Keepers>),
    ) {
        if bytes == 0 {
            *self = Self::default();
            return;
        }
        self.room
            .get_or_insert_with(|| room.nothing())
            .resize_to(bytes);
        if bytes <= keepers.share_bytes {
            self.place = None;
            return;
        }
        match &mut self.place {
            Some(place) => place.renew(bytes, has_gone_on),
            None => self.place = Some(Box::new(Place::take(bytes, keepers))),
        }
    }

    /// Whether anything is kept.
    pub(crate) const fn is_empty(&self) -> bool {
        self.room.is_none()
    }

    /// Waits until this must end for what others keep; pends for ever where it keeps no more than
    /// its share. Cancel safe.
    pub(crate) async fn must_end(&mut self) {
        poll_fn(|context| self.poll_must_end(context)).await;
    }

    /// Whether this must end for what others keep; else the task of `context` is woken when it must.
    /// Ready once only.
    pub(crate) fn poll_must_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(place) = &mut self.place else {
            return Poll::Pending;
        };
        let Some(end) = &mut place.end else {
            return Poll::Pending;
        };
        let heard = Pin::new(end).poll(context).map(drop);
        place.end.take_if(|_| heard.is_ready());
        heard
    }
}

impl Place {
    fn take(bytes: usize, keepers: &Arc<Keepers>) -> Self {
        let (told, end) = oneshot::channel();
        let mut queue = keepers.lock();
        let number = queue.enter(bytes, told);
        queue.make_fit(keepers.bytes_max);
        drop(queue);
        Self {
            number,
            bytes,
            end: Some(end),
            keepers: Arc::clone(keepers),
        }
    }

    /// Keeps its place in the queue unless it has gone on; one that was told to end has none.
    fn renew(&mut self, bytes: usize, has_gone_on: bool) {
        if bytes == self.bytes && !has_gone_on {
            return;
        }
        let mut queue = self.keepers.lock();
        let Some(end) = queue.leave(self.number) else {
            return;
        };
        if has_gone_on {
            self.number = queue.enter(bytes, end);
        } else {
            queue.n_bytes += bytes;
            queue.waiting.insert(self.number, (bytes, end));
        }
        self.bytes = bytes;
        queue.make_fit(self.keepers.bytes_max);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keepers.lock().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const KIB: u32 = 1024;

    struct Bench(Room, Arc<Keepers>);

    impl Bench {
        /// Shares of 1 KiB, 16 KiB beyond them.
        fn new() -> Self {
            let config = IngestConfig {
                room_bytes: 64 * KIB,
                n_connections_max: NonZeroU32::new(16).unwrap(),
                ..IngestConfig::default()
            };
            Self(
                Room::new(config.room_bytes),
                Arc::new(Keepers::new(&config)),
            )
        }

        fn note(&self, keeping: &mut Keeping, kib: u32, has_gone_on: bool) {
            let bytes = (kib * KIB) as usize;
            keeping.note(bytes, has_gone_on, (&self.0, &self.1));
        }
    }

    fn must_end(keeping: &mut Keeping) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        keeping.poll_must_end(&mut context).is_ready()
    }

    #[test]
    fn shares_are_kept_by_as_many_as_like() {
        let bench = Bench::new();
        let mut all: Vec<Keeping> = (0..16).map(|_| Keeping::default()).collect();
        all.iter_mut()
            .for_each(|keeping| bench.note(keeping, 1, false));
        assert!(!all.iter_mut().any(must_end));
        assert_eq!(bench.0.taken_bytes(), 16 * 1024);
        drop(all);
        assert_eq!(bench.0.taken_bytes(), 0);
    }

    #[test]
    fn who_has_come_no_further_for_longest_ends_when_more_is_kept_than_fits() {
        let bench = Bench::new();
        let mut all: Vec<Keeping> = (0..5).map(|_| Keeping::default()).collect();
        for keeping in &mut all[..4] {
            bench.note(keeping, 3, false);
        }
        // Grows and stays where it is; goes on, and is the youngest.
        bench.note(&mut all[1], 4, false);
        bench.note(&mut all[0], 4, true);
        bench.note(&mut all[4], 4, false);
        let ended: Vec<_> = all.iter_mut().map(must_end).collect();
        assert_eq!(ended, [false, true, false, false, false]);
        assert!(!must_end(&mut all[1]), "it is said once");
        bench.note(&mut all[1], 16, false);
        assert!(!must_end(&mut all[2]), "who is told to end counts no more");
        drop(all);
        assert_eq!(bench.0.taken_bytes(), 0);
        let queue = bench.1.lock();
        assert_eq!((queue.n_bytes, queue.waiting.len()), (0, 0));
    }

    #[test]
    fn one_alone_may_keep_what_it_likes() {
        let bench = Bench::new();
        let mut keeping = Keeping::default();
        bench.note(&mut keeping, 40, false);
        assert!(!must_end(&mut keeping));
        bench.note(&mut keeping, 0, false);
        assert!(keeping.is_empty());
    }
}
