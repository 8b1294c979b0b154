//! The cluster: nodes of one name and one secret find each other, link up, and know who is there.
//!
//! [`proto`] decides, without a socket or a clock; [`net`] holds the sockets and asks it. A
//! beacon admits nobody, it leads to a dial at most; the handshake of the link is what admits; a link
//! that stands and has exchanged member tables is what makes a member.

pub mod net;
pub mod proto;
