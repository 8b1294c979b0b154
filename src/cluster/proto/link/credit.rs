//! Credit: how much a node lets the other end send, for each [`Flow`] by itself.
//!
//! The receiver grants bytes; the sender spends them. A frame costs its payload and
//! [`FRAME_COST_BYTES`], so that many small ones are not free. A frame may go while the balance is
//! above zero, and may take it below by its own length: a frame of any length passes through a window
//! of any size, and what the receiver must hold is at most the window and one frame. A frame that
//! goes against a balance of zero or less breaks the rules. What has been dealt with is granted anew
//! in steps of a quarter of the window.
//!
//! Frames of members and acknowledgements need no credit, since they must pass when nothing else does.
//! What is held of them is counted alike, and has a cap ([`FREE_BYTES_MAX`]) that no sender reaches
//! whose frames are worked off.

use super::frame::{Flow, FrameFault, FrameKind};

/// What a frame costs besides its payload.
pub const FRAME_COST_BYTES: u64 = 32;

/// Highest balance; a grant beyond it breaks the rules.
const BALANCE_MAX: i64 = 1 << 40;

/// What may be held of frames that need no credit before the next such frame ends the link.
pub const FREE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of the payload of a credit frame.
pub const CREDIT_BYTES: usize = 5;

/// All flows, in the order of their numbers on the wire.
pub const FLOWS: [Flow; 2] = [Flow::Records, Flow::Bulk];

/// What a frame costs.
pub const fn cost(payload_bytes: usize) -> u64 {
    payload_bytes as u64 + FRAME_COST_BYTES
}

/// The sender's side: what may still be sent.
#[derive(Debug, Default)]
pub struct Allowance {
    records: i64,
    bulk: i64,
}

/// The receiver's side: what was granted, and what is still held.
#[derive(Debug)]
pub struct Grants {
    records: Account,
    bulk: Account,
    /// Of frames that need no credit.
    free_bytes: u64,
}

#[derive(Debug)]
struct Account {
    window: i64,
    /// What the sender may still send, as far as was granted.
    balance: i64,
    /// What came in and has not been dealt with.
    held: i64,
}

/// A grant as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The account.
    pub flow: Flow,
    /// Bytes that may be sent besides.
    pub bytes: u32,
}

impl Flow {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Records => 0,
            Self::Bulk => 1,
        }
    }
}

impl Grant {
    /// The payload of a credit frame.
    pub const fn encode(self) -> [u8; CREDIT_BYTES] {
        let [a, b, c, d] = self.bytes.to_le_bytes();
        [self.flow.number(), a, b, c, d]
    }

    /// Reads the payload of a credit frame; `None` for a flow of a later version.
    ///
    /// # Errors
    /// If it has another length.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, FrameFault> {
        let payload: [u8; CREDIT_BYTES] = payload
            .try_into()
            .map_err(|_| FrameFault("a credit frame of another length"))?;
        let [flow, bytes @ ..] = payload;
        let bytes = u32::from_le_bytes(bytes);
        let flow = FLOWS.into_iter().find(|known| known.number() == flow);
        Ok(flow.map(|flow| Self { flow, bytes }))
    }
}

impl Allowance {
    /// Whether a frame of this kind may go now.
    pub const fn may_send(&self, kind: FrameKind) -> bool {
        match kind.flow() {
            None => true,
            Some(Flow::Records) => self.records > 0,
            Some(Flow::Bulk) => self.bulk > 0,
        }
    }

    /// A frame goes.
    ///
    /// # Panics
    /// If it may not: whoever sends asks before.
    pub fn spend(&mut self, kind: FrameKind, payload_bytes: usize) {
        assert!(self.may_send(kind), "a frame goes without credit");
        if let Some(flow) = kind.flow() {
            *self.balance(flow) -= signed(cost(payload_bytes));
        }
    }

    /// The other end grants more.
    ///
    /// # Errors
    /// If it grants more than can be meant.
    pub fn add(&mut self, grant: Grant) -> Result<(), FrameFault> {
        let balance = self.balance(grant.flow);
        *balance += i64::from(grant.bytes);
        if *balance > BALANCE_MAX {
            return Err(FrameFault("more credit than can be meant"));
        }
        Ok(())
    }

    const fn balance(&mut self, flow: Flow) -> &mut i64 {
        match flow {
            Flow::Records => &mut self.records,
            Flow::Bulk => &mut self.bulk,
        }
    }
}

