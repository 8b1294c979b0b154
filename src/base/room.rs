//! Room for bytes in flight: the fence that bounds memory from socket to disk.
//!
//! Whoever wants to read asks for room first and is not read while there is none. The room goes
//! with the bytes and comes back when the last thing made from them is settled. What turns out to
//! be larger than expected overdraws the room ([`RoomGuard::resize_to`]): it is there already, so
//! it is counted, and nobody gets room until as much has come back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

/// A budget of bytes, shared by all that fill it.
#[derive(Debug, Clone)]
pub struct Room(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    semaphore: Semaphore,
    cap_bytes: u32,
    /// Bytes taken beyond the cap.
    overdrawn_bytes: AtomicUsize,
}

/// A part of a [`Room`]; dropped, it is free again.
#[derive(Debug)]
pub struct RoomGuard {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Room {
    /// A budget of `cap_bytes`, all of it free.
    pub fn new(cap_bytes: u32) -> Self {
        Self(Arc::new(Budget {
            semaphore: Semaphore::new(cap_bytes as usize),
            cap_bytes,
            overdrawn_bytes: AtomicUsize::new(0),
        }))
    }

    /// Waits until `bytes` are free and takes them; more than the cap counts as the cap.
    ///
    /// First come, first served. Cancel safe: a dropped wait takes nothing.
    ///
    /// # Panics
    /// Never: the semaphore inside is not closed.
    pub async fn take(&self, bytes: u32) -> RoomGuard {
        let bytes = bytes.min(self.0.cap_bytes);
        let permit = self.0.semaphore.acquire_many(bytes).await;
        permit.expect("a room is never closed").forget();
        RoomGuard {
            budget: Arc::clone(&self.0),
            bytes: bytes as usize,
        }
    }

    /// Takes `bytes` if they are free now and nobody waits for them; more than the cap counts as the
    /// cap.
    pub fn try_take(&self, bytes: u32) -> Option<RoomGuard> {
        let bytes = bytes.min(self.0.cap_bytes);
        self.0.semaphore.try_acquire_many(bytes).ok()?.forget();
        Some(RoomGuard {
            budget: Arc::clone(&self.0),
            bytes: bytes as usize,
        })
    }

    /// A guard that holds nothing yet, for what is counted as it comes.
    pub fn nothing(&self) -> RoomGuard {
        RoomGuard {
            budget: Arc::clone(&self.0),
            bytes: 0,
        }
    }

    /// Bytes that are taken now; more than the cap while it is overdrawn.
    pub fn taken_bytes(&self) -> usize {
        let n_free = self.0.semaphore.available_permits();
        let n_taken = (self.0.cap_bytes as usize).saturating_sub(n_free);
        n_taken + self.0.overdrawn_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that are free now.
    pub fn free_bytes(&self) -> usize {
        self.0.semaphore.available_permits()
    }

    /// Bytes that can be taken in all.
    pub fn cap_bytes(&self) -> u32 {
        self.0.cap_bytes
    }
}

impl Budget {
    fn give_back(&self, bytes: usize) {
        let mut n_owed = 0;
        if self.overdrawn_bytes.load(Ordering::Relaxed) > 0 {
            n_owed = self
                .overdrawn_bytes
                .update(Ordering::Relaxed, Ordering::Relaxed, |owed| {
                    owed.saturating_sub(bytes)
                })
                .min(bytes);
        }
        self.semaphore.add_permits(bytes - n_owed);
    }

    fn overdraw(&self, bytes: usize) {
        let n_free = self.semaphore.forget_permits(bytes);
        if n_free < bytes {
            let n_owed = bytes - n_free;
            self.overdrawn_bytes.fetch_add(n_owed, Ordering::Relaxed);
        }
    }
}

impl RoomGuard {
    /// Holds `bytes` from now on: gives back what is more, or takes what is missing without a wait,
    /// free or not.
    pub fn resize_to(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.overdraw(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Bytes that this holds.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for RoomGuard {
    fn drop(&mut self) {
        self.resize_to(0);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn what_is_taken_comes_back() {
        let room = Room::new(100);
        let mut guard = room.take(1_000).await;
        assert_eq!(room.taken_bytes(), 100);
        guard.resize_to(30);
        assert_eq!((room.taken_bytes(), guard.bytes()), (30, 30));
        drop(guard);
        assert_eq!(room.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn who_overdraws_keeps_the_others_waiting_until_it_has_come_back() {
        let room = Room::new(100);
        let (mut large, other) = (room.take(50).await, room.take(20).await);
        large.resize_to(150);
        assert_eq!((room.taken_bytes(), room.free_bytes()), (170, 0));
        drop(other);
        assert_eq!((room.taken_bytes(), room.free_bytes()), (150, 0));
        let mut waiting = std::pin::pin!(room.take(40));
        assert!(matches!(futures_poll(waiting.as_mut()), Poll::Pending));
        large.resize_to(90);
        assert!(matches!(futures_poll(waiting.as_mut()), Poll::Pending));
        large.resize_to(10);
        assert_eq!(waiting.await.bytes(), 40);
        assert_eq!(room.taken_bytes(), 10);
        drop(large);
        assert_eq!((room.taken_bytes(), room.free_bytes()), (0, 100));
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
