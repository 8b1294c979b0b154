//! Writes the settings that hold, as a file that sets them all; passwords are hidden, and what stands
//! in their place is refused when the file is read.
//!
//! Each line says where its value came from, so that a value that surprises is found.

use std::{fmt::Write as _, time::Duration};

use crate::ingest::ListenerConfig;

use super::{
    Loaded,
    own_protocol::ProtocolDraft,
    schema::{KEYS, Key, LISTENER_KEYS, ListenerDraft, PROTOCOL_KEYS, VEHICLE_KEYS, VehicleDraft},
    settings::AppConfig,
};

impl Loaded {
    /// The settings that hold, as TOML.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (home, word) = key.name.split_once('.').unwrap_or(("", key.name));
            if home != section {
                section = home;
                push_line(&mut text, format_args!("\n[{section}]"));
            }
            self.push_key(&mut text, key, word);
        }
        for listener in &self.config.ingest.listeners {
            push_table(&mut text, "listener", LISTENER_KEYS, &draft_of(listener));
        }
        for protocol in &self.config.protocols {
            let draft = ProtocolDraft::of(protocol.spec());
            push_table(&mut text, "protocol", PROTOCOL_KEYS, &draft);
        }
        for (id, known) in &self.config.vehicles.by_id {
            let draft = VehicleDraft {
                id: Some(id.clone()),
                name: known.name.clone(),
                password: known.password.clone(),
            };
            push_table(&mut text, "vehicle", VEHICLE_KEYS, &draft);
        }
        text
    }

    fn push_key(&self, text: &mut String, key: &Key<AppConfig>, word: &str) {
        let Some(value) = (key.show)(&self.config) else {
            return push_line(text, format_args!("# {word} is not set"));
        };
        match self.places.get(key.name) {
            Some(place) => push_line(text, format_args!("{word} = {value} # {place}")),
            None => push_line(text, format_args!("{word} = {value} # default")),
        }
    }
}

fn draft_of(listener: &ListenerConfig) -> ListenerDraft {
    ListenerDraft {
        address: Some(listener.address),
        protocol: listener.protocol.clone(),
        reply: Some(listener.reply),
        idle_timeout: Some(listener.idle_timeout.unwrap_or(Duration::ZERO)),
    }
}

fn push_table<T>(text: &mut String, word: &str, keys: &[Key<T>], values: &T) {
    push_line(text, format_args!("\n[[{word}]]"));
    for key in keys {
        if let Some(value) = (key.show)(values) {
            push_line(text, format_args!("{} = {}", key.name, in_one_line(&value)));
        }
    }
}

/// A value in one line, also where a text holds line ends.
fn in_one_line(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) if text.contains(char::is_control) => {
            let escaped: String = text.chars().map(escaped).collect();
            format!("\"{escaped}\"")
        }
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(in_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        toml::Value::Table(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let key = toml::Value::String(key.clone());
                format!("{key} = {}", in_one_line(value))
            });
            let entries: Vec<String> = entries.collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// A letter as it stands in double quotes.
fn escaped(letter: char) -> String {
    match letter {
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '"' | '\\' => format!("\\{letter}"),
        letter if letter.is_control() => format!("\\u{:04X}", u32::from(letter)),
        letter => letter.into(),
    }
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string succeeds");
}
