//! When PINGs and beats leave: a quick doubling series while company is missing, rest otherwise.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    base::{prng::Prng, time::Instant},
    types::ids::NodeId,
};

use super::super::timing::{
    BEAT_SERIES_SPACING, SENDERS_MAX, SERIES_FIRST_DELAY, SERIES_JITTER_MS, SERIES_PINGS_ALONE,
    SERIES_PINGS_MIN, SERIES_QUICK, SERIES_SPACING, SOCKETS_TOGETHER,
};

/// Plan of the PINGs and beats of one node.
#[derive(Debug)]
pub(crate) struct Pings {
    phase: Phase,
    interval: Duration,
    /// When a loss last started a series.
    loss_at: Option<Instant>,
    beats: BeatSeries,
}

#[derive(Debug)]
enum Phase {
    Series(Series),
    Rest { beat_at: Instant },
    Paused,
}

#[derive(Debug)]
struct Series {
    is_first: bool,
    n_sent: u32,
    /// Unknown until a socket is open.
    next_at: Option<Instant>,
    delay: Duration,
    /// Since when PINGs are held back for the sake of a lower identity.
    yielding_since: Option<Instant>,
}

/// When beats last started a series: of each sender, and at all.
#[derive(Debug, Default)]
struct BeatSeries {
    by_sender: BTreeMap<NodeId, Instant>,
    last: Option<Instant>,
}

/// What is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Ping,
    Beat,
}

/// Whether a node has the company it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// No.
    Missing,
    /// It misses nobody that it knows of and has no link: it may be the only one.
    Alone,
    /// Yes.
    Complete,
}

impl Company {
    /// Whether a series may end after so many PINGs.
    fn is_enough_after(self, n_sent: u32) -> bool {
        match self {
            Self::Missing => false,
            Self::Alone => n_sent >= SERIES_PINGS_ALONE,
            Self::Complete => true,
        }
    }
}

/// What a plan is doing, for people to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingPhase {
    /// It asks for company.
    Series,
    /// It has what it needs and sends beats only.
    Rest,
    /// It was told to be still.
    Paused,
}

impl Pings {
    /// A plan whose first series begins when the first socket opens.
    pub(crate) const fn new(interval: Duration, is_active: bool) -> Self {
        let phase = if is_active {
            Phase::Series(Series::new(true))
        } else {
            Phase::Paused
        };
        Self {
            phase,
            interval,
            loss_at: None,
            beats: BeatSeries {
                by_sender: BTreeMap::new(),
                last: None,
            },
        }
    }