impl Grants {
    /// Accounts of which nothing is granted yet; windows in bytes.
    pub fn new(records_window_bytes: u32, bulk_window_bytes: u32) -> Self {
        Self {
            records: Account::new(records_window_bytes),
            bulk: Account::new(bulk_window_bytes),
            free_bytes: 0,
        }
    }

    /// Whether a frame of this kind may come: of those that need no credit not too much is held.
    pub const fn has_room_for(&self, kind: FrameKind) -> bool {
        kind.flow().is_some() || self.free_bytes < FREE_BYTES_MAX
    }

    /// Sets how much may be under way or held from now on. A smaller window takes nothing back: less
    /// is granted anew.
    pub fn set_window(&mut self, flow: Flow, window_bytes: u32) {
        self.account(flow).window = window_bytes.into();
    }

    /// A frame came in; it is held until [`Grants::release`].
    ///
    /// # Errors
    /// If it was not covered.
    pub fn receive(&mut self, kind: FrameKind, payload_bytes: usize) -> Result<(), FrameFault> {
        let Some(flow) = kind.flow() else {
            self.free_bytes = self.free_bytes.saturating_add(cost(payload_bytes));
            return Ok(());
        };
        let account = self.account(flow);
        if account.balance <= 0 {
            return Err(FrameFault("a frame beyond the credit"));
        }
        account.balance -= signed(cost(payload_bytes));
        account.held += signed(cost(payload_bytes));
        Ok(())
    }

    /// A frame that came in has been dealt with.
    ///
    /// # Panics
    /// If more is released than is held.
    pub fn release(&mut self, kind: FrameKind, payload_bytes: usize) {
        let Some(flow) = kind.flow() else {
            let left = self.free_bytes.checked_sub(cost(payload_bytes));
            self.free_bytes = left.expect("no more is released than is held");
            return;
        };
        let account = self.account(flow);
        account.held -= signed(cost(payload_bytes));
        assert!(account.held >= 0, "more is released than is held");
    }

    /// The grant that is due now, which counts as made; ask again after each release.
    pub fn take_due(&mut self, flow: Flow) -> Option<Grant> {
        let account = self.account(flow);
        let free = account.window - account.balance - account.held;
        if free <= 0 || free * 4 < account.window {
            return None;
        }
        let bytes = u32::try_from(free).unwrap_or(u32::MAX);
        account.balance += i64::from(bytes);
        Some(Grant { flow, bytes })
    }

    const fn account(&mut self, flow: Flow) -> &mut Account {
        match flow {
            Flow::Records => &mut self.records,
            Flow::Bulk => &mut self.bulk,
        }
    }
}

