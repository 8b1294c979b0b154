//! Nodes as processes in hosts of their own on one LAN: they find each other, lose each other and
//! keep strangers out. What a node knows is read from its log and asked over its own HTTP.
//!
//! No test asserts how long anything took; what took how long is printed (`-- --nocapture`), and
//! `load-test discover` measures it.

mod asking;
mod deaths;
mod depot;
mod fleet;
mod foreign;
mod formation;
mod impaired;
mod sharing;
mod sibling;
mod strangers;
mod topologies;
