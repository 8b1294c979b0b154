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

/// A decimal number read from text: `mantissa / 10^decimals`, at most nine decimals kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// All digits as one integer, with the sign.
    pub mantissa: i64,
    /// How many of the digits stand behind the point, 0 to 9.
    pub decimals: u32,
}

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
        let (mut mantissa, mut decimals, mut n_digits) = (0_i64, 0_u32, 0_u32);
        let mut has_point = false;
        for byte in digits {
            match byte {
                b'0'..=b'9' if has_point && decimals == 9 => n_digits += 1,
                b'0'..=b'9' => {
                    mantissa = mantissa
                        .checked_mul(10)?
                        .checked_add(i64::from(byte - b'0'))?;
                    decimals += u32::from(has_point);
                    n_digits += 1;
                }
                b'.' if !has_point => has_point = true,
                _ => return None,
            }
        }
        let fits = mantissa / 10_i64.pow(decimals) < 1_000_000_000;
        let mantissa = if is_negative { -mantissa } else { mantissa };
        (n_digits > 0 && fits).then_some(Self { mantissa, decimals })
    }

    /// The number times `10^digits`, rounded half away from zero.
    pub fn scaled(self, digits: u32) -> i64 {
        if self.decimals <= digits {
            return self
                .mantissa
                .saturating_mul(10_i64.pow((digits - self.decimals).min(18)));
        }
        let divisor = 10_i64.pow((self.decimals - digits).min(18));
        let half = if self.mantissa < 0 {
            -divisor / 2
        } else {
            divisor / 2
        };
        self.mantissa.saturating_add(half) / divisor
    }

    /// Rounded to thousandths; `None` if that does not fit.
    pub fn to_milli(self) -> Option<Milli> {
        i32::try_from(self.scaled(3)).ok().map(Milli)
    }

    /// Rounded to 1e-7 degrees; `None` if that does not fit.
    pub fn to_degrees(self) -> Option<Degrees> {
        i32::try_from(self.scaled(7)).ok().map(Degrees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_they_stand() {
        let cases: [(&str, Option<i64>); 14] = [
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
        ];
        for (text, expected) in cases {
            let read = Decimal::parse(text.as_bytes()).map(|decimal| decimal.scaled(3));
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
