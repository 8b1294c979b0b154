//! Asks the list of known vehicles on behalf of a decoder, which knows only the question.

use crate::{
    protocol::{Admission, Admittance},
    vehicles::{KnownVehicles, Standing},
};

impl Admission for KnownVehicles {
    fn admit(&self, vehicle: &str, password: Option<&str>) -> Admittance {
        match self.standing(vehicle, password) {
            Standing::Welcome => Admittance::Welcome,
            Standing::Unknown => Admittance::Unknown,
            Standing::WrongPassword => Admittance::WrongPassword,
        }
    }
}
