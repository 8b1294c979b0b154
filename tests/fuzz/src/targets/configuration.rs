//! Configuration: any file and any variables give faults that can be shown, or settings that can be
//! written down and read again; and no password is ever shown.

use std::{cell::RefCell, fs, path::Path};

use tempfile::TempDir;
use waymesh::{
    cli::check_config::check_config,
    config::{AppConfig, Environment, Faults, Loaded, Overlay, Paint, Place, Sources, load},
    protocol::Registry,
};

/// The file's name, which errors show.
const FILE: &str = "waymesh.toml";

/// Shorter ones stand in other words by chance.
const PASSWORD_LETTERS_MIN: usize = 6;

thread_local! {
    /// Where the files are written.
    static FOLDER: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a folder"));
}

/// The input: a file, and behind a zero byte the variables, `NAME=VALUE` a line.
pub(crate) fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let file = parts.next().unwrap_or_default();
    let variables = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    // A file that is named there would be one of this machine.
    let variables = variables.filter(|(name, _)| *name != "WAYMESH_CONFIG");
    let environment: Environment = variables.collect();
    let _settings = check_file(file, environment, &String::from_utf8_lossy(input));
}

/// The settings of a file with these variables, if there is nothing wrong with them; `input` is all
/// that they were made of.
pub(crate) fn check_file(file: &[u8], environment: Environment, input: &str) -> Option<Loaded> {
    FOLDER.with_borrow(|folder| {
        let path = folder.path().join(FILE);
        fs::write(&path, file).expect("the folder can be written");
        match loaded(&path, environment.clone()) {
            Ok(loaded) => {
                check_settings(&path, environment, &loaded);
                Some(loaded)
            }
            Err(faults) => {
                check_faults(input, &faults);
                None
            }
        }
    })
}

fn loaded(path: &Path, environment: Environment) -> Result<Loaded, Faults> {
    let registry = Registry::built_in();
    let protocols: Vec<_> = registry.iter().map(|protocol| protocol.name()).collect();
    let protocols: Vec<&str> = protocols.iter().map(AsRef::as_ref).collect();
    load(&Sources {
        file: Some(path),
        environment,
        overlay: Overlay::default(),
        protocols: &protocols,
    })
}

/// `text` is the whole input: a password that stands in it twice may be shown for something else.
fn check_faults(text: &str, faults: &Faults) {
    assert!(faults.iter().count() > 0);
    for fault in faults.iter() {
        assert!(!fault.problem.is_empty() && !fault.remedy.is_empty());
        match &fault.place {
            Some(Place::File { source, span }) => {
                let part = source.text.get(span.clone());
                assert!(part.is_some(), "{fault:?}");
            }
            place => assert!(place.is_some(), "{fault:?}"),
        }
    }
    let shown = faults.render(Paint::Plain);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let coloured = faults.render(Paint::Coloured);
    for password in passwords_in(text) {
        let is_told_apart = text.matches(&password).count() == 1 && !FILE.contains(&password);
        if password.len() >= PASSWORD_LETTERS_MIN && is_told_apart {
            assert!(!shown.contains(&password), "{password:?} in\n{shown}");
            assert!(!coloured.contains(&password));
        }
    }
}

/// The passwords of a file, and of the variable that may hold some, as far as they are TOML; of a
/// file that is none, what stands in quotes behind the key.
fn passwords_in(text: &str) -> Vec<String> {
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let of_variables = variables
        .lines()
        .filter_map(|line| line.strip_prefix("WAYMESH_VEHICLE="))
        .map(|list| format!("vehicle = {list}"));
    let mut passwords: Vec<String> = file.lines().filter_map(quoted_password).collect();
    for text in of_variables.chain([file.to_owned()]) {
        let table: toml::Table = text.parse().unwrap_or_default();
        let vehicles = table.get("vehicle").and_then(toml::Value::as_array);
        for vehicle in vehicles.into_iter().flatten() {
            let password = vehicle.get("password").and_then(toml::Value::as_str);
            passwords.extend(password.map(str::to_owned));
        }
    }
    passwords
}

fn quoted_password(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (_, value) = value.split_once('"')?;
    let (value, _) = value.rsplit_once('"')?;
    let is_password = key.trim().trim_matches('"') == "password";
    is_password.then(|| value.to_owned())
}

fn check_settings(path: &Path, environment: Environment, loaded_first: &Loaded) {
    let effective = loaded_first.effective();
    let mut shown = Vec::new();
    let code = check_config(Some(path), environment, Paint::Plain, &mut shown);
    assert_eq!(code.expect("writing to memory succeeds"), 0);
    assert_eq!(
        String::from_utf8_lossy(&shown),
        format!("# ok\n{effective}")
    );

    let again_path = path.with_file_name("again.toml");
    // What stands for a password is refused.
    let with_passwords: String = effective
        .lines()
        .map(|line| match line {
            "password = \"(hidden)\"" => "password = \"put in again\"\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect();
    fs::write(&again_path, &with_passwords).expect("the folder can be written");
    let again = match loaded(&again_path, Environment::default()) {
        Ok(again) => again,
        Err(faults) => panic!("{faults}\nin\n{effective}"),
    };
    assert_eq!(without_passwords(&again), without_passwords(loaded_first));
    let effective_again = again.effective();
    for known in loaded_first.config.vehicles.by_id.values() {
        let password = known.password.as_deref().unwrap_or_default();
        let is_told = password.len() >= PASSWORD_LETTERS_MIN && effective.contains(password);
        assert!(
            !is_told || effective_again.contains(password),
            "{effective}"
        );
    }
}

fn without_passwords(loaded: &Loaded) -> AppConfig {
    let mut config = loaded.config.clone();
    for known in config.vehicles.by_id.values_mut() {
        known.password = known.password.take().map(|_| String::new());
    }
    config
}
