//! The table of attributes: name, type and unit. It is extended and never renamed.
