//! A device's connections: connect, greet, send, wait for answers, come back.

use std::{
    collections::VecDeque,
    io,
    iter::Peekable,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use waymesh::{
    base::{
        backoff::Backoff,
        prng::Prng,
        time::{Instant, Stopwatch},
    },
    protocol::wialon::Answer,
    types::time::UnixMillis,
};

use super::{Event, Expect, Kills, Language, Message, Run};
use crate::books::VehicleBook;

/// How a connection ended.
enum End {
    /// All is said and answered.
    Done,
    /// It was to be lost now, to be made again.
    Planned,
    /// No answer came for too long.
    Silent,
    /// The vehicle may not speak.
    Refused,
}

/// A device with all that it has still to say.
pub(crate) struct Device<E: Iterator<Item = Event>> {
    vehicle: String,
    language: Language,
    /// Lines it sends ahead of their answers; 1 waits for each.
    window: usize,
    /// The door that it tries first.
    home: usize,
    /// The one that it is at, or tries next.
    door: usize,
    events: Peekable<E>,
    unanswered: VecDeque<InFlight>,
    /// The beginning of an answer whose end has not come.
    partial: Vec<u8>,
    /// How many of `unanswered`, from the front, went over the present connection.
    n_on_wire: usize,
    /// What went over the present connection and is not answered by its protocol.
    unconfirmed: Unconfirmed,
    /// Whether an answer came over the present connection.
    has_heard: bool,
    /// When the last answer to a line came; at first the start of the run.
    heard_at: Instant,
    book: VehicleBook,
    run: Arc<Run>,
}

/// Lines that are confirmed by the end of their connection alone: the node closes in its turn when
/// all it has read is durable.
#[derive(Default)]
struct Unconfirmed {
    n_lines: u64,
    reports: Vec<UnixMillis>,
    /// The door of the connection, and its kills when it was made: the system closes what a killed
    /// node had open.
    door: usize,
    kills: Kills,
}

struct InFlight {
    message: Message,
    /// Since it was sent first.
    since: Option<Stopwatch>,
    /// How long it had been due by then.
    waited: Duration,
    is_resent: bool,
}

impl<E: Iterator<Item = Event>> Device<E> {
    pub(crate) fn new(
        (vehicle, language): (String, Language),
        window: usize,
        home: usize,
        events: E,
        run: Arc<Run>,
    ) -> Self {
        Self {
            vehicle,
            language,
            window,
            home,
            door: home,
            events: events.peekable(),
            unanswered: VecDeque::new(),
            partial: Vec::new(),
            n_on_wire: 0,
            unconfirmed: Unconfirmed::default(),
            has_heard: false,
            heard_at: run.started,
            book: VehicleBook::new(language.is_answered()),
            run,
        }
    }

    /// Says all there is to say, or gives up at the run's deadline.
    pub(crate) async fn serve(mut self, seed: u64) -> (String, VehicleBook) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2), seed);
        let mut prng = Prng::new(seed).split();
        let deadline = self.run.deadline.to_tokio();
        let talking = async {
            while !self.has_said_all() {
                self.wait_until_due().await;
                let end = self.connection().await;
                if matches!(end, Ok(End::Refused)) {
                    self.book.is_refused = true;
                    break;
                }
                match delay_after(&end, self.has_heard, &mut backoff) {
                    Some(delay) => {
                        self.go_elsewhere(&mut prng);
                        tokio::time::sleep(delay).await;
                    }
                    None => self.door = self.home,
                }
            }
        };
        if tokio::time::timeout_at(deadline, talking).await.is_err() {
            tracing::debug!(vehicle = self.vehicle, "gave up at the deadline");
        }
        self.settle();
        (self.vehicle, self.book)
    }

    /// Chooses another door than the one that did not serve, if there is another.
    fn go_elsewhere(&mut self, prng: &mut Prng) {
        let n_others = self.run.doors().len() as u64 - 1;
        if n_others > 0 {
            self.door += 1 + prng.below(n_others) as usize;
        }
    }

    /// What is left when the device is done, or gives up.
    fn settle(&mut self) {
        self.note_silence();
        self.settle_unconfirmed();
        let (said, unsaid): (Vec<_>, Vec<_>) = self
            .unanswered
            .iter()
            .partition(|line| line.since.is_some());
        self.book.n_unanswered = said.len() as u64;
        let is_line = |event: &Event| matches!(event, Event::Send(_));
        self.book.n_unsaid = unsaid.len() as u64;
        self.book.n_unsaid += self.events.by_ref().filter(is_line).count() as u64;
    }

    /// What went over a connection that is over, and was not confirmed by its end.
    fn settle_unconfirmed(&mut self) {
        let left = std::mem::take(&mut self.unconfirmed);
        if self.run.door(left.door).is_killed_since(left.kills) {
            self.book.n_cut_by_kill += left.n_lines;
        } else {
            self.book.n_unconfirmed += left.n_lines;
        }
    }

    fn has_said_all(&mut self) -> bool {
        self.unanswered.is_empty() && self.events.peek().is_none()
    }

    /// Waits for the first thing to say, so that a fleet does not connect all at once.
    async fn wait_until_due(&mut self) {
        if self.unanswered.is_empty()
            && let Some(due) = self.next_due()
        {
            tokio::time::sleep_until(due.to_tokio()).await;
        }
    }

    fn next_due(&mut self) -> Option<Instant> {
        let (Event::Send(Message { due_millis, .. }) | Event::Reconnect(due_millis)) =
            self.events.peek()?;
        Some(self.run.started + Duration::from_millis(*due_millis))
    }

    async fn connection(&mut self) -> io::Result<End> {
        self.unconfirmed.door = self.door;
        self.unconfirmed.kills = self.run.door(self.door).kills();
        self.has_heard = false;
        let opening = tokio::time::timeout(self.run.answer_timeout, self.open());
        let Some(mut stream) = opening.await?? else {
            return Ok(End::Refused);
        };
        self.book.note_connected();
        let run = Arc::clone(&self.run);
        let n_connected = &run.door(self.door).n_connected;
        n_connected.fetch_add(1, Ordering::Relaxed);
        self.n_on_wire = 0;
        let end = self.talk(&mut stream).await;
        n_connected.fetch_sub(1, Ordering::Relaxed);
        self.settle_unconfirmed();
        end
    }

    /// A connection over which the device said who it is; none if it may not speak.
    async fn open(&mut self) -> io::Result<Option<BufReader<TcpStream>>> {
        let socket = TcpStream::connect(self.run.door(self.door).address).await?;
        socket.set_nodelay(true)?;
        self.partial.clear();
        let mut stream = BufReader::with_capacity(512, socket);
        let greeting = self.language.greeting(&self.vehicle);
        stream.get_mut().write_all(&greeting).await?;
        if self.language.is_answered() {
            match self.read_answer(&mut stream).await? {
                Answer::Login(Ok(())) => {}
                Answer::Login(Err(_)) => return Ok(None),
                _ => return Err(io::Error::other("no answer to a login")),
            }
        }
        Ok(Some(stream))
    }

    async fn talk(&mut self, stream: &mut BufReader<TcpStream>) -> io::Result<End> {
        loop {
            if self.gather_due() {
                if !self.language.is_answered() {
                    self.close(stream).await?;
                }
                return Ok(End::Planned);
            }
            let sending = tokio::time::timeout(self.run.answer_timeout, async {
                self.send_gathered(stream).await
            });
            sending.await??;
            if self.has_said_all() {
                self.close(stream).await?;
                return Ok(End::Done);
            }
            let has_window = self.unanswered.len() < self.window;
            let next_due = self.next_due().filter(|_| has_window);
            let wake = next_due.unwrap_or_else(|| Instant::now() + self.run.answer_timeout);
            tokio::select! {
                answer = self.read_answer(stream), if !self.unanswered.is_empty() => {
                    self.note_answer(answer?);
                }
                () = tokio::time::sleep_until(wake.to_tokio()) => {
                    if next_due.is_none() && !self.unanswered.is_empty() {
                        return Ok(End::Silent);
                    }
                }
            }
        }
    }

    /// Ends the connection in order: what the node has still to read is read, and durable, before
    /// it closes in its turn.
    async fn close(&mut self, stream: &mut BufReader<TcpStream>) -> io::Result<()> {
        let closing = async {
            stream.get_mut().shutdown().await?;
            drain(stream).await
        };
        tokio::time::timeout(self.run.answer_timeout, closing).await??;
        if !self
            .run
            .door(self.door)
            .is_killed_since(self.unconfirmed.kills)
        {
            for time in std::mem::take(&mut self.unconfirmed).reports {
                self.book.note_acknowledged(time);
            }
        }
        Ok(())
    }

    /// Takes what is due into the window; true if the connection is to be lost now.
    fn gather_due(&mut self) -> bool {
        let now = Instant::now();
        while self.unanswered.len() < self.window {
            if self.next_due().is_none_or(|due| due > now) {
                return false;
            }
            match self.events.next() {
                Some(Event::Send(message)) => {
                    let fresh = InFlight {
                        message,
                        since: None,
                        waited: Duration::ZERO,
                        is_resent: false,
                    };
                    self.unanswered.push_back(fresh);
                }
                Some(Event::Reconnect(_)) => return true,
                None => return false,
            }
        }
        false
    }

    /// Sends what has not gone over this connection yet.
    async fn send_gathered(&mut self, stream: &mut BufReader<TcpStream>) -> io::Result<()> {
        while let Some(line) = self.unanswered.get_mut(self.n_on_wire) {
            let message = &line.message;
            for report in &message.reports {
                match (message.is_spoiled, line.since) {
                    (true, None) => self.book.note_spoiled(report.time),
                    (true, Some(_)) => {}
                    (false, _) => self.book.note_sent(report.time, report.fix),
                }
            }
            if line.since.is_some() {
                line.is_resent = true;
                self.book.n_resent += 1;
            }
            if line.since.is_none() {
                line.waited = Instant::now().since(self.run.due(message));
                line.since = Some(Stopwatch::start());
            }
            let n_sent = &self.run.door(self.door).n_sent;
            n_sent.fetch_add(1, Ordering::Relaxed);
            stream.get_mut().write_all(&message.bytes).await?;
            if message.expects.is_some() {
                self.n_on_wire += 1;
            } else {
                let times = message.reports.iter().map(|report| report.time);
                self.unconfirmed.reports.extend(times);
                self.unconfirmed.n_lines += 1;
                self.unanswered.remove(self.n_on_wire);
            }
        }
        Ok(())
    }

    /// How long the line that waits longest has waited since it was due, or since the last answer.
    fn note_silence(&mut self) {
        let now = Instant::now();
        if let Some(line) = self.unanswered.front() {
            let due = self.run.due(&line.message);
            self.book.note_silence(now.since(due.max(self.heard_at)));
        }
        self.heard_at = now;
    }

    fn note_answer(&mut self, answer: Answer) {
        self.note_silence();
        let Some(line) = self.unanswered.pop_front() else {
            self.book.n_shifted += 1;
            return;
        };
        self.has_heard = true;
        self.n_on_wire = self.n_on_wire.saturating_sub(1);
        let took = line.since.map(|since| since.elapsed()).unwrap_or_default();
        let took = line.waited + took;
        self.run.note_answer(self.door, took, line.is_resent);
        let expects = line.message.expects;
        if !expects.is_some_and(|expects| expects.is_met(&answer)) {
            self.book.n_shifted += 1;
        } else if line.message.is_spoiled {
            self.book.n_rejected += 1;
        } else {
            let n_rejected = expects.map_or(0, |expects| expects.n_rejected(&answer));
            self.book.n_rejected += u64::from(n_rejected);
            self.book.n_taken += u64::from(Expect::is_taken(&answer));
            if n_rejected == 0 {
                let times = line.message.reports.iter().map(|report| report.time);
                times.for_each(|time| self.book.note_acknowledged(time));
            }
        }
    }

    /// Reads one answer. Cancel safe: what has come of it is kept for the next call.
    async fn read_answer(&mut self, stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
        let reading = stream.read_until(b'\n', &mut self.partial);
        let n_bytes = tokio::time::timeout(self.run.answer_timeout, reading).await??;
        if n_bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answer = Answer::parse(self.partial.trim_ascii_end());
        self.partial.clear();
        answer.ok_or_else(|| io::Error::other("not an answer"))
    }
}