    pub(crate) const fn phase(&self) -> PingPhase {
        match self.phase {
            Phase::Series(_) => PingPhase::Series,
            Phase::Rest { .. } => PingPhase::Rest,
            Phase::Paused => PingPhase::Paused,
        }
    }

    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Series(series) => series.next_at,
            Phase::Rest { beat_at } => Some(*beat_at),
            Phase::Paused => None,
        }
    }

    /// What leaves now, and the plan from there on. A series whose company is complete ends here.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        company: impl Fn() -> Company,
        prng: &mut Prng,
    ) -> Option<Due> {
        if self.next_deadline().is_none_or(|at| at > now) {
            return None;
        }
        let after = jittered(self.interval, prng);
        let Phase::Series(series) = &mut self.phase else {
            self.phase = Phase::Rest {
                beat_at: now + after,
            };
            return Some(Due::Beat);
        };
        if series.n_sent >= SERIES_PINGS_MIN && company().is_enough_after(series.n_sent) {
            self.rest(now, prng);
            return None;
        }
        series.n_sent += 1;
        series.yielding_since = None;
        let is_slow = series.delay >= self.interval;
        series.next_at = Some(now + if is_slow { after } else { series.delay });
        series.delay = (series.delay * 2).min(self.interval);
        Some(Due::Ping)
    }

    /// A socket opened: who hears over it has not heard us yet.
    pub(crate) fn socket_opened(&mut self, now: Instant) {
        let is_first = match &self.phase {
            Phase::Series(series) => series.is_first,
            Phase::Rest { .. } => false,
            Phase::Paused => return,
        };
        self.begin(now + SOCKETS_TOGETHER, is_first);
    }

    /// No socket is open any more: nothing can be sent.
    pub(crate) const fn sockets_gone(&mut self) {
        if let Phase::Series(series) = &mut self.phase {
            series.next_at = None;
        }
    }

    /// Somebody was lost, or company is missing again.
    pub(crate) fn lost(&mut self, now: Instant, prng: &mut Prng) {
        let is_soon = |at| now.since(at) < SERIES_SPACING;
        if !self.loss_at.is_some_and(is_soon) && self.begin_unless_quick(now, prng) {
            self.loss_at = Some(now);
        }
    }

    /// A beat showed an island: at most one series an interval for a sender, and one a second in
    /// all.
    pub(crate) fn island_seen(&mut self, now: Instant, sender: NodeId, prng: &mut Prng) {
        if self.beats.may(now, sender, self.interval) && self.begin_unless_quick(now, prng) {
            self.beats.last = Some(now);
            self.beats.by_sender.insert(sender, now);
        }
    }

    /// A lower identity asks, too: let it go on. Whoever has company enough rests at once; the others wait
    /// for twice their delay, and not longer than an interval in all.
    pub(crate) fn yield_to_lower(
        &mut self,
        now: Instant,
        company: impl Fn() -> Company,
        prng: &mut Prng,
    ) {
        let Phase::Series(series) = &mut self.phase else {
            return;
        };
        let is_first = series.is_first && series.n_sent < SERIES_PINGS_MIN;
        let Some(next_at) = series.next_at.filter(|_| !is_first) else {
            return;
        };
        if company() == Company::Complete {
            self.rest(now, prng);
            return;
        }
        let since = *series.yielding_since.get_or_insert(now);
        let later = (now + series.delay * 2).min(since + self.interval);
        series.next_at = Some(next_at.max(later));
    }

    pub(crate) const fn pause(&mut self) {
        self.phase = Phase::Paused;
    }

    /// Gives whether there was a pause.
    pub(crate) fn resume(&mut self, now: Instant, has_socket: bool) -> bool {
        let was_paused = matches!(self.phase, Phase::Paused);
        if was_paused {
            self.begin(now, false);
        }
        if !has_socket {
            self.sockets_gone();
        }
        was_paused
    }

    fn rest(&mut self, now: Instant, prng: &mut Prng) {
        let beat_at = now + jittered(self.interval, prng);
        self.phase = Phase::Rest { beat_at };
    }

    fn begin_unless_quick(&mut self, now: Instant, prng: &mut Prng) -> bool {
        let begins = match &self.phase {
            Phase::Series(series) => series.next_at.is_some() && series.delay > SERIES_QUICK,
            Phase::Rest { .. } => true,
            Phase::Paused => false,
        };
        if begins {
            let jitter = Duration::from_millis(prng.below(SERIES_JITTER_MS + 1));
            self.begin(now + jitter, false);
        }
        begins
    }

    fn begin(&mut self, at: Instant, is_first: bool) {
        let series = Series {
            next_at: Some(at),
            ..Series::new(is_first)
        };
        self.phase = Phase::Series(series);
    }
}

impl Series {
    const fn new(is_first: bool) -> Self {
        Self {
            is_first,
            n_sent: 0,
            next_at: None,
            delay: SERIES_FIRST_DELAY,
            yielding_since: None,
        }
    }
}

impl BeatSeries {
    fn may(&mut self, now: Instant, sender: NodeId, interval: Duration) -> bool {
        self.by_sender.retain(|_, at| now.since(*at) < interval);
        let is_soon = |at: Instant| now.since(at) < BEAT_SERIES_SPACING;
        !self.last.is_some_and(is_soon)
            && !self.by_sender.contains_key(&sender)
            && self.by_sender.len() < SENDERS_MAX
    }
}

