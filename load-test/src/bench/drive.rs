//! Drives one server with many connections from one thread, as cheaply as it can: epoll, lines made
//! from a template, answers held against a template and counted by their length.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio_util::sync::CancellationToken;
use waymesh::base::time::Stopwatch;

use super::{line::Lines, loads::Load};
use crate::told::go_on;

/// Without an answer for so long the server is taken for broken.
const PATIENCE: Duration = Duration::from_secs(20);

const READ_BYTES_MAX: usize = 64 * 1024;

/// What a login and a line are answered with.
const LOGIN_ANSWER: &[u8] = b"#AL#1\r\n";
const LINE_ANSWER: &[u8] = b"#ASD#1\r\n";

/// Bytes of a wrong answer that are shown.
const SHOWN_MAX: usize = 40;

const EVENTS_MAX: usize = 1_024;

/// Connections from one address: of many more to one server the system looks long for a free port, which
/// with 15,000 takes several times as long as the server needs for them.
const CONNECTIONS_OF_ADDRESS: usize = 1_000;

/// Longest answer time that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// How long to wait for events before lines that have become due are sent.
const PACE: Duration = Duration::from_millis(1);

/// Connections to one server, logged in.
pub(super) struct Driver {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
    line: Vec<u8>,
    answers: Answers,
}

/// The one answer that is right, again and again: what comes is compared with it as a block, which
/// costs less than to look for the ends of lines.
struct Answers {
    answer: &'static [u8],
    /// One more than a read may bring, as it may begin within an answer.
    repeated: Vec<u8>,
}

struct Connection {
    socket: TcpStream,
    /// Writes that are not answered in full: when, and how many lines of each are left.
    unanswered: VecDeque<(u64, u32)>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    is_waiting_to_send: bool,
    /// Bytes of an answer that have come without its end.
    n_begun: usize,
}

/// What was said and answered in a turn.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) n_lines: u64,
    pub(super) seconds: f64,
    /// From a write until the answer to its last line, in microseconds.
    pub(super) latency: Histogram<u32>,
}

