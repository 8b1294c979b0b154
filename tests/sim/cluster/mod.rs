//! The cluster's core: [`world`] runs the nodes, [`wires`] carries links and datagrams, [`faults`]
//! breaks things, [`checks`] holds each step and the end against what was promised.

mod checks;
mod faults;
mod figures;
mod goals;
mod node;
mod seeds;
mod wires;
mod world;
