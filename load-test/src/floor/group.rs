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
    from: Receiver<Group>,
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
                file.write_all(&group.records)?;
                file.sync_data()?;
                if done.send(group).is_err() {
                    break;
                }
                rustix::io::write(&wake, &1_u64.to_ne_bytes())?;
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().name("syncer".to_owned());
        // Its end shows as a closed channel.
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
    pub(super) fn take_durable(&mut self) -> io::Result<Option<Group>> {
        let mut count = [0; 8];
        match rustix::io::read(&*self.durable, &mut count) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let group = self.from.recv();
        self.is_busy = false;
        group
            .map(Some)
            .map_err(|_| io::Error::other("the syncing thread has ended"))
    }
}
