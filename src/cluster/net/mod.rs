//! The cluster's sockets and secrets. What they mean is decided in
//! [`proto`](crate::cluster::proto), which this room asks and obeys.

pub mod secret;
