//! The books: what was sent, what was acknowledged, and what was found; pure.
//!
//! A report is known by its vehicle and its time, which no two reports of a vehicle share.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use waymesh::{
    client::PositionJson,
    types::{
        number::{Degrees, Milli},
        record::Fix,
        time::UnixMillis,
    },
};

/// Thousandths of km/h by which a speed may differ that travelled in knots.
const KNOTS_TOLERANCE: i32 = 2;

/// What became of one report.
#[derive(Debug, Clone, Default)]
struct Entry {
    fix: Fix,
    is_acknowledged: bool,
    is_found: bool,
    is_doubled: bool,
    is_altered: bool,
}

/// What one vehicle knows of its reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct VehicleBook {
    /// Whether its protocol acknowledges.
    pub(crate) is_answered: bool,
    reports: BTreeMap<i64, Entry>,
    /// Lines that went over the wire again.
    pub(crate) n_resent: u64,
    /// Spoiled lines that were rejected with the right code; of recordings all that was rejected, each
    /// report of a batch by itself.
    pub(crate) n_rejected: u64,
    /// Lines of which the node said that it took something.
    pub(crate) n_taken: u64,
    /// Lines that were said and had no answer when the vehicle gave up.
    pub(crate) n_unanswered: u64,
    /// Lines that were still to be said then.
    pub(crate) n_unsaid: u64,
    /// Lines without an answer whose connection did not end in order, though nobody killed its node.
    pub(crate) n_unconfirmed: u64,
    /// The same where the node was killed meanwhile, which is no fault.
    pub(crate) n_cut_by_kill: u64,
    /// Whether the node did not let the vehicle speak.
    pub(crate) is_refused: bool,
    /// Answers that did not fit the line they must belong to.
    pub(crate) n_shifted: u64,
    /// Times of spoiled reports: none of them may be found.
    spoiled: Vec<i64>,
    n_connections: u64,
    /// Longest that a line that was due went without any answer.
    silence_max: Duration,
}

impl VehicleBook {
    /// The book of a vehicle whose protocol acknowledges, or not.
    pub(crate) fn new(is_answered: bool) -> Self {
        Self {
            is_answered,
            ..Self::default()
        }
    }

    pub(crate) fn note_sent(&mut self, time: UnixMillis, fix: Fix) {
        self.reports.entry(time.0).or_insert(Entry {
            fix,
            ..Entry::default()
        });
    }

    pub(crate) fn note_spoiled(&mut self, time: UnixMillis) {
        self.spoiled.push(time.0);
    }

    /// The report is confirmed: by an answer or, where there are none, by the end of its connection.
    pub(crate) fn note_acknowledged(&mut self, time: UnixMillis) {
        if let Some(entry) = self.reports.get_mut(&time.0) {
            entry.is_acknowledged = true;
        }
    }

    pub(crate) const fn note_connected(&mut self) {
        self.n_connections += 1;
    }

    /// A line that was due has gone without an answer for so long.
    pub(crate) fn note_silence(&mut self, silence: Duration) {
        self.silence_max = self.silence_max.max(silence);
    }
}

/// How long vehicles whose protocol answers went without an answer to a line that was due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Silences {
    /// The longest of all, and whose it was.
    pub(crate) max: Duration,
    pub(crate) vehicle: String,
    /// Ninety-nine of a hundred vehicles never waited longer.
    pub(crate) p99: Duration,
}

/// The books of a fleet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    vehicles: BTreeMap<String, VehicleBook>,
    n_foreign: u64,
    n_spoiled_stored: u64,
}

/// The sums of the books, of vehicles with answers unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) vehicles: u64,
    pub(crate) connections: u64,
    /// Distinct reports that went over the wire at least once.
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) unacknowledged: u64,
    pub(crate) stored: u64,
    /// Acknowledged and not found.
    pub(crate) lost: u64,
    /// Found more than once.
    pub(crate) doubled: u64,
    /// Found with another content.
    pub(crate) altered: u64,
    /// Found and never sent.
    pub(crate) foreign: u64,
    /// Answers that belonged to another line.
    pub(crate) shifted: u64,
    pub(crate) resent_lines: u64,
    /// Spoiled lines that were sent, rejected, and stored all the same.
    pub(crate) spoiled: u64,
    pub(crate) rejected: u64,
    pub(crate) spoiled_stored: u64,
    /// Vehicles that were not let speak.
    pub(crate) refused: u64,
    /// Lines that were never said.
    pub(crate) unsaid: u64,
    /// The same for vehicles whose protocol has no answers: what a kill costs them is no fault.
    pub(crate) unanswered_sent: u64,
    /// Sent over a connection that both sides closed in order.
    pub(crate) unanswered_confirmed: u64,
    pub(crate) unanswered_stored: u64,
    /// Confirmed and not found.
    pub(crate) unanswered_lost: u64,
    /// Messages that went over a connection that did not end in order, though nobody killed the node.
    pub(crate) unanswered_unconfirmed: u64,
    /// Messages that went over a connection whose node was killed meanwhile.
    pub(crate) unanswered_cut_by_kill: u64,
}