/// Connects the connection of a number, on loopback from one of its addresses.
fn connect(server: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if let SocketAddr::V4(server) = server
        && server.ip().is_loopback()
    {
        let block = u8::try_from(number / CONNECTIONS_OF_ADDRESS).map_err(io::Error::other)?;
        let from = Ipv4Addr::new(127, 0, 1, block.saturating_add(1));
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    socket.connect_timeout(&server.into(), PATIENCE)?;
    Ok(socket.into())
}

impl Driver {
    /// Opens a connection for each of `vehicles` and logs in over it; how long that took until the last answer.
    ///
    /// # Errors
    /// What the system says, a server that does not answer a login as it should, and a signal that
    /// tells to end.
    pub(super) fn connect(
        server: SocketAddr,
        vehicles: &[String],
        told: &CancellationToken,
    ) -> io::Result<(Self, Duration)> {
        let started = Stopwatch::start();
        let mut driver = Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(vehicles.len()),
            scratch: vec![0; READ_BYTES_MAX],
            line: Vec::new(),
            answers: Answers::new(LOGIN_ANSWER),
        };
        for (number, vehicle) in vehicles.iter().enumerate() {
            go_on(told)?;
            let mut socket = connect(server, number)?;
            socket.set_nodelay(true)?;
            // Closed at once, so that the ports are free for the next turn.
            SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
            socket.write_all(&Lines::login(vehicle))?;
            socket.set_nonblocking(true)?;
            let data = EventData::new_u64(number as u64);
            epoll::add(&driver.epoll, &socket, data, EventFlags::IN)?;
            driver.connections.push(Connection {
                socket,
                unanswered: VecDeque::from([(0, 1)]),
                unsent: Vec::new(),
                is_waiting_to_send: false,
                n_begun: 0,
            });
        }
        let mut n_left = vehicles.len() as u64;
        let mut latency = new_histogram();
        let mut heard = Stopwatch::start();
        while n_left > 0 {
            go_on(told)?;
            let n_new = driver.take_answers(PACE, &started, &mut latency)?;
            n_left = n_left.saturating_sub(n_new);
            if n_new > 0 {
                heard = Stopwatch::start();
            } else if heard.elapsed() > PATIENCE {
                let why = format!("{n_left} logins were not answered");
                return Err(io::Error::other(why));
            }
        }
        let took = started.elapsed();
        driver.answers = Answers::new(LINE_ANSWER);
        Ok((driver, took))
    }

    /// Sends lines for `duration` as `load` says, then waits until all are answered.
    ///
    /// # Errors
    /// A connection that broke, a server that does not answer as it should or not any more, and a
    /// signal that tells to end.
    pub(super) fn run(
        &mut self,
        (load, duration): (&Load, Duration),
        lines: &mut [Lines],
        told: &CancellationToken,
    ) -> io::Result<Answered> {
        let started = Stopwatch::start();
        let mut latency = new_histogram();
        let (mut n_sent, mut n_answered) = (0_u64, 0_u64);
        let mut next = 0;
        while started.elapsed() < duration {
            go_on(told)?;
            let patience = match load.lines_per_second {
                Some(rate) => {
                    let n_due = (f64::from(rate) * started.elapsed().as_secs_f64()) as u64;
                    while n_sent < n_due {
                        n_sent += self.send(next, load, lines, &started)?;
                        next = (next + 1) % self.connections.len().max(1);
                    }
                    PACE
                }
                None => {
                    let mut n_sent_now = 0;
                    for number in 0..self.connections.len() {
                        n_sent_now += self.send(number, load, lines, &started)?;
                    }
                    n_sent += n_sent_now;
                    if n_sent_now > 0 { Duration::ZERO } else { PACE }
                }
            };
            n_answered += self.take_answers(patience, &started, &mut latency)?;
        }
        let mut heard = Stopwatch::start();
        while n_answered < n_sent {
            go_on(told)?;
            let n_new = self.take_answers(PACE, &started, &mut latency)?;
            n_answered += n_new;
            if n_new > 0 {
                heard = Stopwatch::start();
            } else if heard.elapsed() > PATIENCE {
                let n_missing = n_sent - n_answered;
                return Err(io::Error::other(format!(
                    "{n_missing} lines were not answered"
                )));
            }
        }
        Ok(Answered {
            n_lines: n_answered,
            seconds: started.elapsed().as_secs_f64(),
            latency,
        })
    }

    /// One write of a connection, if its window and its socket allow; the lines in it.
    fn send(
        &mut self,
        number: usize,
        load: &Load,
        lines: &mut [Lines],
        clock: &Stopwatch,
    ) -> io::Result<u64> {
        let (Some(connection), Some(lines)) =
            (self.connections.get_mut(number), lines.get_mut(number))
        else {
            return Ok(0);
        };
        let is_paced = load.lines_per_second.is_some();
        let has_window = is_paced || connection.unanswered.len() < load.writes_in_flight_max;
        if !has_window || connection.is_waiting_to_send {
            return Ok(0);
        }
        self.line.clear();
        (0..load.lines_per_write).for_each(|_| lines.next(&mut self.line));
        let n_micros = clock.elapsed().as_micros() as u64;
        connection
            .unanswered
            .push_back((n_micros, load.lines_per_write));
        let n_bytes = match connection.socket.write(&self.line) {
            Ok(n_bytes) => n_bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if n_bytes < self.line.len() {
            connection
                .unsent
                .extend_from_slice(self.line.get(n_bytes..).unwrap_or_default());
            connection.is_waiting_to_send = true;
            let data = EventData::new_u64(number as u64);
            let flags = EventFlags::IN | EventFlags::OUT;
            epoll::modify(&self.epoll, &connection.socket, data, flags)?;
        }
        Ok(u64::from(load.lines_per_write))
    }

    /// Waits for events at most `patience`, and takes what has come; the lines answered.
    fn take_answers(
        &mut self,
        patience: Duration,
        clock: &Stopwatch,
        latency: &mut Histogram<u32>,
    ) -> io::Result<u64> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut n_answered = 0;
        for event in &events {
            let number = event.data.u64();
            let Some(connection) = self.connections.get_mut(number as usize) else {
                continue;
            };
            let flags = event.flags;
            if flags.contains(EventFlags::OUT) && connection.flush()? {
                let data = EventData::new_u64(number);
                epoll::modify(&self.epoll, &connection.socket, data, EventFlags::IN)?;
            }
            if flags.contains(EventFlags::IN) {
                let read = (&self.answers, self.scratch.as_mut_slice());
                n_answered += connection.take_answers(read, clock, latency)?;
            } else if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(n_answered)
    }
}

impl Connection {
    /// Sends on; true if nothing is left.
    fn flush(&mut self) -> io::Result<bool> {
        match self.socket.write(&self.unsent) {
            Ok(n_bytes) => drop(self.unsent.drain(..n_bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.is_waiting_to_send = !self.unsent.is_empty();
        Ok(!self.is_waiting_to_send)
    }

    fn take_answers(
        &mut self,
        (answers, scratch): (&Answers, &mut [u8]),
        clock: &Stopwatch,
        latency: &mut Histogram<u32>,
    ) -> io::Result<u64> {
        let n_bytes = match self.socket.read(scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n_bytes) => n_bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let bytes = scratch.get(..n_bytes).unwrap_or_default();
        let n_answers = answers.count(bytes, &mut self.n_begun)?;
        let now_micros = clock.elapsed().as_micros() as u64;
        let mut n_left = n_answers;
        while n_left > 0 {
            let Some((sent_micros, n_lines)) = self.unanswered.front_mut() else {
                return Err(io::Error::other("more answers than lines"));
            };
            let n_taken = n_left.min(*n_lines);
            *n_lines -= n_taken;
            n_left -= n_taken;
            if *n_lines == 0 {
                latency.saturating_record(now_micros.saturating_sub(*sent_micros).max(1));
                self.unanswered.pop_front();
            }
        }
        Ok(u64::from(n_answers))
    }
}

impl Answers {
    fn new(answer: &'static [u8]) -> Self {
        let n_bytes = READ_BYTES_MAX + answer.len();
        let repeated = answer.iter().copied().cycle().take(n_bytes);
        Self {
            answer,
            repeated: repeated.collect(),
        }
    }

    /// How many answers end in `bytes`, the first of which has begun with `n_begun` bytes before.
    fn count(&self, bytes: &[u8], n_begun: &mut usize) -> io::Result<u32> {
        let expected = self.repeated.get(*n_begun..*n_begun + bytes.len());
        if expected != Some(bytes) {
            let [came, expected] =
                [bytes, self.answer].map(|bytes| bytes.get(..SHOWN_MAX).unwrap_or(bytes));
            let why = format!(
                "the server answers \"{}\" where \"{}\" is right",
                came.escape_ascii(),
                expected.escape_ascii()
            );
            return Err(io::Error::other(why));
        }
        let n_bytes = *n_begun + bytes.len();
        *n_begun = n_bytes % self.answer.len();
        Ok((n_bytes / self.answer.len()) as u32)
    }
}

fn new_histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("constant bounds are sound")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::TcpListener,
    };

    use super::*;
    use crate::told::is_told;

    const LOAD: Load = Load {
        name: "test",
        n_connections: 1,
        lines_per_write: 3,
        lines_per_second: None,
        writes_in_flight_max: 2,
    };

    /// A server that answers a login and each line with these; what came of driving it for a moment,
    /// or for an hour that a signal ends.
    fn drive(login: &'static str, line: &'static str, is_told: bool) -> io::Result<Answered> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let serving = std::thread::spawn(move || -> io::Result<()> {
            let (socket, _) = listener.accept()?;
            let mut answers = socket.try_clone()?;
            let mut lines = BufReader::new(socket).lines();
            lines.next().transpose()?;
            answers.write_all(login.as_bytes())?;
            for said in lines {
                said?;
                answers.write_all(line.as_bytes())?;
            }
            Ok(())
        });
        let told = CancellationToken::new();
        let connected = Driver::connect(address, &["v".to_owned()], &told);
        let outcome = connected.and_then(|(mut driver, _)| {
            let mut duration = Duration::from_millis(20);
            if is_told {
                duration = Duration::from_hours(1);
                told.cancel();
            }
            driver.run((&LOAD, duration), &mut [Lines::new()], &told)
        });
        // Its connection is gone with the driver.
        drop(serving.join().expect("it does not panic"));
        outcome
    }

    #[test]
    fn a_server_that_answers_as_it_should_is_measured() {
        let answered = drive("#AL#1\r\n", "#ASD#1\r\n", false).unwrap();
        assert!(answered.n_lines > 0 && answered.n_lines.is_multiple_of(3));
    }

    #[test]
    fn a_server_that_takes_nothing_is_no_success() {
        for (login, line, wrong) in [
            ("#AL#0\r\n", "#ASD#1\r\n", "#AL#0"),
            ("#AL#1\r\n", "#ASD#-1\r\n", "#ASD#-1"),
            // As long as the right one.
            ("#AL#1\r\n", "#ASD#0\r\n", "#ASD#0"),
        ] {
            let error = drive(login, line, false).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn answers_are_counted_however_they_are_cut() {
        let answers = Answers::new(LINE_ANSWER);
        let text = LINE_ANSWER.repeat(5);
        for n_bytes in 1..=text.len() {
            let mut n_begun = 0;
            let counts = text.chunks(n_bytes);
            let counts = counts.map(|bytes| answers.count(bytes, &mut n_begun).unwrap());
            assert_eq!(counts.sum::<u32>(), 5);
            assert_eq!(n_begun, 0);
        }
        assert!(answers.count(b"ASD#1\r\n", &mut 0).is_err());
    }

    #[test]
    fn a_signal_ends_a_turn() {
        let outcome = drive("#AL#1\r\n", "#ASD#1\r\n", true);
        assert!(is_told(&outcome.unwrap_err()));
    }
}
