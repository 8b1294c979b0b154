//! The cluster's sockets and secrets. What they mean is decided in
//! [`proto`](crate::cluster::proto), which this room asks and obeys.

mod accept;
mod dial;
mod handshake;
mod link;
mod links;
mod noise;
pub mod secret;
mod tcp;

#[cfg(test)]
mod tests;

pub use self::{
    link::{LinkHandle, Received},
    links::{Admission, Admittance, Caller, DialTo, LinkEvent, Links, LinksConfig, NewLink},
    tcp::bind,
};
