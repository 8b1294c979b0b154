//! What waits to be written to a link, and in which order it goes.
//!
//! Acknowledgements go first, then the heartbeat, then credit and the rest of what keeps the cluster
//! going, then records, then questions and answers. Each has a queue of its own with a cap in bytes.
//! Frames are not interleaved, so the longest of them is the longest wait; while records never end,
//! one frame of questions and answers goes after each mebibyte of them, so that a busy link still
//! answers.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{
    credit::{Allowance, FLOWS, Grant, cost},
    frame::{FrameFault, FrameKind, Priority, write_frame},
    outcome::CloseReason,
};

/// Records after which a waiting question or answer goes.
const RECORDS_BYTES_PER_BULK: usize = 1024 * 1024;

/// Bytes that may wait; a queue in which nothing waits takes any one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutgoingLimits {
    /// Acknowledgements.
    pub acks_bytes_max: usize,
    /// What keeps links and members going.
    pub control_bytes_max: usize,
    /// Records.
    pub records_bytes_max: usize,
    /// Questions and answers.
    pub bulk_bytes_max: usize,
}

/// Why a frame was not taken; it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// As much waits as may: the other end does not take it, or grants no credit.
    #[error("as much waits for the link as may wait")]
    Full,
    /// The link is closed or closing.
    #[error("the link is closed")]
    Closed,
    /// A frame of this kind may not be that long, or may not be sent by hand.
    #[error("no frame of this kind and length can be sent")]
    Impossible,
}

/// The queues of a link.
#[derive(Debug)]
pub struct Outgoing {
    acks: Waiting,
    control: Waiting,
    records: Waiting,
    bulk: Waiting,
    heartbeat: Option<Bytes>,
    credits: [u32; FLOWS.len()],
    allowance: Allowance,
    records_since_bulk_bytes: usize,
    closing: Closing,
}

#[derive(Debug)]
struct Waiting {
    frames: VecDeque<(FrameKind, Bytes)>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Closing {
    /// Not yet.
    Open,
    /// The close frame has to be written.
    Due(CloseReason),
    /// It was written: nothing follows.
    Done,
}

impl Default for OutgoingLimits {
    fn default() -> Self {
        Self {
            acks_bytes_max: 256 * 1024,
            control_bytes_max: 1024 * 1024,
            records_bytes_max: 1024 * 1024,
            bulk_bytes_max: 512 * 1024,
        }
    }
}

impl Outgoing {
    /// Queues in which nothing waits; there is no credit yet.
    pub fn new(limits: OutgoingLimits) -> Self {
        Self {
            acks: Waiting::new(limits.acks_bytes_max),
            control: Waiting::new(limits.control_bytes_max),
            records: Waiting::new(limits.records_bytes_max),
            bulk: Waiting::new(limits.bulk_bytes_max),
            heartbeat: None,
            credits: [0; FLOWS.len()],
            allowance: Allowance::default(),
            records_since_bulk_bytes: 0,
            closing: Closing::Open,
        }
    }

    /// Puts a frame behind the others of its priority.
    ///
    /// # Errors
    /// [`SendError`]; the frame is not taken then.
    pub fn push(&mut self, kind: FrameKind, payload: Bytes) -> Result<(), SendError> {
        let is_by_hand = !matches!(
            kind,
            FrameKind::HELLO | FrameKind::HEARTBEAT | FrameKind::CREDIT | FrameKind::CLOSE
        );
        if !is_by_hand || payload.len() > kind.payload_bytes_max() {
            return Err(SendError::Impossible);
        }
        if self.closing != Closing::Open {
            return Err(SendError::Closed);
        }
        self.queue(kind.priority()).push(kind, payload)
    }

    /// The heartbeat that goes next; one that waits still is replaced.
    pub fn set_heartbeat(&mut self, payload: Bytes) {
        debug_assert!(
            payload.len() <= FrameKind::HEARTBEAT.payload_bytes_max(),
            "whoever sets the payload checks it"
        );
        self.heartbeat = Some(payload);
    }

    /// Credit for the other end; what waits still is added up.
    pub fn add_grant(&mut self, grant: Grant) {
        if let Some(waiting) = self.credits.get_mut(usize::from(grant.flow.number())) {
            *waiting = waiting.saturating_add(grant.bytes);
        }
    }

    /// Credit from the other end.
    ///
    /// # Errors
    /// If it cannot be meant.
    pub fn add_allowance(&mut self, grant: Grant) -> Result<(), FrameFault> {
        self.allowance.add(grant)
    }

    /// Ends the direction: what is short is still written, records and what is below them are not,
    /// and the last frame says why. Only the first reason counts.
    pub fn close(&mut self, reason: CloseReason) {
        if self.closing == Closing::Open {
            self.closing = Closing::Due(reason);
            self.records.clear();
            self.bulk.clear();
        }
    }

    /// Whether [`Outgoing::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.closing != Closing::Open
    }

    /// Whether the last frame was written.
    pub fn is_done(&self) -> bool {
        self.closing == Closing::Done
    }

