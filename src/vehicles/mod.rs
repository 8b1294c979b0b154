//! Known vehicles: the list of the configuration and whether others may speak.
//!
//! Pure: a question in, an answer out. This room must not know how a vehicle speaks.

use std::{collections::BTreeMap, fmt};

/// A vehicle of the configuration.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KnownVehicle {
    /// A name for people.
    pub name: Option<String>,
    /// What the device must give where its protocol has a password; absent: any will do.
    pub password: Option<String>,
}

impl fmt::Debug for KnownVehicle {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_password = self.password.is_some();
        let mut shown = formatter.debug_struct("KnownVehicle");
        shown
            .field("name", &self.name)
            .field("has_password", &has_password)
            .finish()
    }
}

/// The vehicles a node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownVehicles {
    /// By the id that the device gives.
    pub by_id: BTreeMap<String, KnownVehicle>,
    /// Whether vehicles that are not in the list may speak.
    pub accepts_unknown: bool,
}

/// Whether a vehicle may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Welcome,
    /// It is not in the list, and others may not speak.
    Unknown,
    /// It is in the list with another password.
    WrongPassword,
}

impl Default for KnownVehicles {
    /// Nobody is known and everybody may speak.
    fn default() -> Self {
        Self {
            by_id: BTreeMap::new(),
            accepts_unknown: true,
        }
    }
}

impl KnownVehicles {
    /// Whether `vehicle` may speak with `password`; absent where its protocol has none to give.
    ///
    /// A protocol that has passwords gives the empty text where the device left it out.
    pub fn standing(&self, vehicle: &str, password: Option<&str>) -> Standing {
        let Some(known) = self.by_id.get(vehicle) else {
            return if self.accepts_unknown {
                Standing::Welcome
            } else {
                Standing::Unknown
            };
        };
        match (&known.password, password) {
            (Some(expected), Some(given)) if !is_equal(expected.as_bytes(), given.as_bytes()) => {
                Standing::WrongPassword
            }
            _ => Standing::Welcome,
        }
    }
}

/// Compares without telling by its time where the texts differ.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let difference = one
        .iter()
        .zip(other)
        .fold(0, |sum, (left, right)| sum | (left ^ right));
    one.len() == other.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(accepts_unknown: bool) -> KnownVehicles {
        let locked = KnownVehicle {
            password: Some("secret".into()),
            ..KnownVehicle::default()
        };
        let by_id = [
            ("locked".into(), locked),
            ("open".into(), KnownVehicle::default()),
        ];
        KnownVehicles {
            by_id: by_id.into(),
            accepts_unknown,
        }
    }

    #[test]
    fn a_password_counts_where_one_is_set_and_can_be_given() {
        let known = known(false);
        assert_eq!(known.standing("locked", Some("secret")), Standing::Welcome);
        assert_eq!(
            known.standing("locked", Some("secre")),
            Standing::WrongPassword
        );
        assert_eq!(known.standing("locked", Some("")), Standing::WrongPassword);
        assert_eq!(known.standing("locked", None), Standing::Welcome);
        assert_eq!(known.standing("open", Some("anything")), Standing::Welcome);
    }

    #[test]
    fn strangers_speak_only_where_they_are_accepted() {
        assert_eq!(known(false).standing("stranger", None), Standing::Unknown);
        assert_eq!(
            known(true).standing("stranger", Some("x")),
            Standing::Welcome
        );
    }
}
