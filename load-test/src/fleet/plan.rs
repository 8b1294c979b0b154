//! What a vehicle will report, and when: its drive cut into reports, dead spots and lost connections.

use std::collections::VecDeque;

use waymesh::{
    base::prng::Prng,
    types::{record::Fix, time::UnixMillis},
};

use super::drive::Drive;

/// Reports of one archive line at most.
const ARCHIVE_MAX: usize = 12;

/// How a plan is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanConfig {
    /// The plan depends on this alone.
    pub(crate) seed: u64,
    /// Time of the first report, less than an interval after this.
    pub(crate) start: UnixMillis,
    /// Seconds that the plan covers: all that it holds is due within them.
    pub(crate) n_seconds: u32,
    /// Seconds between two reports.
    pub(crate) interval_seconds: u32,
    /// Whether the vehicle knows archives and spoils lines (its protocol answers).
    pub(crate) is_answered: bool,
    /// What goes wrong on the way.
    pub(crate) faults: Faults,
}

/// How often, of a hundred reports, something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Faults {
    /// A line is spoiled, and must be rejected.
    pub(crate) spoiled_percent: f64,
    /// The connection is lost and made again.
    pub(crate) reconnect_percent: f64,
    /// A dead spot begins, after which an archive is sent.
    pub(crate) dead_spot_percent: f64,
}

impl Faults {
    /// Nothing ever.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self {
        spoiled_percent: 0.0,
        reconnect_percent: 0.0,
        dead_spot_percent: 0.0,
    };

    /// A little of each.
    pub(crate) const SOME: Self = Self {
        spoiled_percent: 1.0,
        reconnect_percent: 1.0,
        dead_spot_percent: 2.0,
    };
}

/// Where a vehicle was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Report {
    /// Time of the fix.
    pub(crate) time: UnixMillis,
    /// The fix.
    pub(crate) fix: Fix,
}

/// How a line is spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Its checksum, or its structure where the device has no checksum.
    Checksum,
    /// Its place is none on earth.
    Place,
}

/// What happens at a moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// A report, sent as it is made.
    Live(Report),
    /// Reports of a dead spot, sent together.
    Archive(Vec<Report>),
    /// A report that must be rejected.
    Spoiled(Report, Spoil),
    /// The connection is lost and made again.
    Reconnect,
}

/// Something that happens, and when: milliseconds since the start of the plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    pub(crate) at_millis: u64,
    pub(crate) what: What,
}

/// The plan of one vehicle, in order of time.
#[derive(Debug)]
pub(crate) struct Plan {
    config: PlanConfig,
    drive: Drive,
    prng: Prng,
    second: u32,
    phase_millis: u32,
    /// Seconds that a dead spot still lasts.
    n_dead_seconds: u32,
    archive: Vec<Report>,
    ready: VecDeque<Planned>,
}

impl Plan {
    /// The plan that `config` asks for.
    pub(crate) fn new(config: PlanConfig) -> Self {
        let mut prng = Prng::new(config.seed);
        // One report is due, however long the interval is.
        let first_seconds = config.interval_seconds.min(config.n_seconds).max(1);
        let phase = prng.below(u64::from(first_seconds) * 1_000);
        Self {
            drive: Drive::new(prng.split()),
            prng,
            second: 0,
            phase_millis: u32::try_from(phase).unwrap_or(0),
            n_dead_seconds: 0,
            archive: Vec::new(),
            ready: VecDeque::new(),
            config,
        }
    }

    /// When the next report is due.
    fn due_millis(&self) -> u64 {
        u64::from(self.second) * 1_000 + u64::from(self.phase_millis)
    }

    fn has_more(&self) -> bool {
        self.due_millis() < u64::from(self.config.n_seconds) * 1_000
    }

