//! The movement of one vehicle, second by second.

use waymesh::{
    base::prng::Prng,
    types::{
        number::{Degrees, Milli},
        record::Fix,
    },
};

/// Metres of a degree of latitude.
pub(super) const METRES_PER_DEGREE: f64 = 111_195.0;

/// Fastest a vehicle drives, in m/s.
const SPEED_MAX: f64 = 36.0;

/// Strongest acceleration and braking, in m/s².
const ACCELERATION_MAX: f64 = 2.0;

/// Fastest turn, in degrees a second.
const TURN_MAX: f64 = 12.0;

/// A vehicle on its way.
#[derive(Debug, Clone)]
pub(super) struct Drive {
    prng: Prng,
    latitude: f64,
    longitude: f64,
    altitude_m: f64,
    heading_deg: f64,
    /// What is left of a turn, in degrees.
    turn_deg: f64,
    speed: f64,
    /// The speed it is getting to, in m/s; 0 while it stops.
    goal: f64,
    /// Seconds until it changes its mind.
    n_seconds_left: u32,
}

impl Drive {
    /// A vehicle somewhere within a few dozen kilometres of the same town.
    pub(super) fn new(mut prng: Prng) -> Self {
        Self {
            latitude: 59.43 + prng.between(-0.4, 0.4),
            longitude: 24.75 + prng.between(-0.8, 0.8),
            altitude_m: prng.between(2.0, 90.0),
            heading_deg: prng.between(0.0, 360.0),
            turn_deg: 0.0,
            speed: 0.0,
            goal: prng.between(8.0, 25.0),
            n_seconds_left: 20,
            prng,
        }
    }

    /// Drives on for a second.
    pub(super) fn second(&mut self) {
        self.n_seconds_left = self.n_seconds_left.saturating_sub(1);
        if self.n_seconds_left == 0 {
            self.decide();
        }
        let change = (self.goal - self.speed).clamp(-ACCELERATION_MAX, ACCELERATION_MAX);
        self.speed = (self.speed + change).clamp(0.0, SPEED_MAX);
        if self.speed > 1.0 {
            let turn = self.turn_deg.clamp(-TURN_MAX, TURN_MAX);
            self.turn_deg -= turn;
            self.heading_deg = (self.heading_deg + turn).rem_euclid(360.0);
        }
        let heading = self.heading_deg.to_radians();
        let degrees = self.speed / METRES_PER_DEGREE;
        self.latitude += degrees * heading.cos();
        self.longitude += degrees * heading.sin() / self.latitude.to_radians().cos();
        self.altitude_m = (self.altitude_m + self.prng.between(-0.3, 0.3)).clamp(0.0, 300.0);
    }

    fn decide(&mut self) {
        let is_stop = self.prng.chance(20.0);
        self.goal = if is_stop {
            0.0
        } else {
            self.prng.between(5.0, SPEED_MAX)
        };
        self.n_seconds_left = 10 + u32::try_from(self.prng.below(60)).unwrap_or(0);
        if self.prng.chance(60.0) {
            self.turn_deg = self.prng.between(-110.0, 110.0);
        }
    }

    /// What its receiver shows now.
    pub(super) fn fix(&mut self) -> Fix {
        let thousandths = |value: f64| Milli::from_f64(value);
        Fix {
            latitude: Degrees::from_f64(self.latitude).unwrap_or_default(),
            longitude: Degrees::from_f64(self.longitude).unwrap_or_default(),
            valid: true,
            speed_kmh: thousandths(round(self.speed * 3.6, 10.0)),
            course_deg: thousandths(round(self.heading_deg, 10.0).rem_euclid(360.0)),
            altitude_m: thousandths(round(self.altitude_m, 10.0)),
            satellites: u8::try_from(5 + self.prng.below(9)).ok(),
            hdop: None,
        }
    }
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_moves_as_fast_as_it_says_and_where_it_heads() {
        let mut drive = Drive::new(Prng::new(4));
        let (mut n_stopped, mut n_turning) = (0, 0);
        for _ in 0..20_000 {
            let before = drive.clone();
            drive.second();
            let north = (drive.latitude - before.latitude) * METRES_PER_DEGREE;
            let east = (drive.longitude - before.longitude)
                * METRES_PER_DEGREE
                * drive.latitude.to_radians().cos();
            let metres = north.hypot(east);
            assert!(
                (metres - drive.speed).abs() < 0.1,
                "{metres} m at {} m/s",
                drive.speed
            );
            assert!((drive.speed - before.speed).abs() <= ACCELERATION_MAX + 1e-9);
            let fix = drive.fix();
            assert!((0.0..360.0).contains(&fix.course_deg.unwrap().as_f64()));
            n_stopped += u32::from(drive.speed == 0.0);
            n_turning += u32::from(drive.heading_deg != before.heading_deg);
        }
        assert!(
            n_stopped > 500 && n_turning > 500,
            "{n_stopped} {n_turning}"
        );
    }
}
