//! A damaged index, and when it is made anew from the log.
//!
//! The log is trimmed below what the index keeps, so an index can be made anew only while the log
//! still goes back to its first record. After that the index alone has what is older, and to start
//! without it would lose what was acknowledged: the node does not.

use std::time::Duration;

use super::{
    gate::{IndexGate, IndexOpener},
    index::{Index, IndexError},
    log,
    storage::Storage,
};
use crate::metrics::names::StoreMetrics;

/// Opens the index. One that is damaged is set aside, aloud, if `log` has all that was ever in it; the
/// empty one in its place catches up as after any start.
///
/// # Errors
/// What the opener says.
pub(super) fn open_index<S: Storage, I: Index>(
    opener: IndexOpener<I>,
    log: &S,
    patience: Duration,
    metrics: &StoreMetrics,
) -> Result<IndexGate<I>, IndexError> {
    let index = match opener.open() {
        Err(error) if error.is_damage() && has_all(log) => {
            let Some(aside) = opener.set_aside() else {
                return Err(error);
            };
            match aside {
                Ok(aside) => tracing::warn!(
                    error = %error.cause(),
                    aside = %aside.display(),
                    "the index is damaged and is made anew from the log, which has all of it"
                ),
                Err(refused) => {
                    tracing::warn!(error = %refused, "the damaged index cannot be set aside");
                    return Err(error);
                }
            }
            metrics.index_rebuilds.inc();
            opener.open()?
        }
        opened => opened?,
    };
    Ok(IndexGate::around(index, opener, patience))
}

fn has_all<S: Storage>(log: &S) -> bool {
    log::goes_back_to_its_first_record(log).unwrap_or_else(|error| {
        tracing::warn!(%error, "the folder of the log cannot be read");
        false
    })
}
