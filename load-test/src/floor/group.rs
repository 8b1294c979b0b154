//! Groups of records on their way to the disk: one thread writes and syncs one after the other.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use rustix::{
    event::{EventfdFlags, eventfd},
    fd::OwnedFd,
};

/// Records and the answers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The bytes to write.
    pub(super) records: Vec<u8>,
    /// Connections with the number of answers each is owed.
    pub(super) owed: Vec<(u64, u32)>,
}

/// The poller's end of the syncing thread, which holds at most one group.
#[derive(Debug)]
pub(super) struct Syncer {
    to: SyncSender<Group>,
    /// Groups that are durable, or why there will be none any more.
    from: Receiver<io::Result<Group>>,
    /// Readable when a group is durable.
    pub(super) durable: Arc<OwnedFd>,
    is_busy: bool,
}

impl Syncer {
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let mut file = File::options().create(true).append(true).open(path)?;
        let durable = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (to, groups) = sync_channel::<Group>(1);
        let (done, from) = sync_channel(1);
        let wake = Arc::clone(&durable);
        let body = move || -> io::Result<()> {
            while let Ok(group) = groups.recv() {
                let written = file.write_all(&group.records);
                let synced = written.and_then(|()| file.sync_data());
                let is_last = synced.is_err();
                if done.send(synced.map(|()| group)).is_err() {
                    break;
                }
                rustix::io::write(&wake, &1_u64.to_ne_bytes())?;
                if is_last {
                    break;
                }
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("syncer".to_owned());
        // Whoever waits for a group hears of its end.
        drop(thread.spawn(body)?);
        Ok(Self {
            to,
            from,
            durable,
            is_busy: false,
        })
    }

    /// Whether a group is on its way to the disk.
    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Hands a group on; only while none is on its way.
    pub(super) fn sync(&mut self, group: Group) -> io::Result<()> {
        self.is_busy = true;
        self.to
            .send(group)
            .map_err(|_| io::Error::other("the syncing thread has ended"))
    }

    /// The group that has become durable, once after [`Syncer::durable`] was readable.
    ///
    /// # Errors
    /// Why it could not be made durable: the thread has ended.
    pub(super) fn take_durable(&mut self) -> io::Result<Option<Group>> {
        let mut count = [0; 8];
        match rustix::io::read(&*self.durable, &mut count) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let group = self.from.recv();
        self.is_busy = false;
        let group = group.map_err(|_| io::Error::other("the syncing thread has ended"))?;
        let failed = |error| io::Error::other(format!("records cannot be made durable: {error}"));
        group.map(Some).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// What becomes of a group in a file.
    fn sync_to(path: &Path) -> io::Result<Option<Group>> {
        let mut syncer = Syncer::start(path)?;
        syncer.sync(Group {
            records: b"record".to_vec(),
            owed: vec![(3, 1)],
        })?;
        let durable = Arc::clone(&syncer.durable);
        poll(&mut [PollFd::new(&*durable, PollFlags::IN)], None)?;
        syncer.take_durable()
    }

    #[test]
    fn a_group_is_written_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        assert_eq!(sync_to(&path).unwrap().unwrap().owed, [(3, 1)]);
        assert_eq!(std::fs::read(path).unwrap(), b"record");
    }

    #[test]
    fn a_disk_that_fails_is_told_with_its_reason() {
        let error = sync_to(Path::new("/dev/full")).unwrap_err().to_string();
        assert!(error.contains("No space left"), "{error}");
    }
}
