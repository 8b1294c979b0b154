//! Who belongs to the cluster, as far as this node knows.
//!
//! The table holds one [`Claim`] for each member, the greatest that was heard; that part is the same
//! at every node that has heard the same and has room for it. `merging` keeps from it what others say of the
//! absence of members that this node has a link to. Beside it stands what only this node knows: how it
//! is in touch with the member, and whether its subscribers were told of it.

mod claim;
mod table;

pub(crate) use self::{
    claim::{Claim, Claimant, Record, Standing},
    table::{Announced, Member, Members, Merged, Path},
};
