//! Keeps the storing members on disk: a task of its own, since the driver waits for no file. Of sets
//! that follow each other quickly only the last is written.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{base::task::TaskGroup, cluster::proto::RememberedMember};

/// Keeps these members, durably, in place of those before. Blocking.
pub type KeepMembers = Arc<dyn Fn(&[RememberedMember]) -> io::Result<()> + Send + Sync>;

/// So long a set waits for later ones before it is written: nodes often come together, and each
/// writing waits for the disk twice.
const GATHERING: Duration = Duration::from_millis(300);

/// After so long a disk that refused is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The members that are to be remembered, and the task that writes them.
#[derive(Debug)]
pub(super) struct Memory {
    latest: watch::Sender<Version>,
    kept: watch::Receiver<u64>,
}

/// Tells when a set is on disk; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Kept(watch::Receiver<u64>);

#[derive(Debug, Clone)]
struct Version {
    number: u64,
    members: Arc<Vec<RememberedMember>>,
}

impl Memory {
    /// Holds what is on disk already; `keep` is called from a task of `tasks`, which ends with this.
    pub(super) fn start(
        members: Vec<RememberedMember>,
        keep: KeepMembers,
        tasks: &TaskGroup,
    ) -> Self {
        let latest = watch::Sender::new(Version {
            number: 0,
            members: Arc::new(members),
        });
        let (told, kept) = watch::channel(0);
        let writing = keep_all(latest.subscribe(), told, keep);
        // The handle is not needed: the group awaits the task.
        drop(tasks.spawn("memory", writing));
        Self { latest, kept }
    }

    /// These are to be remembered from now on.
    pub(super) fn remember(&self, members: Vec<RememberedMember>) {
        self.latest.send_modify(|latest| {
            latest.number += 1;
            latest.members = Arc::new(members);
        });
    }

    /// What is remembered, whether it is on disk yet or not.
    pub(super) fn members(&self) -> Vec<RememberedMember> {
        self.latest.borrow().members.as_ref().clone()
    }

    /// The number of the present set.
    pub(super) fn number(&self) -> u64 {
        self.latest.borrow().number
    }

    pub(super) fn kept(&self) -> Kept {
        Kept(self.kept.clone())
    }
}

impl Kept {
    /// Waits until the set of this number, or a later one, is on disk; false if that takes longer
    /// than `patience`. Cancel safe.
    pub(super) async fn wait(&mut self, number: u64, patience: Duration) -> bool {
        let is_kept = self.0.wait_for(|kept| *kept >= number);
        matches!(timeout(patience, is_kept).await, Ok(Ok(_)))
    }
}

async fn keep_all(
    mut latest: watch::Receiver<Version>,
    told: watch::Sender<u64>,
    keep: KeepMembers,
) {
    while latest.changed().await.is_ok() {
        sleep(GATHERING).await;
        let Version { number, members } = latest.borrow_and_update().clone();
        let n_members = members.len();
        let keep = Arc::clone(&keep);
        let outcome = tokio::task::spawn_blocking(move || keep(&members)).await;
        match outcome.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                tracing::debug!(n_members, "the storing members are kept");
                told.send_replace(number);
            }
            Err(error) => {
                tracing::error!(%error, "the storing members cannot be kept: after a restart one that is away would not be missed");
                let is_newer = timeout(RETRY, latest.changed()).await;
                if matches!(is_newer, Ok(Err(_))) {
                    return;
                }
                latest.mark_changed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        cluster::proto::{NodeName, Roles},
        types::ids::NodeId,
    };

    fn member(id: u64) -> RememberedMember {
        RememberedMember {
            id: NodeId(id),
            name: NodeName::parse("n").unwrap(),
            roles: Roles {
                is_ingest: true,
                is_store: true,
            },
            link: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_refuses_is_tried_again_and_the_end_writes_what_is_left() {
        let disk = Arc::new(Mutex::new((2, Vec::new())));
        let written = Arc::clone(&disk);
        let keep: KeepMembers = Arc::new(move |members| {
            let mut disk = written.lock().unwrap();
            if disk.0 > 0 {
                disk.0 -= 1;
                return Err(io::Error::other("full"));
            }
            disk.1 = members.to_vec();
            Ok(())
        });
        let tasks = TaskGroup::new();
        let memory = Memory::start(vec![member(1)], keep, &tasks);
        assert_eq!(memory.members(), [member(1)]);
        let mut kept = memory.kept();
        memory.remember(vec![member(1), member(2)]);
        assert!(!kept.wait(memory.number(), Duration::from_secs(1)).await);
        assert!(kept.wait(memory.number(), Duration::from_secs(20)).await);
        assert_eq!(disk.lock().unwrap().1, [member(1), member(2)]);
        memory.remember(vec![member(2)]);
        drop(memory);
        tasks.wait_empty().await;
        assert_eq!(disk.lock().unwrap().1, [member(2)]);
    }
}