impl Summary {
    /// Whether nothing confirmed is lost, nothing is there twice, altered or from nowhere, all was
    /// said and acknowledged in the end, every spoiled line was rejected, and every connection that
    /// no kill broke was ended in order by its node.
    pub(crate) const fn is_balanced(&self) -> bool {
        let is_clean = self.lost == 0 && self.doubled == 0 && self.altered == 0;
        let is_ours = self.foreign == 0 && self.shifted == 0 && self.spoiled_stored == 0;
        let is_said = self.refused == 0 && self.unsaid == 0;
        let is_whole = self.unacknowledged == 0 && self.stored == self.acknowledged;
        is_clean
            && is_ours
            && is_said
            && is_whole
            && self.unanswered_lost == 0
            && self.unanswered_unconfirmed == 0
            && self.spoiled == self.rejected
    }

    /// Whether all that was sent without answers is there: so it must be where nothing was broken.
    pub(crate) const fn has_all_unanswered(&self) -> bool {
        self.unanswered_stored == self.unanswered_sent
    }
}

impl Books {
    /// Takes the book of a vehicle.
    pub(crate) fn enter(&mut self, vehicle: String, book: VehicleBook) {
        self.vehicles.insert(vehicle, book);
    }

    /// Notes a position that was read back.
    pub(crate) fn note_found(&mut self, position: &PositionJson) {
        let time = UnixMillis::parse(&position.time).map_or(i64::MIN, |time| time.0);
        let book = self.vehicles.get_mut(&position.vehicle);
        match book.map(|book| (book.reports.get_mut(&time), book.spoiled.contains(&time))) {
            Some((Some(entry), _)) => {
                entry.is_doubled |= entry.is_found;
                entry.is_found = true;
                entry.is_altered |= !is_same(&entry.fix, position);
            }
            Some((None, true)) => self.n_spoiled_stored += 1,
            _ => self.n_foreign += 1,
        }
    }

    /// The books of a whole out of those that were held against each of its parts: what one part
    /// does not give is not there, what one gives twice is there twice.
    pub(crate) fn worst_of(mut self, other: &Self) -> Self {
        self.n_foreign = self.n_foreign.max(other.n_foreign);
        self.n_spoiled_stored = self.n_spoiled_stored.max(other.n_spoiled_stored);
        for (vehicle, book) in &mut self.vehicles {
            let theirs = other.vehicles.get(vehicle).map(|book| &book.reports);
            for (time, entry) in &mut book.reports {
                let their = theirs.and_then(|reports| reports.get(time));
                entry.is_found &= their.is_some_and(|their| their.is_found);
                entry.is_doubled |= their.is_some_and(|their| their.is_doubled);
                entry.is_altered |= their.is_some_and(|their| their.is_altered);
            }
        }
        self
    }

    /// What is wrong with single reports, at most so many of them, a line each.
    pub(crate) fn faults(&self, n_max: usize) -> Vec<String> {
        let reports = self.vehicles.iter().flat_map(|(vehicle, book)| {
            let reports = book.reports.iter();
            reports.map(move |(time, entry)| (vehicle, UnixMillis(*time), entry))
        });
        let faults = reports.filter_map(|(vehicle, time, entry)| {
            let fault = entry.fault()?;
            Some(format!("{vehicle} {time}: {fault}"))
        });
        faults.take(n_max).collect()
    }

