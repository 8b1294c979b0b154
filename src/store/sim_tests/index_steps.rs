//! The steps of a run that are about the index: it fails and is mended, and forgets what is too old.

use std::sync::{Arc, atomic::Ordering};

use super::{
    super::{index::Index, retention::Horizon, tests::Call},
    model::STEP_MILLIS,
    world::World,
};
use crate::types::time::UnixMillis;

impl World {
    /// From now on what lies before some time of the run is too old; what there is of it is removed,
    /// or retention stands still.
    pub(super) fn retain(&mut self) {
        if self.node.has_failed() {
            return;
        }
        let shared = Arc::clone(&self.node.engine.shared);
        let indexer = &mut self.node.engine.indexer;
        indexer.apply_up_to(shared.progress.durable()).unwrap();
        let newest = self.clocks.iter().max().copied().unwrap_or_default();
        let oldest = newest - self.prng.below(newest as u64 + 1) as i64;
        let horizon = Horizon {
            oldest: UnixMillis(oldest * STEP_MILLIS),
            newest: UnixMillis(newest * STEP_MILLIS),
        };
        let horizon = Some(horizon).filter(|_| self.prng.chance(75.0));
        shared.horizon.set(horizon);
        self.model.set_horizon(horizon);
        let mut n_removed = 0;
        if let Some(horizon) = horizon {
            assert!(self.index.remove_past(&horizon).unwrap().is_complete);
            indexer.persist().unwrap();
            let index = Arc::clone(&self.index);
            n_removed = self
                .model
                .forget(|key| index.map.contains(key.0, &key.1).unwrap());
        }
        let mark = if n_removed > 0 { "removed" } else { "nothing" };
        self.say(format!("retention {mark} {n_removed}: {horizon:?}"));
    }

    /// The index cannot be asked: the group is refused, and it is mended.
    pub(super) fn blind_index(&mut self) {
        let calls = [Call::Contains, Call::HasFuture, Call::Last, Call::Spots];
        let call = calls[usize::try_from(self.prng.below(4)).unwrap()];
        self.index.fail(call, self.prng.below(8), 1);
        self.group();
        self.group();
        self.index.heal();
        // A process that has ended meanwhile took its report along.
        if let Err(fault) = self.node.engine.indexer.heed_report() {
            self.say(format!("blind: {fault}"));
            self.mend();
        }
    }

    /// The index cannot be written or synced, and is mended or given up.
    pub(super) fn failing_index(&mut self) {
        let call = if self.prng.chance(50.0) {
            Call::Apply
        } else {
            Call::Persist
        };
        self.index.fail(call, 0, 1);
        let durable = self.node.engine.shared.progress.durable();
        let indexer = &mut self.node.engine.indexer;
        let outcome = indexer
            .apply_up_to(durable)
            .and_then(|()| indexer.persist());
        self.index.heal();
        if let Err(fault) = outcome {
            self.say(format!("failed: {fault}"));
            if self.prng.chance(50.0) {
                return self.mend();
            }
            let shared = Arc::clone(&self.node.engine.shared);
            shared.progress.stop();
            shared.fail(fault.to_string());
            self.group();
            let end = self.any_end();
            self.end(end, None);
        }
    }

    /// The index is opened anew until that succeeds; groups come meanwhile.
    fn mend(&mut self) {
        let forgets = self.prng.chance(50.0);
        loop {
            let n_tries = self.prng.below(3);
            for call in [Call::Open, Call::Apply] {
                if self.prng.chance(40.0) {
                    self.index.fail(call, 0, 1);
                }
            }
            self.index.forgets.store(forgets, Ordering::Relaxed);
            let outcome = self.node.engine.indexer.reopen();
            self.index.forgets.store(false, Ordering::Relaxed);
            self.index.heal();
            match outcome {
                Ok(()) => return self.say(format!("mended, forgets {forgets}")),
                Err(fault) => self.say(format!("not mended: {fault}")),
            }
            for _ in 0..n_tries {
                let incarnation = self.n_starts;
                self.group();
                if self.n_starts > incarnation {
                    return;
                }
            }
        }
    }
}