/// How long to wait before the next connection. Only an answer, or an end that was meant, makes the
/// delays short again: a connection that was merely accepted, or logged in, is no success.
fn delay_after(end: &io::Result<End>, has_heard: bool, backoff: &mut Backoff) -> Option<Duration> {
    let is_meant = matches!(end, Ok(End::Done | End::Planned | End::Refused));
    if is_meant || has_heard {
        backoff.reset();
    }
    (!is_meant).then(|| backoff.next_delay())
}

async fn drain(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut rest = [0; 64];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use waymesh::{
        base::task::spawn_child,
        types::{record::Fix, time::UnixMillis},
    };

    use super::*;
    use crate::{
        books::Books,
        device::{Door, Timing, messages},
        fleet::{Planned, Report, What},
    };

    /// Three lines of one vehicle, all due at once.
    fn plan() -> impl Iterator<Item = Planned> {
        (1..=3).map(|millis| {
            let report = Report {
                time: UnixMillis(millis),
                fix: Fix::default(),
            };
            Planned {
                at_millis: 0,
                what: What::Live(report),
            }
        })
    }

    async fn drive(server: impl AsyncFn(usize, BufReader<TcpStream>) + Send) -> VehicleBook {
        drive_in(Language::WialonOne, server).await
    }

    async fn drive_in(
        language: Language,
        server: impl AsyncFn(usize, BufReader<TcpStream>) + Send,
    ) -> VehicleBook {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let mut run = Run::new(Instant::now() + Duration::from_secs(20), [target]);
        run.answer_timeout = Duration::from_millis(200);
        let run = Arc::new(run);
        let identity = ("v".to_owned(), language);
        let events = messages(identity.1, plan(), Timing::PLAIN);
        let device = Device::new(identity, 2, 0, events, run);
        let device = spawn_child(device.serve(1));
        let serving = async {
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                server(number, BufReader::new(socket)).await;
            }
        };
        tokio::select! {
            () = serving => unreachable!("it serves for ever"),
            book = device => book.unwrap().1,
        }
    }

    async fn hear(stream: &mut BufReader<TcpStream>) -> Option<String> {
        let mut line = String::new();
        let n_bytes = stream.read_line(&mut line).await.unwrap_or(0);
        (n_bytes > 0).then_some(line)
    }

    async fn say(stream: &mut BufReader<TcpStream>, text: &str) {
        stream.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// Answers each line as it should be.
    async fn behave(mut stream: BufReader<TcpStream>) {
        while let Some(line) = hear(&mut stream).await {
            let kind = line.split('#').nth(1).unwrap();
            say(&mut stream, &format!("#A{kind}#1\r\n")).await;
        }
    }

    #[tokio::test]
    async fn a_device_whose_node_is_gone_goes_to_another_and_is_answered_there() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gone = gone.local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let doors = [gone, listener.local_addr().unwrap()];
        let run = Arc::new(Run::new(Instant::now() + Duration::from_secs(20), doors));
        let identity = ("v".to_owned(), Language::WialonOne);
        let events = messages(identity.1, plan(), Timing::PLAIN);
        let device = Device::new(identity, 1, 0, events, Arc::clone(&run));
        let device = spawn_child(device.serve(1));
        let (socket, _) = listener.accept().await.unwrap();
        behave(BufReader::new(socket)).await;
        let sums = sums_of(device.await.unwrap().1);
        assert_eq!((sums.sent, sums.acknowledged), (3, 3));
        let answered: Vec<u64> = run.doors().iter().map(Door::n_answered).collect();
        assert_eq!(answered, [0, 3]);
    }

    #[tokio::test]
    async fn the_time_of_an_answer_runs_from_when_its_line_was_due() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let mut run = Run::new(Instant::now() + Duration::from_secs(20), [target]);
        // All lines are late before the first is sent.
        run.started = Instant::from_millis(0);
        tokio::time::sleep_until(Instant::from_millis(30).to_tokio()).await;
        let run = Arc::new(run);
        let identity = ("v".to_owned(), Language::WialonOne);
        let events = messages(identity.1, plan(), Timing::PLAIN);
        let device = Device::new(identity, 1, 0, events, Arc::clone(&run));
        let device = spawn_child(device.serve(1));
        let (socket, _) = listener.accept().await.unwrap();
        behave(BufReader::new(socket)).await;
        assert_eq!(sums_of(device.await.unwrap().1).acknowledged, 3);
        let latency = run.latency().calm;
        assert_eq!(latency.len(), 3);
        assert!(latency.min() >= 30_000, "{} µs", latency.min());
    }

    fn sums_of(book: VehicleBook) -> crate::books::Summary {
        let mut books = Books::default();
        books.enter("v".to_owned(), book);
        books.summary()
    }

    #[tokio::test]
    async fn what_has_no_answer_is_sent_again() {
        let book = drive(async |number, mut stream| match number {
            // Nothing at all, then a login and no more, then an answer that is cut.
            0 => {}
            1 => {
                hear(&mut stream).await;
                say(&mut stream, "#AL#1\r\n").await;
                hear(&mut stream).await;
            }
            2 => {
                hear(&mut stream).await;
                say(&mut stream, "#AL#1\r\n").await;
                hear(&mut stream).await;
                say(&mut stream, "#ASD").await;
            }
            _ => behave(stream).await,
        })
        .await;
        let sums = sums_of(book);
        assert_eq!((sums.sent, sums.acknowledged, sums.shifted), (3, 3, 0));
        assert!(sums.resent_lines >= 2, "{sums:?}");
    }

    #[tokio::test]
    async fn a_login_that_is_never_answered_is_given_up() {
        let held = std::sync::Mutex::new(None);
        let book = drive(async |number, mut stream| match number {
            // Held open, and silent.
            0 => {
                hear(&mut stream).await;
                *held.lock().unwrap() = Some(stream);
            }
            _ => {
                hear(&mut stream).await;
                say(&mut stream, "#AL#1\r\n").await;
                behave(stream).await;
            }
        })
        .await;
        let sums = sums_of(book);
        assert_eq!((sums.sent, sums.acknowledged, sums.connections), (3, 3, 1));
    }

    #[tokio::test]
    async fn a_vehicle_that_is_refused_gives_up_and_says_so() {
        let book = drive(async |_, mut stream| {
            hear(&mut stream).await;
            say(&mut stream, "#AL#0\r\n").await;
        })
        .await;
        let sums = sums_of(book);
        assert_eq!((sums.refused, sums.sent, sums.unsaid), (1, 0, 3));
        assert!(!sums.is_balanced());
    }

    #[test]
    fn only_an_answer_makes_the_next_delay_short_again() {
        let first = Duration::from_millis(20);
        let mut backoff = Backoff::new(first, Duration::from_secs(2), 1);
        let lost = || Err(io::ErrorKind::ConnectionReset.into());
        for end in [lost(), Ok(End::Silent), lost(), lost(), Ok(End::Silent)] {
            delay_after(&end, false, &mut backoff).unwrap();
        }
        let grown = delay_after(&lost(), false, &mut backoff).unwrap();
        assert!(grown >= first * 16, "{grown:?}");
        let short = delay_after(&lost(), true, &mut backoff).unwrap();
        assert!(short <= first, "{short:?}");
        assert_eq!(delay_after(&Ok(End::Planned), false, &mut backoff), None);
    }

    /// Reads to the end, and closes in its turn.
    async fn read_all(mut stream: BufReader<TcpStream>) {
        while hear(&mut stream).await.is_some() {}
    }

    #[tokio::test]
    async fn lines_without_answers_are_confirmed_by_the_end_of_their_connection() {
        let book = drive_in(Language::Nmea, async |_, stream| read_all(stream).await).await;
        assert_eq!((book.n_unconfirmed, book.n_unsaid), (0, 0));
        let sums = sums_of(book);
        assert_eq!((sums.unanswered_sent, sums.unanswered_confirmed), (3, 3));
        // Nothing of it was read back.
        assert_eq!(sums.unanswered_lost, 3);
        assert!(!sums.is_balanced());
    }

    #[tokio::test]
    async fn lines_without_answers_are_not_confirmed_by_a_node_that_never_closes() {
        let held = std::sync::Mutex::new(None);
        let book = drive_in(Language::Nmea, async |_, mut stream| {
            hear(&mut stream).await;
            *held.lock().unwrap() = Some(stream);
        })
        .await;
        assert_eq!((book.n_unconfirmed, book.n_cut_by_kill), (3, 0));
        let sums = sums_of(book);
        assert_eq!((sums.unanswered_sent, sums.unanswered_confirmed), (3, 0));
        assert_eq!(sums.unanswered_unconfirmed, 3);
        assert!(!sums.is_balanced(), "{sums:?}");
    }

    #[tokio::test]
    async fn what_a_kill_cuts_off_is_excused_and_never_confirmed() {
        // Noted before the device connects, while it is connected, and the node dead by then.
        for (is_dying, is_dead) in [(true, false), (false, false), (false, true)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = listener.local_addr().unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            let run = Arc::new(Run::new(deadline, [target]));
            if is_dying {
                run.door(0).note_kill();
            }
            let events = messages(Language::Nmea, plan(), Timing::PLAIN);
            let identity = ("v".to_owned(), Language::Nmea);
            let device = Device::new(identity, 2, 0, events, Arc::clone(&run));
            let device = spawn_child(device.serve(1));
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(socket);
            hear(&mut stream).await;
            if !is_dying {
                run.door(0).note_kill();
            }
            if is_dead {
                run.door(0).note_death();
            }
            read_all(stream).await;
            let book = device.await.unwrap().1;
            assert_eq!((book.n_unconfirmed, book.n_cut_by_kill), (0, 3));
            let sums = sums_of(book);
            assert_eq!(sums.unanswered_confirmed, 0);
            assert!(sums.is_balanced(), "{sums:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_another_line_is_noticed() {
        let book = drive(async |_, mut stream| {
            hear(&mut stream).await;
            say(&mut stream, "#AL#1\r\n").await;
            while hear(&mut stream).await.is_some() {
                say(&mut stream, "#ASD#1\r\n").await;
            }
        })
        .await;
        let sums = sums_of(book);
        assert_eq!(
            (sums.acknowledged, sums.shifted),
            (2, 1),
            "lines are short, full, short"
        );
    }
}