    /// Bytes that wait, of all priorities.
    pub const fn waiting_bytes(&self) -> usize {
        self.acks.bytes + self.control.bytes + self.records.bytes + self.bulk.bytes
    }

    /// Writes frames behind what is in `out`, in their order, until `out` holds `bytes_min` or more,
    /// or nothing is left that may go.
    pub fn fill(&mut self, out: &mut BytesMut, bytes_min: usize) {
        while out.len() < bytes_min && self.closing != Closing::Done {
            if !self.write_next(out) {
                return;
            }
        }
    }

    fn write_next(&mut self, out: &mut BytesMut) -> bool {
        if let Some((kind, payload)) = self.acks.pop() {
            write_frame(kind, &payload, out);
        } else if let Some(payload) = self.heartbeat.take() {
            write_frame(FrameKind::HEARTBEAT, &payload, out);
        } else if let Some(grant) = self.take_credit() {
            write_frame(FrameKind::CREDIT, &grant.encode(), out);
        } else if let Some((kind, payload)) = self.control.pop() {
            write_frame(kind, &payload, out);
        } else if let Closing::Due(reason) = &self.closing {
            write_frame(FrameKind::CLOSE, &reason.encode(), out);
            self.closing = Closing::Done;
        } else if let Some((kind, payload)) = self.take_paid() {
            self.allowance.spend(kind, payload.len());
            write_frame(kind, &payload, out);
        } else {
            return false;
        }
        true
    }

    fn take_credit(&mut self) -> Option<Grant> {
        let mut all = FLOWS.into_iter().zip(&mut self.credits);
        let (flow, waiting) = all.find(|(_, waiting)| **waiting > 0)?;
        let bytes = std::mem::take(waiting);
        Some(Grant { flow, bytes })
    }

    /// The next frame for which there is credit.
    fn take_paid(&mut self) -> Option<(FrameKind, Bytes)> {
        let may_go = |queue: &Waiting, allowance: &Allowance| {
            let first = queue.frames.front();
            first.is_some_and(|(kind, _)| allowance.may_send(*kind))
        };
        let is_bulk_next = may_go(&self.bulk, &self.allowance);
        let is_bulk_due = self.records_since_bulk_bytes >= RECORDS_BYTES_PER_BULK;
        if may_go(&self.records, &self.allowance) && !(is_bulk_next && is_bulk_due) {
            let taken = self.records.pop();
            let bytes = taken.as_ref().map_or(0, |(_, payload)| payload.len());
            self.records_since_bulk_bytes = self.records_since_bulk_bytes.saturating_add(bytes);
            return taken;
        }
        if is_bulk_next {
            self.records_since_bulk_bytes = 0;
            return self.bulk.pop();
        }
        None
    }

    const fn queue(&mut self, priority: Priority) -> &mut Waiting {
        match priority {
            Priority::Acks => &mut self.acks,
            Priority::Control => &mut self.control,
            Priority::Records => &mut self.records,
            Priority::Bulk => &mut self.bulk,
        }
    }
}