/// The interval, give or take a tenth.
fn jittered(interval: Duration, prng: &mut Prng) -> Duration {
    interval.mul_f64(prng.between(0.9, 1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Runs a plan and gives when it sent what.
    fn run(pings: &mut Pings, until: u64, company: Company) -> Vec<(u64, Due)> {
        let mut prng = Prng::new(1);
        let mut sent = Vec::new();
        while let Some(next) = pings.next_deadline().filter(|next| *next <= at(until)) {
            let due = pings.due(next, || company, &mut prng);
            sent.extend(due.map(|due| (next.as_millis(), due)));
        }
        sent
    }

    fn started() -> Pings {
        let mut pings = Pings::new(INTERVAL, true);
        pings.socket_opened(at(0));
        pings
    }

    #[test]
    fn a_series_doubles_up_to_the_interval() {
        let sent = run(&mut started(), 40_000, Company::Missing);
        let times: Vec<u64> = sent.iter().map(|(at, _)| *at).collect();
        assert_eq!(times[..5], [2, 52, 152, 352, 752]);
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap <= 11_000), "{gaps:?}");
        assert!(gaps[8..].iter().all(|gap| *gap >= 9_000), "{gaps:?}");
    }

    #[test]
    fn complete_company_ends_the_series_after_three_pings() {
        let sent = run(&mut started(), 40_000, Company::Complete);
        let pings = sent.iter().filter(|(_, due)| *due == Due::Ping).count();
        let beats: Vec<u64> = sent
            .iter()
            .filter(|(_, due)| *due == Due::Beat)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(pings, 3);
        assert!((3..=4).contains(&beats.len()), "{beats:?}");
        assert!(
            beats
                .windows(2)
                .all(|pair| (9_000..=11_000).contains(&(pair[1] - pair[0])))
        );
    }

    #[test]
    fn who_knows_of_nobody_asks_for_some_seconds_and_then_rests() {
        let sent = run(&mut started(), 40_000, Company::Alone);
        let pings: Vec<_> = sent.iter().filter(|(_, due)| *due == Due::Ping).collect();
        assert_eq!(pings.len(), 8);
        assert_eq!(pings[7].0, 6_352);
    }

    #[test]
    fn nobody_is_silenced_in_the_first_series_nor_for_longer_than_an_interval() {
        let mut prng = Prng::new(1);
        let mut pings = started();
        pings.yield_to_lower(at(1), || Company::Missing, &mut prng);
        assert_eq!(
            pings.next_deadline(),
            Some(at(2)),
            "the first series goes on"
        );
        run(&mut pings, 1_000, Company::Complete);
        pings.lost(at(2_000), &mut prng);
        for millis in 2_000..20_000 {
            if pings.next_deadline().unwrap() <= at(millis) {
                break;
            }
            pings.yield_to_lower(at(millis), || Company::Missing, &mut prng);
            assert!(pings.next_deadline().unwrap() <= at(12_000));
        }
        assert_eq!(pings.next_deadline(), Some(at(12_000)));
    }

    #[test]
    fn who_has_company_enough_leaves_the_asking_to_the_lower() {
        let mut prng = Prng::new(1);
        let mut pings = started();
        run(&mut pings, 1_000, Company::Complete);
        pings.lost(at(2_000), &mut prng);
        pings.yield_to_lower(at(2_001), || Company::Complete, &mut prng);
        assert_eq!(pings.phase(), PingPhase::Rest);
    }

    #[test]
    fn beats_start_few_series() {
        let mut prng = Prng::new(1);
        let mut pings = started();
        let mut began = Vec::new();
        for millis in (1_000..31_000).step_by(100) {
            run(&mut pings, millis, Company::Complete);
            pings.island_seen(at(millis), NodeId(1), &mut prng);
            if pings.phase() == PingPhase::Series {
                began.push(millis);
                run(&mut pings, millis + 400, Company::Complete);
            }
        }
        assert_eq!(began.len(), 3, "{began:?}");
        run(&mut pings, 50_000, Company::Complete);
        for sender in 0..5 {
            pings.island_seen(at(50_000), NodeId(sender), &mut prng);
            run(&mut pings, 50_500, Company::Complete);
        }
        assert_eq!(pings.phase(), PingPhase::Rest, "one a second in all");
    }

    #[test]
    fn a_pause_is_silent_and_its_end_asks_at_once() {
        let mut pings = Pings::new(INTERVAL, false);
        pings.socket_opened(at(0));
        pings.lost(at(0), &mut Prng::new(1));
        assert_eq!(pings.next_deadline(), None);
        assert!(pings.resume(at(5), true));
        assert_eq!(pings.next_deadline(), Some(at(5)));
        pings.sockets_gone();
        assert_eq!(pings.next_deadline(), None);
        pings.socket_opened(at(9));
        assert_eq!(pings.next_deadline(), Some(at(11)));
    }
}
