//! The layers above the file: environment and flags.
//!
//! Every key of the file is a variable too: `WAYMESH_SECTION__KEY`, at the top level
//! `WAYMESH_KEY`; `WAYMESH_LISTENER`, `WAYMESH_VEHICLE` and `WAYMESH_PROTOCOL` take a list of inline
//! tables. A variable with this beginning that is no key is a fault, since a setting that is
//! silently not taken costs more than a start that is refused. Those are passed over that Kubernetes
//! gives to each container for a service called `waymesh`.

use std::{collections::BTreeMap, ffi::OsString, fmt, path::PathBuf};

use toml::de::DeValue;

use super::{
    fault::{Fault, Place},
    nearest::nearest,
    raw::{LISTENER, PROTOCOL, RawConfig, VEHICLE},
    schema::{Form, KEYS},
    value::Found,
};

/// How every variable begins.
const PREFIX: &str = "WAYMESH_";
/// The variable of the flag `--config`.
const CONFIG: &str = "WAYMESH_CONFIG";

/// The variables that begin with `WAYMESH_`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        std::env::vars_os().filter_map(named).collect()
    }

    /// The file that the environment names.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        self.0.get(CONFIG).map(PathBuf::from)
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        let named = variables.map(|(name, value)| (name.into(), value.into()));
        Self(named.filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }
}

impl fmt::Debug for Environment {
    /// Names alone: values may be passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// What the command line says; absent where the flag was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// `--name`
    pub name: Option<String>,
    /// `--cluster`
    pub cluster: Option<String>,
    /// `--secret-file`
    pub secret_file: Option<String>,
    /// `--vehicles`
    pub vehicles: Option<String>,
    /// `--link`
    pub link: Option<String>,
    /// `--http`
    pub http: Option<String>,
    /// `--data`
    pub data: Option<String>,
    /// `--log-format`
    pub log_format: Option<String>,
    /// `--log`
    pub log: Option<String>,
}

impl RawConfig {
    /// Lays the environment over what there is.
    pub(super) fn apply_environment(&mut self, environment: &Environment) {
        for (variable, value) in &environment.0 {
            if variable == CONFIG || is_of_kubernetes(variable) {
                continue;
            }
            let place = Place::Environment(variable.clone());
            let (Some(name), Some(text)) = (key_of(variable), value.to_str()) else {
                self.faults.push(refused_variable(variable, place));
                continue;
            };
            match found_in(text, form_of(name)) {
                Err(problem) => self.faults.push(Fault {
                    key: name.to_owned(),
                    problem,
                    remedy: "write a TOML value".into(),
                    place: Some(place),
                }),
                Ok(value) if matches!(name, LISTENER | VEHICLE | PROTOCOL) => {
                    self.apply_tables(name, &value, &|_| place.clone());
                }
                Ok(value) => self.apply_value(name, &value, &|_| place.clone(), 0..0),
            }
        }
    }

    /// Lays the flags over what there is.
    pub(super) fn apply_overlay(&mut self, overlay: &Overlay) {
        let flags = [
            ("--name", "name", &overlay.name),
            ("--cluster", "cluster", &overlay.cluster),
            ("--secret-file", "secret_file", &overlay.secret_file),
            ("--vehicles", "vehicles", &overlay.vehicles),
            ("--link", "link", &overlay.link),
            ("--http", "http", &overlay.http),
            ("--data", "data", &overlay.data),
            ("--log-format", "log_format", &overlay.log_format),
            ("--log", "log", &overlay.log),
        ];
        for (flag, name, text) in flags {
            if let Some(text) = text {
                let value = plain(text);
                self.apply_value(name, &value, &|_| Place::Flag(flag), 0..0);
            }
        }
    }
}

/// The variable of a key.
pub(super) fn variable_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('.', "__").to_uppercase())
}

fn key_of(variable: &str) -> Option<&'static str> {
    names().find(|name| variable_of(name) == variable)
}

/// Whether the variable is one of those for a service of our name: where it is found, for
/// programs that read such variables. No key has a name like that, and a test holds it.
fn is_of_kubernetes(variable: &str) -> bool {
    let Some(rest) = variable.strip_prefix(PREFIX) else {
        return false;
    };
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

fn names() -> impl Iterator<Item = &'static str> {
    let tables = [LISTENER, VEHICLE, PROTOCOL];
    KEYS.iter().map(|key| key.name).chain(tables)
}

fn form_of(name: &str) -> Form {
    let key = KEYS.iter().find(|key| key.name == name);
    key.map_or(Form::List, |key| key.form)
}

fn refused_variable(variable: &str, place: Place) -> Fault {
    if let Some(name) = key_of(variable) {
        return Fault {
            key: name.to_owned(),
            problem: "its value is not UTF-8".into(),
            remedy: "write it as UTF-8".into(),
            place: Some(place),
        };
    }
    let known: Vec<String> = names().map(variable_of).collect();
    let remedy = match nearest(variable, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {meant}? Else take it out of the environment"),
        None => "take it out of the environment; `waymesh check-config` shows all keys".into(),
    };
    Fault {
        key: variable.to_owned(),
        problem: "no key has this variable".into(),
        remedy,
        place: Some(place),
    }
}

/// The value that a plain text means.
fn found_in(text: &str, form: Form) -> Result<Found<'_>, String> {
    let parsed = || DeValue::parse(text);
    match form {
        Form::Text if !text.starts_with(['"', '\'']) => Ok(plain(text)),
        Form::Text | Form::Value => Ok(parsed().unwrap_or_else(|_| plain(text))),
        Form::List if text.trim_start().starts_with('[') => {
            parsed().map_err(|error| error.message().replace('\n', "; "))
        }
        Form::List => {
            let parts = text.split(',').map(str::trim);
            let parts = parts.filter(|part| !part.is_empty()).map(plain);
            let list: Vec<Found<'_>> = parts.collect();
            Ok(Found::new(0..0, DeValue::Array(list.into_iter().collect())))
        }
    }
}

fn plain(text: &str) -> Found<'_> {
    Found::new(0..0, DeValue::String(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_the_key_in_capitals_with_two_strokes_for_the_dot() {
        assert_eq!(variable_of("secret_file"), "WAYMESH_SECRET_FILE");
        assert_eq!(variable_of("discovery.port"), "WAYMESH_DISCOVERY__PORT");
        assert_eq!(key_of("WAYMESH_DISCOVERY__PORT"), Some("discovery.port"));
        assert_eq!(key_of("WAYMESH_DISCOVERY_PORT"), None);
    }

    #[test]
    fn no_key_is_taken_for_a_variable_of_kubernetes() {
        for name in names() {
            assert!(!is_of_kubernetes(&variable_of(name)), "{name}");
        }
    }

    #[test]
    fn an_environment_shows_names_and_no_values() {
        let environment: Environment = [("WAYMESH_VEHICLE", "secret"), ("HOME", "x")]
            .into_iter()
            .collect();
        assert_eq!(format!("{environment:?}"), "{\"WAYMESH_VEHICLE\"}");
    }
}