impl Waiting {
    const fn new(bytes_max: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    fn push(&mut self, kind: FrameKind, payload: Bytes) -> Result<(), SendError> {
        let bytes = self.bytes + in_memory(&payload);
        if bytes > self.bytes_max && !self.frames.is_empty() {
            return Err(SendError::Full);
        }
        self.bytes = bytes;
        self.frames.push_back((kind, payload));
        Ok(())
    }

    fn pop(&mut self) -> Option<(FrameKind, Bytes)> {
        let (kind, payload) = self.frames.pop_front()?;
        self.bytes -= in_memory(&payload);
        Some((kind, payload))
    }

    fn clear(&mut self) {
        self.frames = VecDeque::new();
        self.bytes = 0;
    }
}

/// What a frame takes up while it waits: as on the other end.
fn in_memory(payload: &Bytes) -> usize {
    usize::try_from(cost(payload.len())).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            credit::FRAME_COST_BYTES,
            frame::{BULK_BYTES_MAX, Flow, FrameReader, Item},
        },
        *,
    };

    const QUERY: FrameKind = FrameKind(40);

    fn outgoing() -> Outgoing {
        Outgoing::new(OutgoingLimits::default())
    }

    fn grant(outgoing: &mut Outgoing, flow: Flow, bytes: u32) {
        outgoing.add_allowance(Grant { flow, bytes }).unwrap();
    }

    fn push(outgoing: &mut Outgoing, kind: FrameKind, n_bytes: usize) {
        outgoing.push(kind, vec![0; n_bytes].into()).unwrap();
    }

    /// The kinds that are written next.
    fn written(outgoing: &mut Outgoing, bytes_min: usize) -> Vec<u8> {
        let (mut stream, mut reader) = (BytesMut::new(), FrameReader::default());
        outgoing.fill(&mut stream, bytes_min);
        let mut kinds = Vec::new();
        while let Some(item) = reader.next(&mut stream).unwrap() {
            match item {
                Item::Frame(frame) => kinds.push(frame.kind.0),
                Item::Skipped(kind) => panic!("kind {}", kind.0),
            }
        }
        assert!(stream.is_empty());
        kinds
    }

    #[test]
    fn what_is_urgent_goes_first() {
        let mut outgoing = outgoing();
        grant(&mut outgoing, Flow::Records, 1_000);
        grant(&mut outgoing, Flow::Bulk, 1_000);
        for kind in [
            QUERY,
            FrameKind::RECORDS,
            FrameKind::MEMBERS,
            FrameKind::RECORD_ACKS,
        ] {
            push(&mut outgoing, kind, 3);
        }
        outgoing.set_heartbeat(Bytes::from_static(b"old"));
        outgoing.set_heartbeat(Bytes::from_static(b"new"));
        let credit = Grant {
            flow: Flow::Bulk,
            bytes: 9,
        };
        outgoing.add_grant(credit);
        outgoing.add_grant(credit);
        assert_eq!(written(&mut outgoing, usize::MAX), [17, 1, 2, 3, 16, 40]);
        assert_eq!(outgoing.waiting_bytes(), 0);
    }

    #[test]
    fn what_has_no_credit_waits_and_holds_nothing_else_up() {
        let mut outgoing = outgoing();
        push(&mut outgoing, FrameKind::RECORDS, 10);
        push(&mut outgoing, QUERY, 10);
        assert_eq!(written(&mut outgoing, usize::MAX), Vec::<u8>::new());
        grant(&mut outgoing, Flow::Bulk, 1);
        assert_eq!(written(&mut outgoing, usize::MAX), [40]);
        grant(&mut outgoing, Flow::Records, 1);
        assert_eq!(written(&mut outgoing, usize::MAX), [16]);
    }

    #[test]
    fn a_batch_ends_when_it_is_large_enough() {
        let mut outgoing = outgoing();
        for _ in 0..10 {
            push(&mut outgoing, FrameKind::MEMBERS, 100);
        }
        assert_eq!(written(&mut outgoing, 250).len(), 3);
        assert_eq!(written(&mut outgoing, 1).len(), 1);
        assert_eq!(written(&mut outgoing, usize::MAX).len(), 6);
    }

    #[test]
    fn a_full_queue_says_so_and_takes_one_frame_of_any_length_when_empty() {
        let mut outgoing = outgoing();
        push(&mut outgoing, FrameKind::RECORDS, 3 * 1024 * 1024);
        let refused = outgoing.push(FrameKind::RECORDS, Bytes::from_static(b"x"));
        assert_eq!(refused, Err(SendError::Full));
        let n_frames = 512 * 1024 / (BULK_BYTES_MAX + usize::try_from(FRAME_COST_BYTES).unwrap());
        for _ in 0..n_frames {
            push(&mut outgoing, QUERY, BULK_BYTES_MAX);
        }
        let refused = outgoing.push(QUERY, vec![0; BULK_BYTES_MAX].into());
        assert_eq!(refused, Err(SendError::Full));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let mut outgoing = outgoing();
        let too_long = outgoing.push(FrameKind::PING, Bytes::from_static(b"123456789"));
        assert_eq!(too_long, Err(SendError::Impossible));
        for kind in [FrameKind::HELLO, FrameKind::CLOSE, FrameKind::CREDIT] {
            assert_eq!(
                outgoing.push(kind, Bytes::new()),
                Err(SendError::Impossible)
            );
        }
    }

    #[test]
    fn records_without_end_leave_room_for_answers() {
        let mut outgoing = outgoing();
        grant(&mut outgoing, Flow::Records, u32::MAX);
        grant(&mut outgoing, Flow::Bulk, u32::MAX);
        push(&mut outgoing, QUERY, 10);
        push(&mut outgoing, QUERY, 10);
        let mut kinds = Vec::new();
        for _ in 0..40 {
            push(&mut outgoing, FrameKind::RECORDS, 64 * 1024);
            kinds.extend(written(&mut outgoing, 1));
        }
        let places: Vec<usize> = (0..kinds.len())
            .filter(|at| kinds[*at] == QUERY.0)
            .collect();
        assert_eq!(places, [16, 33]);
    }

    #[test]
    fn a_closed_direction_says_what_is_short_then_why_then_nothing() {
        let mut outgoing = outgoing();
        grant(&mut outgoing, Flow::Records, 1_000);
        for kind in [
            FrameKind::RECORDS,
            FrameKind::MEMBERS,
            FrameKind::RECORD_ACKS,
        ] {
            push(&mut outgoing, kind, 3);
        }
        outgoing.close(CloseReason::Leaving);
        outgoing.close(CloseReason::Silent);
        assert_eq!(
            outgoing.push(FrameKind::MEMBERS, Bytes::new()),
            Err(SendError::Closed)
        );
        assert!(outgoing.is_closing() && !outgoing.is_done());
        assert_eq!(written(&mut outgoing, usize::MAX), [17, 3, 4]);
        assert!(outgoing.is_done());
        outgoing.set_heartbeat(Bytes::new());
        assert_eq!(written(&mut outgoing, usize::MAX), Vec::<u8>::new());
    }
}
