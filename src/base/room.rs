//! Room for bytes in flight: the fence that bounds memory from socket to disk.
//!
//! Whoever wants to read asks for room first and is not read while there is none. The room goes
//! with the bytes and comes back when the last thing made from them is settled.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A budget of bytes, shared by all that fill it.
#[derive(Debug, Clone)]
pub struct Room {
    semaphore: Arc<Semaphore>,
    cap_bytes: u32,
}

/// A part of a [`Room`]; dropped, it is free again.
#[derive(Debug)]
pub struct RoomGuard(OwnedSemaphorePermit);

impl Room {
    /// A budget of `cap_bytes`, all of it free.
    pub fn new(cap_bytes: u32) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(cap_bytes as usize)),
            cap_bytes,
        }
    }

    /// Waits until `bytes` are free and takes them; more than the cap counts as the cap.
    ///
    /// First come, first served. Cancel safe: a dropped wait takes nothing.
    ///
    /// # Panics
    /// Never: the semaphore inside is not closed as long as a `Room` lives.
    pub async fn take(&self, bytes: u32) -> RoomGuard {
        let permit = Arc::clone(&self.semaphore).acquire_many_owned(bytes.min(self.cap_bytes));
        RoomGuard(permit.await.expect("a room is never closed"))
    }

    /// Bytes that are taken now.
    pub fn taken_bytes(&self) -> usize {
        (self.cap_bytes as usize).saturating_sub(self.free_bytes())
    }

    /// Bytes that are free now.
    pub fn free_bytes(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// Bytes that can be taken in all.
    pub const fn cap_bytes(&self) -> u32 {
        self.cap_bytes
    }
}

impl RoomGuard {
    /// Gives back all but `bytes`; does nothing if it holds no more than that.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_comes_back() {
        let room = Room::new(100);
        let mut guard = room.take(1_000).await;
        assert_eq!(room.taken_bytes(), 100);
        guard.shrink_to(30);
        assert_eq!(room.taken_bytes(), 30);
        drop(guard);
        assert_eq!(room.taken_bytes(), 0);
    }
}
