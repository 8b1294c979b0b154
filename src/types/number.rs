//! Fixed-point numbers: what devices send as decimals is kept as integers, so that equal readings
//! are equal bits on every machine and a record's key does not depend on rounding.

use std::fmt;

/// Degrees of latitude or longitude in units of 1e-7 (about a centimetre).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Degrees(i32);

/// A quantity in thousandths of its unit (km/h, degrees of course, metres, dilution).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Milli(i32);

impl Degrees {
    /// From units of 1e-7 degrees.
    pub const fn from_e7(units: i32) -> Self {
        Self(units)
    }

    /// Units of 1e-7 degrees.
    pub const fn as_e7(self) -> i32 {
        self.0
    }

    /// Nearest fixed-point value; `None` outside ±180 degrees or for a value that is no number.
    pub fn from_f64(degrees: f64) -> Option<Self> {
        let units = (degrees * 1e7).round();
        (units.abs() <= 1.8e9).then_some(Self(units as i32))
    }

    /// Degrees as a floating-point number, exact to the last unit.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e7
    }
}

impl Milli {
    /// From thousandths.
    pub const fn from_thousandths(thousandths: i32) -> Self {
        Self(thousandths)
    }

    /// Thousandths.
    pub const fn as_thousandths(self) -> i32 {
        self.0
    }

    /// Nearest fixed-point value; `None` if it does not fit or is no number.
    pub fn from_f64(value: f64) -> Option<Self> {
        let thousandths = (value * 1e3).round();
        (thousandths.abs() < 2_147_483_647.0).then_some(Self(thousandths as i32))
    }

    /// The quantity as a floating-point number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

impl fmt::Display for Degrees {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(formatter)
    }
}

impl fmt::Display for Milli {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(formatter)
    }
}

/// Billionths of one.
const BILLION: i64 = 1_000_000_000;

/// Billionths of a unit of the first decimal, of the second, and so on.
const WEIGHTS: [i64; 9] = [
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    100,
    10,
    1,
];

/// A decimal number read from text, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal(i64);

impl Decimal {
    /// Reads `[+-]digits[.digits]`; digits beyond the ninth decimal are dropped.
    ///
    /// `None` for anything else, and where the digits before the point do not fit 9 places.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (is_negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut rest = digits.iter();
        let (mut whole, mut fraction) = (0_i64, 0_i64);
        let mut has_point = false;
        for byte in rest.by_ref() {
            match byte {
                b'0'..=b'9' if whole < BILLION => whole = whole * 10 + i64::from(byte - b'0'),
                b'.' => {
                    has_point = true;
                    break;
                }
                _ => return None,
            }
        }
        let mut weights = WEIGHTS.iter();
        let mut weight = BILLION;
        for byte in rest {
            if !byte.is_ascii_digit() {
                return None;
            }
            if let Some(next) = weights.next() {
                fraction = fraction * 10 + i64::from(byte - b'0');
                weight = *next;
            }
        }
        if whole >= BILLION || digits.len() == usize::from(has_point) {
            return None;
        }
        let billionths = whole * BILLION + fraction * weight;
        Some(Self(if is_negative { -billionths } else { billionths }))
    }

    /// From billionths of one, of which there must be less than 1e18.
    pub const fn from_billionths(billionths: i64) -> Self {
        Self(billionths)
    }

    /// Billionths of one, less than 1e18 of them.
    pub const fn as_billionths(self) -> i64 {
        self.0
    }

    /// The number without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// Rounded to thousandths, half away from zero; `None` if that does not fit.
    pub fn to_milli(self) -> Option<Milli> {
        i32::try_from(rounded(self.0, 1_000_000)).ok().map(Milli)
    }

    /// Rounded to 1e-7 degrees, half away from zero; `None` if that does not fit.
    pub fn to_degrees(self) -> Option<Degrees> {
        i32::try_from(rounded(self.0, 100)).ok().map(Degrees)
    }
}

/// `billionths` in units of so many of them, rounded half away from zero.
const fn rounded(billionths: i64, unit: i64) -> i64 {
    let half = if billionths < 0 { -unit / 2 } else { unit / 2 };
    (billionths + half) / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_they_stand() {
        let cases: [(&str, Option<i64>); 20] = [
            ("0", Some(0)),
            ("42.5", Some(42_500)),
            ("-4.000", Some(-4_000)),
            ("+1.2345", Some(1_235)),
            ("-1.2345", Some(-1_235)),
            (".5", Some(500)),
            ("5.", Some(5_000)),
            ("265.000000", Some(265_000)),
            ("0.12345678901234", Some(123)),
            ("", None),
            (".", None),
            ("1e5", None),
            ("--1", None),
            ("99999999999", None),
            ("999999999.9990", Some(999_999_999_999)),
            ("1000000000", None),
            ("00000000000000000000000042", Some(42_000)),
            ("9999999990", None),
            ("1.5.2", None),
            ("0.1234567890x", None),
        ];
        for (text, expected) in cases {
            let read = Decimal::parse(text.as_bytes()).map(|decimal| rounded(decimal.0, 1_000_000));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn degrees_print_as_they_were_read() {
        let degrees = Decimal::parse(b"59.4372")
            .and_then(Decimal::to_degrees)
            .unwrap();
        assert_eq!(degrees.as_f64(), 59.4372);
        assert_eq!(Degrees::from_f64(59.4372), Some(degrees));
        assert_eq!(Degrees::from_f64(f64::NAN), None);
        assert_eq!(Degrees::from_f64(181.0), None);
    }

    #[test]
    fn a_quantity_that_does_not_fit_is_none() {
        assert_eq!(Milli::from_f64(f64::INFINITY), None);
        assert_eq!(
            Milli::from_f64(-170.9),
            Some(Milli::from_thousandths(-170_900))
        );
        assert_eq!(
            Decimal::parse(b"999999999").and_then(Decimal::to_milli),
            None
        );
    }
}
