//! A vehicle that speaks Wialon IPS 1.1 by hand: keeps each line until it is acknowledged, comes
//! back after every loss of its connection, and sends again what has no answer.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// What a vehicle has come to know of its own lines.
#[derive(Debug, Default)]
pub struct Diary {
    /// Numbers of its lines that were acknowledged, in the order of the answers.
    pub acknowledged: Vec<u32>,
    /// Numbers of all lines that ever left.
    pub n_sent: u32,
    /// Answers whose kind is not that of the line they must belong to.
    pub n_shifted: u32,
    pub n_connections: u32,
}

/// Tries to connect after the end of a run until a vehicle gives up: the node is gone for good.
const LATE_TRIES_MAX: u32 = 1_000;

/// Ends a run when it is dropped, also by a failed test, so that no vehicle goes on for ever.
pub struct End<'a>(pub &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends lines numbered from 0, at most `window` ahead of the answers, until `is_over`; then takes
/// the answers that are still due.
pub fn drive(address: SocketAddr, id: &str, window: usize, is_over: &AtomicBool) -> Diary {
    let mut diary = Diary::default();
    let mut unanswered = VecDeque::new();
    let mut next = 0;
    let mut n_late_tries = 0;
    while !(is_over.load(Ordering::Relaxed) && unanswered.is_empty()) {
        let Some(mut line) = connect(address, id) else {
            n_late_tries += u32::from(is_over.load(Ordering::Relaxed));
            if n_late_tries > LATE_TRIES_MAX {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        diary.n_connections += 1;
        let mut n_on_wire = 0;
        loop {
            while unanswered.len() < window && !is_over.load(Ordering::Relaxed) {
                unanswered.push_back(next);
                next += 1;
            }
            diary.n_sent = next;
            let text: String = unanswered
                .iter()
                .skip(n_on_wire)
                .map(|n| text_of(*n))
                .collect();
            n_on_wire = unanswered.len();
            if line.get_mut().write_all(text.as_bytes()).is_err() {
                break;
            }
            let Some(number) = unanswered.front().copied() else {
                break;
            };
            let mut answer = String::new();
            if !line.read_line(&mut answer).is_ok_and(|n_bytes| n_bytes > 0) {
                break;
            }
            if answer != answer_of(number) {
                diary.n_shifted += 1;
            }
            diary.acknowledged.push(number);
            unanswered.pop_front();
            n_on_wire -= 1;
        }
    }
    diary
}

/// A connection that is logged in; none while nobody takes it.
pub fn connect(address: SocketAddr, id: &str) -> Option<BufReader<TcpStream>> {
    let socket = TcpStream::connect(address).ok()?;
    socket.set_nodelay(true).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let mut line = BufReader::new(socket);
    write!(line.get_mut(), "#L#{id};NA\r\n").ok()?;
    let mut answer = String::new();
    line.read_line(&mut answer).ok()?;
    (answer == "#AL#1\r\n").then_some(line)
}

/// Line `number`: a short one, a long one or a batch of two in turn, a second apart.
fn text_of(number: u32) -> String {
    let (first, second) = (body(number, 0), body(number, 1));
    match number % 3 {
        0 => format!("#SD#{first}\r\n"),
        1 => format!("#D#{first};1.1;0;0;;NA;count:1:{number}\r\n"),
        _ => format!("#B#{first}|{second}\r\n"),
    }
}

fn answer_of(number: u32) -> &'static str {
    match number % 3 {
        0 => "#ASD#1\r\n",
        1 => "#AD#1\r\n",
        _ => "#AB#2\r\n",
    }
}

fn body(number: u32, part: u32) -> String {
    let second = seconds_of(number) + part;
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    let east = 24_000_000 + number;
    format!(
        "011125;{hour:02}{minute:02}{second:02};5926.{:04};N;{:05}.{:04};E;42;90;30;9",
        number % 10_000,
        east / 10_000,
        east % 10_000
    )
}

/// The seconds after midnight of 2025-11-01 at which line `number` has its first fix.
pub fn seconds_of(number: u32) -> u32 {
    number * 2
}

/// The times of all fixes of line `number`, as the API prints them.
pub fn times_of(number: u32) -> Vec<String> {
    let n_parts = if number % 3 == 2 { 2 } else { 1 };
    (0..n_parts)
        .map(|part| {
            let second = seconds_of(number) + part;
            let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
            format!("2025-11-01T{hour:02}:{minute:02}:{second:02}.000Z")
        })
        .collect()
}
