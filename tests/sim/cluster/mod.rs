//! The cluster's core: [`world`] runs the nodes, [`wires`] carries links and datagrams, [`faults`]
//! breaks things, [`checks`] holds each step and the end against what was promised; [`ways`] does so for
//! link graphs of any shape.

mod checks;
mod faults;
mod figures;
mod goals;
mod node;
mod seeds;
mod ways;
mod wires;
mod world;