impl Account {
    fn new(window_bytes: u32) -> Self {
        Self {
            window: window_bytes.into(),
            balance: 0,
            held: 0,
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_needs_no_credit_has_a_cap_until_it_is_dealt_with() {
        let mut grants = Grants::new(100, 100);
        let n_bytes = usize::try_from(FREE_BYTES_MAX - FRAME_COST_BYTES).unwrap();
        for kind in [FrameKind::MEMBERS, FrameKind::RECORD_ACKS] {
            assert!(grants.has_room_for(kind));
            grants.receive(kind, n_bytes).unwrap();
            assert!(!grants.has_room_for(FrameKind::MEMBERS));
            assert!(!grants.has_room_for(FrameKind::RECORD_ACKS));
            assert!(
                grants.has_room_for(FrameKind::RECORDS),
                "that has its credit"
            );
            grants.release(kind, n_bytes);
        }
        assert!(grants.has_room_for(FrameKind::MEMBERS));
    }

    #[test]
    fn a_frame_may_overdraw_once_and_no_more() {
        let mut allowance = Allowance::default();
        let kind = FrameKind::RECORDS;
        assert!(!allowance.may_send(kind));
        assert!(allowance.may_send(FrameKind::RECORD_ACKS));
        let mut grants = Grants::new(100, 100);
        let grant = grants.take_due(Flow::Records).unwrap();
        assert_eq!((grant.bytes, grants.take_due(Flow::Records)), (100, None));
        allowance.add(grant).unwrap();
        allowance.spend(kind, 5_000);
        assert!(!allowance.may_send(kind));
        assert!(!allowance.may_send(FrameKind::BULK), "accounts are apart");
        assert_eq!(grants.receive(kind, 5_000), Ok(()));
        let beyond = Err(FrameFault("a frame beyond the credit"));
        assert_eq!(grants.receive(kind, 0), beyond);
        grants.release(FrameKind::RECORDS, 5_000);
        let grant = grants.take_due(Flow::Records).unwrap();
        assert_eq!(grant.bytes, 5_032);
        allowance.add(grant).unwrap();
        assert!(allowance.may_send(kind));
    }

    #[test]
    fn a_grant_is_read_as_it_was_written_and_foreign_flows_are_left_alone() {
        for flow in FLOWS {
            let grant = Grant {
                flow,
                bytes: 77_777,
            };
            assert_eq!(Grant::decode(&grant.encode()), Ok(Some(grant)));
        }
        assert_eq!(Grant::decode(&[9, 1, 0, 0, 0]), Ok(None));
        assert!(Grant::decode(&[0, 1]).is_err());
    }

    #[test]
    fn a_boundless_grant_breaks_the_rules() {
        let mut allowance = Allowance::default();
        let grant = Grant {
            flow: Flow::Bulk,
            bytes: u32::MAX,
        };
        let added: Vec<_> = (0..300).map(|_| allowance.add(grant)).collect();
        assert!(added[0].is_ok() && added[299].is_err());
    }

    #[test]
    fn a_smaller_window_grants_less_from_then_on() {
        let mut grants = Grants::new(1_000, 0);
        assert_eq!(grants.take_due(Flow::Records).unwrap().bytes, 1_000);
        grants.set_window(Flow::Records, 100);
        grants.receive(FrameKind::RECORDS, 868).unwrap();
        grants.release(FrameKind::RECORDS, 868);
        assert_eq!(grants.take_due(Flow::Records), None);
        grants.receive(FrameKind::RECORDS, 68).unwrap();
        grants.release(FrameKind::RECORDS, 68);
        assert_eq!(grants.take_due(Flow::Records).unwrap().bytes, 100);
        assert_eq!(grants.take_due(Flow::Bulk), None);
    }

    /// What a run of the model does next.
    #[derive(Debug, Clone)]
    enum Step {
        Send(usize),
        Deliver,
        Release,
        Credit,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_000_usize).prop_map(Step::Send),
            Just(Step::Deliver),
            Just(Step::Release),
            Just(Step::Credit),
        ]
    }

    proptest! {
        #[test]
        fn both_ends_agree_memory_is_bounded_and_nothing_stands_still(
            window in 1..4_000_u32,
            steps in proptest::collection::vec(any_step(), 0..200),
        ) {
            let (mut grants, mut allowance) = (Grants::new(window, window), Allowance::default());
            let (mut under_way, mut held) = (VecDeque::new(), VecDeque::new());
            let mut grants_under_way = VecDeque::new();
            let kind = FrameKind::RECORDS;
            grants_under_way.extend(grants.take_due(Flow::Records));
            for step in steps {
                match step {
                    Step::Send(bytes) if allowance.may_send(kind) => {
                        allowance.spend(kind, bytes);
                        under_way.push_back(bytes);
                    }
                    Step::Send(_) => {}
                    Step::Deliver => if let Some(bytes) = under_way.pop_front() {
                        prop_assert_eq!(grants.receive(kind, bytes), Ok(()));
                        held.push_back(bytes);
                        let all: u64 = held.iter().map(|bytes| cost(*bytes)).sum();
                        prop_assert!(all <= u64::from(window) + cost(3_000));
                    },
                    Step::Release => if let Some(bytes) = held.pop_front() {
                        grants.release(FrameKind::RECORDS, bytes);
                        grants_under_way.extend(grants.take_due(Flow::Records));
                    },
                    Step::Credit => if let Some(grant) = grants_under_way.pop_front() {
                        prop_assert_eq!(allowance.add(grant), Ok(()));
                    },
                }
            }
            // When all has come in and been dealt with, more may be sent.
            for bytes in under_way {
                prop_assert_eq!(grants.receive(kind, bytes), Ok(()));
                held.push_back(bytes);
            }
            for bytes in held {
                grants.release(FrameKind::RECORDS, bytes);
                grants_under_way.extend(grants.take_due(Flow::Records));
            }
            for grant in grants_under_way {
                prop_assert_eq!(allowance.add(grant), Ok(()));
            }
            prop_assert!(allowance.may_send(kind));
        }
    }
}
