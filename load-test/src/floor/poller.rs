//! The one thread that reads and answers all sockets.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
};
use socket2::{Domain, Socket, Type};
use waymesh::base::time::Stopwatch;

use super::{
    group::{Group, Syncer},
    line::{Said, take},
};

/// How long records gather before they are synced.
const WINDOW: Duration = Duration::from_millis(5);

const READ_BYTES_MAX: usize = 64 * 1024;

const EVENTS_MAX: usize = 1_024;

const BACKLOG: i32 = 4_096;

/// What an event is about, where it is no connection.
const LISTENER: u64 = u64::MAX;
const DURABLE: u64 = u64::MAX - 1;

pub(super) struct Poller {
    epoll: OwnedFd,
    listener: TcpListener,
    syncer: Syncer,
    connections: Vec<Option<Connection>>,
    open: Group,
    /// Since when the open group holds something.
    since: Option<Stopwatch>,
    scratch: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// Answers owed by the open group, and their place in it.
    owed_idx: Option<usize>,
}

impl Poller {
    pub(super) fn bind(address: SocketAddr, syncer: Syncer) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener: TcpListener = socket.into();
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let readable = EventFlags::IN;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), readable)?;
        epoll::add(
            &epoll,
            &*syncer.durable,
            EventData::new_u64(DURABLE),
            readable,
        )?;
        Ok(Self {
            epoll,
            listener,
            syncer,
            connections: Vec::new(),
            open: Group::default(),
            since: None,
            scratch: vec![0; READ_BYTES_MAX],
        })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until something of the system fails.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let patience = self.patience();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), patience.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    DURABLE => self.answer()?,
                    number => self.read(number as usize),
                }
            }
            self.sync_if_due()?;
        }
    }

    /// How long to wait for events: until the open group is due, if it can be synced then.
    fn patience(&self) -> Option<Timespec> {
        let since = self.since.filter(|_| !self.syncer.is_busy())?;
        Timespec::try_from(WINDOW.saturating_sub(since.elapsed())).ok()
    }

    fn sync_if_due(&mut self) -> io::Result<()> {
        let is_due = self.since.is_some_and(|since| since.elapsed() >= WINDOW);
        if !is_due || self.syncer.is_busy() {
            return Ok(());
        }
        self.since = None;
        for (number, _) in &self.open.owed {
            if let Some(Some(connection)) = self.connections.get_mut(*number as usize) {
                connection.owed_idx = None;
            }
        }
        self.syncer.sync(std::mem::take(&mut self.open))
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            let number = self.connections.len();
            let data = EventData::new_u64(number as u64);
            epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
            self.connections.push(Some(Connection {
                socket,
                rest: Vec::new(),
                owed_idx: None,
            }));
        }
    }

    fn read(&mut self, number: usize) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        match connection.socket.read(&mut self.scratch) {
            Ok(n_bytes) if n_bytes > 0 => {
                let bytes = self.scratch.get(..n_bytes).unwrap_or_default();
                if !connection.take(number as u64, bytes, &mut self.open) {
                    self.close(number);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => self.close(number),
        }
        if !self.open.owed.is_empty() {
            self.since.get_or_insert_with(Stopwatch::start);
        }
    }

    /// One write for each socket that the durable group owes answers.
    fn answer(&mut self) -> io::Result<()> {
        let Some(group) = self.syncer.take_durable()? else {
            return Ok(());
        };
        let mut answers = Vec::new();
        for (number, n_answers) in group.owed {
            answers.clear();
            (0..n_answers).for_each(|_| answers.extend_from_slice(b"#ASD#1\r\n"));
            let connection = self.connections.get_mut(number as usize);
            let is_written = connection
                .and_then(Option::as_mut)
                .is_none_or(|connection| {
                    let written = connection.socket.write(&answers);
                    written.is_ok_and(|n_bytes| n_bytes == answers.len())
                });
            if !is_written {
                self.close(number as usize);
            }
        }
        Ok(())
    }

    /// Closes a connection. Its number is not given again, so an answer on its way finds nobody.
    fn close(&mut self, number: usize) {
        if let Some(place) = self.connections.get_mut(number) {
            *place = None;
        }
    }
}

impl Connection {
    /// Takes `bytes` that were read; false if the connection is to be closed.
    fn take(&mut self, number: u64, bytes: &[u8], open: &mut Group) -> bool {
        let mut rest = bytes;
        if !self.rest.is_empty() {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.rest.extend_from_slice(rest);
                return true;
            };
            let (head, tail) = rest.split_at(end + 1);
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(head);
            if !self.take_line(number, &line, open) {
                return false;
            }
            rest = tail;
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            let line = rest.get(start..=end).unwrap_or_default();
            if !self.take_line(number, line, open) {
                return false;
            }
            start = end + 1;
        }
        self.rest
            .extend_from_slice(rest.get(start..).unwrap_or_default());
        true
    }

    fn take_line(&mut self, number: u64, line: &[u8], open: &mut Group) -> bool {
        match take(line.trim_ascii_end(), number, &mut open.records) {
            Said::Position => {
                let idx = *self.owed_idx.get_or_insert_with(|| {
                    open.owed.push((number, 0));
                    open.owed.len() - 1
                });
                if let Some((_, n_answers)) = open.owed.get_mut(idx) {
                    *n_answers += 1;
                }
                true
            }
            Said::Login => self.socket.write_all(b"#AL#1\r\n").is_ok(),
            Said::Nothing => false,
        }
    }
}