    fn interval(&mut self) {
        for _ in 0..self.config.interval_seconds {
            self.drive.second();
        }
        let at_millis = self.due_millis();
        let time = UnixMillis(self.config.start.0 + i64::try_from(at_millis).unwrap_or(i64::MAX));
        let report = Report {
            time,
            fix: self.drive.fix(),
        };
        self.second += self.config.interval_seconds;
        if self.n_dead_seconds > 0 {
            self.dead_spot(at_millis, report);
            return;
        }
        let faults = self.config.faults;
        let mut put = |what| self.ready.push_back(Planned { at_millis, what });
        if self.config.is_answered && self.prng.chance(faults.spoiled_percent) {
            let is_place = self.prng.chance(50.0);
            let spoil = if is_place {
                Spoil::Place
            } else {
                Spoil::Checksum
            };
            put(What::Spoiled(report, spoil));
            return;
        }
        put(What::Live(report));
        if self.prng.chance(faults.reconnect_percent) {
            put(What::Reconnect);
        } else if self.config.is_answered && self.prng.chance(faults.dead_spot_percent) {
            let n_intervals = 3 + u32::try_from(self.prng.below(20)).unwrap_or(0);
            self.n_dead_seconds = n_intervals * self.config.interval_seconds;
        }
    }

    fn dead_spot(&mut self, at_millis: u64, report: Report) {
        self.archive.push(report);
        self.n_dead_seconds = self
            .n_dead_seconds
            .saturating_sub(self.config.interval_seconds);
        if self.n_dead_seconds == 0 || !self.has_more() {
            // It comes back over a new connection.
            self.ready.push_back(Planned {
                at_millis,
                what: What::Reconnect,
            });
            for part in self.archive.chunks(ARCHIVE_MAX) {
                self.ready.push_back(Planned {
                    at_millis,
                    what: What::Archive(part.to_vec()),
                });
            }
            self.archive.clear();
        }
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        while self.ready.is_empty() && self.has_more() {
            self.interval();
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: PlanConfig = PlanConfig {
        seed: 7,
        start: UnixMillis(1_700_000_000_000),
        n_seconds: 4_000,
        interval_seconds: 2,
        is_answered: true,
        faults: Faults::SOME,
    };

    #[test]
    fn without_faults_every_moment_is_a_live_report() {
        let faults = Faults::NONE;
        let plan: Vec<_> = Plan::new(PlanConfig { faults, ..CONFIG }).collect();
        assert_eq!(plan.len(), 2_000);
        assert!(
            plan.iter()
                .all(|planned| matches!(planned.what, What::Live(_)))
        );
    }

    #[test]
    fn all_is_due_within_the_seconds_and_at_least_one_report_is() {
        for (n_seconds, interval_seconds) in [(100, 600), (520, 500), (1, 1), (7, 3), (9, 9)] {
            let mut n_reports = 0;
            for seed in 0..200 {
                let plan = Plan::new(PlanConfig {
                    seed,
                    n_seconds,
                    interval_seconds,
                    ..CONFIG
                });
                let due: Vec<u64> = plan.map(|planned| planned.at_millis).collect();
                let end = u64::from(n_seconds) * 1_000;
                assert!(!due.is_empty(), "{n_seconds} s, seed {seed}");
                assert!(due.iter().all(|due| *due < end), "{due:?} of {end}");
                n_reports += due.len();
            }
            // As many as the rate says, or one.
            let expected = 200.0 * (f64::from(n_seconds) / f64::from(interval_seconds)).max(1.0);
            let share = n_reports as f64 / expected;
            assert!((0.8..1.2).contains(&share), "{n_reports} of {expected}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        assert!(Plan::new(CONFIG).eq(Plan::new(CONFIG)));
        assert!(!Plan::new(CONFIG).eq(Plan::new(PlanConfig { seed: 8, ..CONFIG })));
    }

    #[test]
    fn every_moment_is_reported_once_live_or_late() {
        let (mut times, mut n_archives, mut n_spoiled, mut n_reconnects) = (vec![], 0, 0, 0);
        let mut last = 0;
        for planned in Plan::new(CONFIG) {
            assert!(planned.at_millis >= last, "in order");
            last = planned.at_millis;
            match planned.what {
                What::Live(report) => times.push(report.time),
                What::Archive(reports) => {
                    n_archives += 1;
                    times.extend(reports.iter().map(|report| report.time));
                }
                What::Spoiled(report, _) => {
                    n_spoiled += 1;
                    times.push(report.time);
                }
                What::Reconnect => n_reconnects += 1,
            }
        }
        assert_eq!(times.len(), 2_000);
        assert!(times.is_sorted_by(|one, other| one < other));
        assert!(n_archives > 5 && n_spoiled > 5 && n_reconnects > 5);
    }
}