    /// How long vehicles went without an answer.
    pub(crate) fn silences(&self) -> Silences {
        let answered = self.vehicles.iter().filter(|(_, book)| book.is_answered);
        let mut silences: Vec<_> = answered.map(|(id, book)| (book.silence_max, id)).collect();
        silences.sort();
        let at = |share: f64| silences.get((silences.len() as f64 * share) as usize);
        let Some((max, vehicle)) = silences.last() else {
            return Silences::default();
        };
        Silences {
            max: *max,
            vehicle: (*vehicle).clone(),
            p99: at(0.99).map_or(*max, |(silence, _)| *silence),
        }
    }

    /// The sums.
    pub(crate) fn summary(&self) -> Summary {
        let mut sums = Summary {
            vehicles: self.vehicles.len() as u64,
            foreign: self.n_foreign,
            spoiled_stored: self.n_spoiled_stored,
            ..Summary::default()
        };
        for book in self.vehicles.values() {
            sums.connections += book.n_connections;
            sums.resent_lines += book.n_resent;
            sums.rejected += book.n_rejected;
            sums.shifted += book.n_shifted;
            sums.refused += u64::from(book.is_refused);
            sums.unsaid += book.n_unsaid;
            sums.spoiled += book.spoiled.len() as u64;
            sums.unanswered_unconfirmed += book.n_unconfirmed;
            sums.unanswered_cut_by_kill += book.n_cut_by_kill;
            for entry in book.reports.values() {
                sums.add(entry, book.is_answered);
            }
        }
        sums
    }
}

impl Entry {
    fn fault(&self) -> Option<&'static str> {
        if self.is_doubled {
            Some("doubled")
        } else if self.is_altered {
            Some("altered")
        } else if self.is_acknowledged && !self.is_found {
            Some("acknowledged, and lost")
        } else {
            None
        }
    }
}

impl Summary {
    fn add(&mut self, entry: &Entry, is_answered: bool) {
        let is_found = entry.is_found;
        self.doubled += u64::from(entry.is_doubled);
        self.altered += u64::from(entry.is_altered);
        if !is_answered {
            self.unanswered_sent += 1;
            self.unanswered_confirmed += u64::from(entry.is_acknowledged);
            self.unanswered_stored += u64::from(is_found);
            self.unanswered_lost += u64::from(entry.is_acknowledged && !is_found);
            return;
        }
        self.sent += 1;
        self.acknowledged += u64::from(entry.is_acknowledged);
        self.unacknowledged += u64::from(!entry.is_acknowledged);
        self.stored += u64::from(is_found);
        self.lost += u64::from(entry.is_acknowledged && !is_found);
    }
}

