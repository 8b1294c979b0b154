//! A bounded queue from many tasks to one thread that takes all there is at once.
//!
//! A push never waits: whoever must be slowed down is slowed before, by the [`super::room`] that
//! bounds the bytes in flight. The cap on the number of items is the second fence, with a named
//! outcome. Taking gathers: the thread that takes may wait a window after the first item, so that
//! many items share one costly step (a disk sync).

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::time::Stopwatch;

/// Why an item was not taken into the queue; the item comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum PushError<T> {
    /// The queue holds as many items as it may.
    Full(T),
    /// The taker is gone; nothing will ever be taken again.
    Closed(T),
}

/// A bounded queue with many pushers and one taker.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    n_items_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    is_closed: bool,
    is_hurried: bool,
    /// Whether the first items have waited for a window already.
    has_rest: bool,
}

impl<T> Queue<T> {
    /// An empty queue that holds at most `n_items_max` items.
    pub const fn new(n_items_max: usize) -> Self {
        let state = State {
            items: Vec::new(),
            is_closed: false,
            is_hurried: false,
            has_rest: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            n_items_max,
        }
    }

    /// Appends an item without waiting.
    ///
    /// # Errors
    /// [`PushError::Full`] at the cap, [`PushError::Closed`] after [`Queue::close`].
    pub fn push(&self, item: T) -> Result<(), PushError<T>> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(PushError::Closed(item));
        }
        if state.items.len() >= self.n_items_max {
            return Err(PushError::Full(item));
        }
        state.items.push(item);
        let is_first = state.items.len() == 1;
        drop(state);
        if is_first {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Whether a push would be taken now: to ask before an item is made that costs something.
    pub fn has_room(&self) -> bool {
        let state = self.lock();
        !state.is_closed && state.items.len() < self.n_items_max
    }

    /// Moves all items into `into`; see [`Queue::take`].
    pub fn take_all(&self, into: &mut Vec<T>, patience: Duration, window: Duration) -> bool {
        self.take(into, (patience, window), |_| false)
    }

    /// Moves items into `into` (left empty before), in the order of their pushes: up to the first with
    /// which it `is_enough`, or all.
    ///
    /// Waits for the first item at most `patience`, then gathers for `window` more, unless the
    /// queue is half full or closed, or something was left the last time. False when the queue is
    /// closed and empty: nothing will come.
    pub fn take(
        &self,
        into: &mut Vec<T>,
        (patience, window): (Duration, Duration),
        is_enough: impl FnMut(&T) -> bool,
    ) -> bool {
        into.clear();
        let mut state = self.lock();
        if state.items.is_empty() && !state.is_closed && !state.is_hurried {
            state = self
                .arrived
                .wait_timeout_while(state, patience, |state| {
                    state.items.is_empty() && !state.is_closed && !state.is_hurried
                })
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if !state.items.is_empty() && !window.is_zero() && !state.has_rest {
            state = self.gather(state, window);
        }
        state.is_hurried = false;
        let n_taken = state.items.iter().position(is_enough).map(|idx| idx + 1);
        let n_taken = n_taken.filter(|n_taken| *n_taken < state.items.len());
        state.has_rest = n_taken.is_some();
        match n_taken {
            Some(n_taken) => into.extend(state.items.drain(..n_taken)),
            None => std::mem::swap(&mut state.items, into),
        }
        !(into.is_empty() && state.is_closed)
    }

    /// Moves all items out at once, as the taker would, without a wait.
    pub fn drain(&self) -> Vec<T> {
        let mut state = self.lock();
        state.has_rest = false;
        std::mem::take(&mut state.items)
    }

    /// Ends a wait of the taker at once, whether or not there are items.
    pub fn hurry(&self) {
        self.lock().is_hurried = true;
        self.arrived.notify_one();
    }

    /// Refuses all further items; what is in the queue can still be taken.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Number of items that wait now.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether no item waits now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn gather<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<T>>,
        window: Duration,
    ) -> MutexGuard<'a, State<T>> {
        let stopwatch = Stopwatch::start();
        while let Some(left) = window
            .checked_sub(stopwatch.elapsed())
            .filter(|d| !d.is_zero())
        {
            if state.is_closed || state.is_hurried || state.items.len() * 2 >= self.n_items_max {
                break;
            }
            state = self
                .arrived
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A pusher cannot panic while it holds the lock, so a poisoned lock holds sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_in_order_and_all_at_once() {
        let queue = Queue::new(10);
        for item in 0..5 {
            queue.push(item).unwrap();
        }
        let mut taken = vec![99];
        assert!(queue.take_all(&mut taken, Duration::ZERO, Duration::ZERO));
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_is_not_taken_at_once_comes_next() {
        let queue = Queue::new(10);
        for item in 1..=7 {
            queue.push(item).unwrap();
        }
        let mut taken = Vec::new();
        let mut take = |window| {
            let mut sum = 0;
            let is_enough = |item: &i32| {
                sum += item;
                sum >= 6
            };
            queue.take(&mut taken, (Duration::ZERO, window), is_enough);
            taken.clone()
        };
        assert_eq!(take(Duration::ZERO), [1, 2, 3]);
        // What was left has waited, and waits for no window again.
        let for_ever = Duration::from_secs(3_600);
        assert_eq!(take(for_ever), [4, 5]);
        assert_eq!(take(for_ever), [6]);
        assert_eq!(take(for_ever), [7]);
        queue.push(8).unwrap();
        assert_eq!(queue.drain(), [8]);
        assert!(take(Duration::ZERO).is_empty());
    }

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let queue = Queue::new(1);
        assert!(queue.has_room());
        queue.push(1).unwrap();
        assert!(!queue.has_room());
        assert_eq!(queue.push(2), Err(PushError::Full(2)));
        queue.drain();
        assert!(queue.has_room());
    }

    #[test]
    fn a_closed_queue_gives_what_it_holds_and_then_ends() {
        let queue = Queue::new(4);
        queue.push(1).unwrap();
        queue.close();
        assert!(!queue.has_room());
        assert_eq!(queue.push(2), Err(PushError::Closed(2)));
        let mut taken = Vec::new();
        assert!(queue.take_all(&mut taken, Duration::MAX, Duration::from_secs(60)));
        assert_eq!(taken, [1]);
        assert!(!queue.take_all(&mut taken, Duration::MAX, Duration::ZERO));
    }

    #[test]
    fn a_push_wakes_the_taker() {
        let queue = Queue::new(4);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut taken = Vec::new();
                queue.take_all(&mut taken, Duration::from_secs(20), Duration::ZERO);
                taken
            });
            queue.push(7).unwrap();
            assert_eq!(taker.join().unwrap(), [7]);
        });
    }
}
