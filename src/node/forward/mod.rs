//! Records between nodes: to their owners, and from others into the own store.
//!
//! ```text
//! connections ─ Router ─ own vehicles ──────────────────────▶ store ─ verdict ─▶ replies
//!                  └── others' ─▶ Post ─▶ task: Forwarder ─▶ link ─▶ the owner's store
//! links ─ records ─▶ task: Inbox of the link ─▶ store ─ verdict ─▶ acknowledgement
//! links ─ acknowledgements ─▶ task: Forwarder ─ verdict ─▶ replies
//! health: a store that does not take records gives back what it holds ─▶ Post
//! ```
//!
//! What is decided is decided in [`crate::delivery::forwarding`]; here are the task, the queue and
//! the clock. One task owns the [`Forwarder`](crate::delivery::forwarding::Forwarder); connections
//! hand parcels to it through [`Post`], whose bytes are bounded by the room that connections take
//! before they read. A panic in the task loses what it holds: nobody is told that it is stored, and
//! vehicles send again.

mod health;
mod incoming;
mod post;
mod task;

pub use self::{
    health::tell_health,
    post::Post,
    task::{ForwardParts, start},
};