/// Whether what was read back is what was sent, as far as its protocol carries it.
fn is_same(sent: &Fix, found: &PositionJson) -> bool {
    let milli = |value: Option<f64>| value.and_then(Milli::from_f64);
    let is_place = Degrees::from_f64(found.lat) == Some(sent.latitude)
        && Degrees::from_f64(found.lon) == Some(sent.longitude);
    let tolerance = if found.protocol == "nmea" {
        KNOTS_TOLERANCE
    } else {
        0
    };
    let is_speed = match (sent.speed_kmh, milli(found.speed_kmh)) {
        (Some(sent), Some(found)) => {
            (sent.as_thousandths() - found.as_thousandths()).abs() <= tolerance
        }
        (sent, found) => sent == found,
    };
    is_place
        && is_speed
        && found.valid == sent.valid
        && milli(found.course_deg) == sent.course_deg
        && milli(found.altitude_m) == sent.altitude_m
        && found.satellites == sent.satellites
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(vehicle: &str, millis: i64, lat: f64) -> PositionJson {
        serde_json::from_value(serde_json::json!({
            "vehicle": vehicle, "time": UnixMillis(millis).to_string(), "lat": lat, "lon": 0.0,
            "valid": true, "protocol": "wialon", "received": "2026-01-01T00:00:00.000Z",
        }))
        .unwrap()
    }

    fn books() -> Books {
        let mut book = VehicleBook::new(true);
        let fix = Fix {
            latitude: Degrees::from_e7(10_000_000),
            valid: true,
            ..Fix::default()
        };
        for millis in [1, 2] {
            book.note_sent(UnixMillis(millis), fix);
            book.note_acknowledged(UnixMillis(millis));
        }
        book.note_spoiled(UnixMillis(3));
        book.n_rejected = 1;
        let mut books = Books::default();
        books.enter("v".to_owned(), book);
        books
    }

    #[track_caller]
    fn check(positions: &[PositionJson], fault: impl Fn(&Summary) -> u64) {
        let mut books = books();
        positions
            .iter()
            .for_each(|position| books.note_found(position));
        let summary = books.summary();
        assert_eq!(fault(&summary), 1);
        assert!(!summary.is_balanced(), "{summary:?}");
    }

    #[test]
    fn what_is_found_as_it_was_sent_balances() {
        let mut books = books();
        books.note_found(&found("v", 1, 1.0));
        books.note_found(&found("v", 2, 1.0));
        assert!(books.summary().is_balanced());
    }

    #[test]
    fn every_fault_is_found() {
        let (one, two) = (found("v", 1, 1.0), found("v", 2, 1.0));
        check(std::slice::from_ref(&one), |sums| sums.lost);
        check(&[one.clone(), two.clone(), two.clone()], |sums| {
            sums.doubled
        });
        check(&[one.clone(), found("v", 2, 1.000_000_1)], |sums| {
            sums.altered
        });
        check(&[one.clone(), two.clone(), found("v", 9, 1.0)], |sums| {
            sums.foreign
        });
        check(&[one.clone(), two.clone(), found("w", 1, 1.0)], |sums| {
            sums.foreign
        });
        check(&[one, two, found("v", 3, 1.0)], |sums| sums.spoiled_stored);
    }

    #[test]
    fn what_has_no_answer_is_lost_if_its_connection_ended_in_order() {
        let sums = |is_confirmed, is_found| {
            let mut book = VehicleBook::new(false);
            let fix = Fix {
                latitude: Degrees::from_e7(10_000_000),
                valid: true,
                ..Fix::default()
            };
            book.note_sent(UnixMillis(1), fix);
            if is_confirmed {
                book.note_acknowledged(UnixMillis(1));
            }
            let mut books = Books::default();
            books.enter("v".to_owned(), book);
            if is_found {
                books.note_found(&found("v", 1, 1.0));
            }
            let sums = books.summary();
            (sums.is_balanced(), sums.has_all_unanswered())
        };
        assert_eq!(sums(true, true), (true, true));
        assert_eq!(sums(true, false), (false, false));
        assert_eq!(sums(false, false), (true, false));
    }

    #[test]
    fn a_vehicle_that_was_not_heard_does_not_balance() {
        for change in [
            |book: &mut VehicleBook| book.n_unsaid = 1,
            |book: &mut VehicleBook| book.is_refused = true,
            |book: &mut VehicleBook| book.n_unconfirmed = 1,
        ] {
            let mut book = VehicleBook::new(true);
            change(&mut book);
            let mut books = Books::default();
            books.enter("v".to_owned(), book);
            assert!(!books.summary().is_balanced());
        }
    }

    #[test]
    fn a_whole_is_as_good_as_the_worst_of_its_parts() {
        let (one, two) = (found("v", 1, 1.0), found("v", 2, 1.0));
        let part = |positions: &[&PositionJson]| {
            let mut books = books();
            positions.iter().for_each(|found| books.note_found(found));
            books
        };
        let (whole, half) = (part(&[&one, &two]), part(&[&two, &two]));
        assert!(whole.clone().worst_of(&whole).summary().is_balanced());
        let sums = whole.clone().worst_of(&half).summary();
        assert_eq!((sums.stored, sums.lost, sums.doubled), (1, 1, 1));
        let sums = half.worst_of(&whole);
        assert_eq!(sums.summary().lost, 1);
        let faults = sums.faults(9);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].ends_with("lost") && faults[1].ends_with("doubled"));
        assert_eq!(sums.faults(1).len(), 1);
    }

    #[test]
    fn the_longest_silence_has_a_name() {
        let mut books = Books::default();
        for number in 0..200_u64 {
            let mut book = VehicleBook::new(true);
            book.note_silence(Duration::from_millis(number));
            book.note_silence(Duration::from_millis(number / 2));
            books.enter(format!("v{number}"), book);
        }
        let silences = books.silences();
        assert_eq!(silences.vehicle, "v199");
        assert_eq!(silences.max, Duration::from_millis(199));
        assert_eq!(silences.p99, Duration::from_millis(198));
    }

    #[test]
    fn an_answer_that_never_came_is_found() {
        let mut books = books();
        let mut book = VehicleBook::new(true);
        book.note_sent(UnixMillis(1), Fix::default());
        books.enter("w".to_owned(), book);
        assert_eq!(books.summary().unacknowledged, 1);
    }
}
