//! Sentences that enrich the RMC of their time stamp: GGA, GSA, VTG.

use super::{sentence::Fields, values};
use crate::types::{number::Milli, record::Fix};

/// Where the horizontal dilution stands after mode, kind of fix, 12 satellites and the first dilution.
const GSA_HDOP_IDX: usize = 15;

/// What other sentences say about the fix of an RMC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extras {
    satellites: Option<u8>,
    altitude_m: Option<Milli>,
    hdop_of_gga: Option<Milli>,
    hdop_of_gsa: Option<Milli>,
    speed_kmh: Option<Milli>,
    course_deg: Option<Milli>,
}

impl Extras {
    /// Reads a GGA; `None` without a fix.
    pub(super) fn of_gga(fields: &Fields<'_>) -> Option<Self> {
        if matches!(fields.at(5), b"" | b"0") {
            return None;
        }
        let satellites = std::str::from_utf8(fields.at(6)).ok();
        Some(Self {
            satellites: satellites.and_then(|text| text.parse().ok()),
            hdop_of_gga: dilution(fields.at(7)),
            altitude_m: values::quantity(fields.at(8)),
            ..Self::default()
        })
    }

    /// Reads a GSA; `None` without a fix.
    pub(super) fn of_gsa(fields: &Fields<'_>) -> Option<Self> {
        if !matches!(fields.at(1), b"2" | b"3") {
            return None;
        }
        let idx = match fields.len() {
            // A system number may stand at the end of the usual 12 satellites and 3 dilutions.
            0..=18 => GSA_HDOP_IDX,
            longer => longer - 2,
        };
        Some(Self {
            hdop_of_gsa: dilution(fields.at(idx)),
            ..Self::default()
        })
    }

    /// Reads a VTG; `None` if it holds neither speed nor course.
    pub(super) fn of_vtg(fields: &Fields<'_>) -> Option<Self> {
        let labelled =
            |idx: usize, unit: &[u8]| Some(fields.at(idx)).filter(|_| fields.at(idx + 1) == unit);
        if fields.at(8) == b"N" {
            return None;
        }
        let knots = labelled(4, b"N").and_then(values::speed_of_knots);
        let kmh = || labelled(6, b"K").and_then(values::speed_of_kmh);
        let extras = Self {
            speed_kmh: knots.or_else(kmh),
            course_deg: labelled(0, b"T").and_then(values::course),
            ..Self::default()
        };
        (extras != Self::default()).then_some(extras)
    }

    /// Adds what another sentence of the same time stamp says; the first to say a thing is right.
    pub(super) fn add(&mut self, other: Self) {
        *self = Self {
            satellites: self.satellites.or(other.satellites),
            altitude_m: self.altitude_m.or(other.altitude_m),
            hdop_of_gga: self.hdop_of_gga.or(other.hdop_of_gga),
            hdop_of_gsa: self.hdop_of_gsa.or(other.hdop_of_gsa),
            speed_kmh: self.speed_kmh.or(other.speed_kmh),
            course_deg: self.course_deg.or(other.course_deg),
        };
    }

    /// `fix` with what it does not say itself.
    #[inline]
    pub(super) fn complete(&self, fix: Fix) -> Fix {
        Fix {
            satellites: fix.satellites.or(self.satellites),
            altitude_m: fix.altitude_m.or(self.altitude_m),
            hdop: fix.hdop.or(self.hdop_of_gga).or(self.hdop_of_gsa),
            speed_kmh: fix.speed_kmh.or(self.speed_kmh),
            course_deg: fix.course_deg.or(self.course_deg),
            ..fix
        }
    }
}

fn dilution(field: &[u8]) -> Option<Milli> {
    values::quantity(field).filter(|hdop| hdop.as_thousandths() >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields<'_> {
        Fields::split(text.as_bytes())
    }

    fn milli(thousandths: i32) -> Option<Milli> {
        Some(Milli::from_thousandths(thousandths))
    }

    #[test]
    fn a_gga_gives_satellites_dilution_and_altitude() {
        let gga = fields("081500,5926.232,N,02445.210,E,1,05,1.8,-38.4,M,17.4,M,,");
        let fix = Extras::of_gga(&gga).unwrap().complete(Fix::default());
        assert_eq!(fix.satellites, Some(5));
        assert_eq!(fix.hdop, milli(1_800));
        assert_eq!(fix.altitude_m, milli(-38_400));
        assert_eq!(
            Extras::of_gga(&fields("081500.00,,,,,0,02,12.3,,,,,,")),
            None
        );
    }

    #[test]
    fn a_gsa_gives_the_dilution_wherever_its_list_of_satellites_ends() {
        let hdop = |text: &str| {
            let extras = Extras::of_gsa(&fields(text));
            extras.and_then(|extras| extras.complete(Fix::default()).hdop)
        };
        assert_eq!(hdop("A,3,02,07,19,30,,,,,,,,,2.7,2.2,1.5"), milli(2_200));
        assert_eq!(hdop("A,3,02,07,19,30,,,,,,,,,2.7,2.2,1.5,1"), milli(2_200));
        let glonass = "A,3,68,71,80,81,,,,,,,,,,,,,,,,,,,,,08.9,07.2,05.1";
        assert_eq!(hdop(glonass), milli(7_200));
        assert_eq!(hdop("A,1,,,,,,,,,,,,,99.99,99.99,99.99"), None);
        assert_eq!(hdop("A,1,,,,"), None);
    }

    #[test]
    fn a_vtg_gives_speed_and_course_only_with_their_units() {
        let given = |text: &str| {
            let extras = Extras::of_vtg(&fields(text))?;
            let fix = extras.complete(Fix::default());
            Some((fix.speed_kmh, fix.course_deg))
        };
        let both = Some((milli(10_186), milli(54_700)));
        assert_eq!(given("054.7,T,034.4,M,005.5,N,010.2,K"), both);
        assert_eq!(given(",T,,M,,N,0.075,K,D"), Some((milli(75), None)));
        assert_eq!(given(",,,,,,,,N"), None);
        assert_eq!(given("054.7,034.4,005.5,010.2"), None);
    }

    #[test]
    fn what_the_fix_says_itself_stays() {
        let mut extras = Extras::of_vtg(&fields("054.7,T,,M,005.5,N,010.2,K")).unwrap();
        extras.add(Extras::of_vtg(&fields("154.7,T,,M,105.5,N,110.2,K")).unwrap());
        let fix = extras.complete(Fix {
            course_deg: milli(1),
            ..Fix::default()
        });
        assert_eq!((fix.speed_kmh, fix.course_deg), (milli(10_186), milli(1)));
    }
}
