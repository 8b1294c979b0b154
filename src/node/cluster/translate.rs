//! Between the words of the core and those of the links: the core knows less of how links fail,
//! since it decides by less.

use crate::cluster::proto::{
    self, Refusal,
    link::outcome::{CloseReason, DialFailure, LinkEnd},
};

/// How a link ended.
pub(super) const fn link_end(end: &LinkEnd) -> proto::LinkEnd {
    match end {
        // Why the other side closed it, its core has told over the link where that counts.
        LinkEnd::Closed | LinkEnd::ClosedFor(_) => proto::LinkEnd::Closed,
        LinkEnd::Reset => proto::LinkEnd::Reset,
        LinkEnd::Silent => proto::LinkEnd::Silent,
        LinkEnd::Protocol(what) => proto::LinkEnd::Protocol(what),
        LinkEnd::Local => proto::LinkEnd::Local,
    }
}

/// Why a dial came to nothing.
pub(super) fn dial_failure(why: DialFailure) -> proto::DialFailure {
    match why {
        DialFailure::Refused => proto::DialFailure::Refused,
        DialFailure::Unreachable => proto::DialFailure::Unreachable,
        // A process that answers and breaks off is alive: nothing follows but another try.
        DialFailure::TimedOut | DialFailure::Broken | DialFailure::Foreign => {
            proto::DialFailure::TimedOut
        }
        DialFailure::OtherVersion => proto::DialFailure::OtherVersion,
        DialFailure::WrongSecret => proto::DialFailure::WrongSecret,
        DialFailure::OtherCluster => proto::DialFailure::OtherCluster,
        DialFailure::NotAccepted => proto::DialFailure::NotAccepted,
        DialFailure::Duplicate => proto::DialFailure::Duplicate,
        DialFailure::NameTaken { by } => proto::DialFailure::NameTaken { by },
        DialFailure::Itself => proto::DialFailure::Itself,
        DialFailure::NotReady | DialFailure::Declined(_) => proto::DialFailure::NotReady,
        DialFailure::Unwanted(reason) => match DialFailure::of_refusal(reason) {
            DialFailure::Declined(_) | DialFailure::Unwanted(_) => proto::DialFailure::NotReady,
            failure => dial_failure(failure),
        },
    }
}

/// Why this side closes a link.
pub(super) fn close_reason(reason: proto::CloseReason) -> CloseReason {
    match reason {
        proto::CloseReason::Duplicate => CloseReason::Duplicate,
        proto::CloseReason::Superseded => CloseReason::Superseded,
        proto::CloseReason::Refused(refused) => refusal(refused),
        proto::CloseReason::Leaving => CloseReason::Leaving,
    }
}

/// Why a caller is not taken.
pub(super) const fn refusal(refusal: Refusal) -> CloseReason {
    match refusal {
        Refusal::Itself => CloseReason::Itself,
        Refusal::NotAccepted => CloseReason::NotAccepted,
        Refusal::NameTaken { by } => CloseReason::NameTaken { by },
        Refusal::Duplicate => CloseReason::Duplicate,
        Refusal::NotReady => CloseReason::NotReady,
    }
}
