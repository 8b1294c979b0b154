//! What waits for one destination, and what is on its way there. Pure.
//!
//! ```text
//! push ─▶ waiting ─next_frame─▶ flying ─acknowledged─▶ given back as delivered
//!            ▲                    │
//!            └──── link lost ─────┴─refused─▶ given back to be routed anew
//! ```
//!
//! Invariants: a parcel is in one place, and is given back exactly once; parcels keep the order in
//! which they were pushed, also when they go again over a new link; no more than the window flies.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Parcel,
    wire::{self, Acks, FrameNumber},
};

/// Bytes of records that are under way to a destination at once. Less than a link's window, so that
/// credit is there when they come.
pub const WINDOW_BYTES: usize = 512 * 1024;

/// Bytes of records after which a frame is full.
const FRAME_BYTES: usize = 64 * 1024;

/// Records after which a frame is full.
const FRAME_RECORDS: usize = 256;

/// The parcels for one destination.
#[derive(Debug)]
pub struct Outbox<T> {
    waiting: VecDeque<Parcel<T>>,
    flying: VecDeque<Flight<T>>,
    session: u64,
    /// Number of the next frame of the session.
    next_number: u64,
    waiting_bytes: usize,
    flying_bytes: usize,
    /// What all that is here takes of the room.
    weight_bytes: usize,
}

/// A frame on its way.
#[derive(Debug)]
struct Flight<T> {
    number: u64,
    parcels: Vec<Parcel<T>>,
    bytes: usize,
}

/// What acknowledgements say of parcels.
#[derive(Debug)]
pub struct Returned<T> {
    /// Durable at the destination.
    pub delivered: Vec<Parcel<T>>,
    /// Not taken there.
    pub refused: Vec<Parcel<T>>,
}

/// The destination acknowledges what it was not sent; the link has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("acknowledges frames of records that were not sent")]
pub struct WrongAcks;

impl<T> Outbox<T> {
    /// One without parcels, that numbers its frames in a session.
    pub const fn new(session: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            flying: VecDeque::new(),
            session,
            next_number: 0,
            waiting_bytes: 0,
            flying_bytes: 0,
            weight_bytes: 0,
        }
    }

    /// A parcel for the destination.
    pub fn push(&mut self, parcel: Parcel<T>) {
        self.waiting_bytes += parcel.n_bytes();
        self.weight_bytes += parcel.weight_bytes();
        self.waiting.push_back(parcel);
    }

    /// The payload of the next frame, if there is one and the window allows it. A parcel that fills
    /// the window alone flies alone.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        let (n_parcels, n_bytes) = self.next_parcels();
        if n_parcels == 0 || (self.flying_bytes > 0 && self.flying_bytes + n_bytes > WINDOW_BYTES) {
            return None;
        }
        let parcels: Vec<Parcel<T>> = self.waiting.drain(..n_parcels).collect();
        let batches = parcels.iter().map(|parcel| &parcel.batch);
        let (session, number) = (self.session, self.next_number);
        let payload = wire::records_payload(FrameNumber { session, number }, batches)?;
        self.next_number += 1;
        self.waiting_bytes -= n_bytes;
        self.flying_bytes += n_bytes;
        self.flying.push_back(Flight {
            number,
            parcels,
            bytes: n_bytes,
        });
        Some(payload)
    }

    /// How many parcels go into the next frame, and their bytes.
    fn next_parcels(&self) -> (usize, usize) {
        let (mut n_parcels, mut n_bytes, mut n_records) = (0, 0, 0);
        for parcel in &self.waiting {
            let is_full = n_bytes + parcel.n_bytes() > FRAME_BYTES
                || n_records + parcel.batch.n_records() > FRAME_RECORDS;
            if n_parcels > 0 && is_full {
                break;
            }
            n_parcels += 1;
            n_bytes += parcel.n_bytes();
            n_records += parcel.batch.n_records();
        }
        (n_parcels, n_bytes)
    }

    /// The destination says what became of frames; what it says of an earlier session is not heard.
    ///
    /// # Errors
    /// [`WrongAcks`]; nothing was changed.
    pub fn acknowledged(&mut self, acks: &Acks) -> Result<Returned<T>, WrongAcks> {
        let (mut delivered, mut refused) = (Vec::new(), Vec::new());
        if acks.session != self.session {
            return Ok(Returned { delivered, refused });
        }
        let first = self
            .flying
            .front()
            .map_or(self.next_number, |flight| flight.number);
        let is_new = |number: &u64| (first..acks.below).contains(number);
        if acks.below > self.next_number || !acks.refused.iter().all(is_new) {
            return Err(WrongAcks);
        }
        while let Some(flight) = self
            .flying
            .pop_front_if(|flight| flight.number < acks.below)
        {
            self.flying_bytes -= flight.bytes;
            let weights = flight.parcels.iter().map(Parcel::weight_bytes);
            self.weight_bytes -= weights.sum::<usize>();
            let is_refused = acks.refused.contains(&flight.number);
            let fate = if is_refused {
                &mut refused
            } else {
                &mut delivered
            };
            fate.extend(flight.parcels);
        }
        Ok(Returned { delivered, refused })
    }

    /// The link is gone, or another one is used from now on: what was under way goes again, before
    /// what waits.
    pub fn restart(&mut self, session: u64) {
        (self.session, self.next_number) = (session, 0);
        self.waiting_bytes += std::mem::take(&mut self.flying_bytes);
        for flight in self.flying.drain(..).rev() {
            flight
                .parcels
                .into_iter()
                .rev()
                .for_each(|parcel| self.waiting.push_front(parcel));
        }
    }

    /// Gives up the destination: all parcels, in their order.
    pub fn into_parcels(mut self) -> impl Iterator<Item = Parcel<T>> {
        self.restart(0);
        self.waiting.into_iter()
    }

    /// Bytes of records that are here.
    pub const fn n_bytes(&self) -> usize {
        self.waiting_bytes + self.flying_bytes
    }

    /// Bytes of room that what is here takes.
    pub const fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_empty()
    }
}

#[cfg(test)]
mod tests;
