//! The lines of the benches: Wialon IPS 1.1, about 60 bytes, one fix a second from 2024 on.

use jiff::civil::Date;

/// Seconds of a day.
const DAY_SECONDS: u32 = 86_400;

/// Where the time of day begins in a line: after `#SD#DDMMYY;`.
const TIME_AT: usize = 11;

/// Where the decimals of the latitude's minutes begin.
const MINUTES_AT: usize = 23;

/// What a vehicle says next; each line differs from all before.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    text: [u8; 61],
    second: u32,
    date: Date,
}

impl Lines {
    /// The lines of a vehicle from the first one on.
    pub(super) fn new() -> Self {
        Self {
            text: *b"#SD#010124;000000;5926.2320;N;02445.2100;E;042;181;0034;009\r\n",
            second: 0,
            date: Date::constant(2024, 1, 1),
        }
    }

    /// Appends the next line.
    pub(super) fn next(&mut self, into: &mut Vec<u8>) {
        let (hours, minutes) = (self.second / 3_600, self.second / 60 % 60);
        let time = hours * 10_000 + minutes * 100 + self.second % 60;
        write_digits(self.text.get_mut(TIME_AT..TIME_AT + 6), time);
        write_digits(
            self.text.get_mut(MINUTES_AT..MINUTES_AT + 4),
            self.second % 10_000,
        );
        into.extend_from_slice(&self.text);
        self.second += 1;
        if self.second == DAY_SECONDS {
            self.second = 0;
            self.date = self.date.tomorrow().unwrap_or(self.date);
            let (day, month) = (self.date.day() as u32, self.date.month() as u32);
            let date = day * 10_000 + month * 100 + (self.date.year() as u32 % 100);
            write_digits(self.text.get_mut(4..10), date);
        }
    }

    /// What a vehicle says first; answered with `#AL#1`.
    pub(super) fn login(vehicle: &str) -> Vec<u8> {
        format!("#L#{vehicle};NA\r\n").into_bytes()
    }

    /// The name of a vehicle.
    pub(super) fn vehicle(number: usize) -> String {
        format!("bench{number:08}")
    }
}

fn write_digits(field: Option<&mut [u8]>, mut number: u32) {
    for byte in field.unwrap_or_default().iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_over_midnight() {
        let mut lines = Lines::new();
        let mut text = Vec::new();
        (0..DAY_SECONDS - 1).for_each(|_| lines.next(&mut text));
        text.clear();
        lines.next(&mut text);
        lines.next(&mut text);
        let text = String::from_utf8(text).unwrap();
        let expected = "#SD#010124;235959;5926.6399;N;02445.2100;E;042;181;0034;009\r\n\
                        #SD#020124;000000;5926.0000;N;02445.2100;E;042;181;0034;009\r\n";
        assert_eq!(text, expected);
    }
}
