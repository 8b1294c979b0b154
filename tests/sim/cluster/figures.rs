//! Sequence figures, drawn from the log of a simulation.
