//! The first stage: values from file, environment and command line, laid over each other.
//!
//! Layers are applied from the weakest to the strongest, each value into its typed field, with a
//! note of its place. A value that is wrong is a fault even where a stronger layer covers it. The
//! tables are walked by hand, since serde would stop at the first fault. Nothing here compares
//! one key with another: that is [`super::check`].

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::{
    fault::{Fault, Place, SourceText},
    nearest::nearest,
    own_protocol::ProtocolDraft,
    schema::{KEYS, Key, LISTENER_KEYS, ListenerDraft, PROTOCOL_KEYS, VEHICLE_KEYS, VehicleDraft},
    settings::AppConfig,
    value::Found,
};

/// The tables of which there may be several.
pub(super) const LISTENER: &str = "listener";
/// See [`LISTENER`].
pub(super) const VEHICLE: &str = "vehicle";
/// See [`LISTENER`].
pub(super) const PROTOCOL: &str = "protocol";

/// The values that were found, and what is wrong with them one by one.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    /// Defaults, with what was set laid over them.
    pub(super) config: AppConfig,
    /// Where keys were set last.
    pub(super) places: BTreeMap<&'static str, Place>,
    /// The `[[listener]]` tables.
    pub(super) listeners: Vec<Item<ListenerDraft>>,
    /// The `[[vehicle]]` tables.
    pub(super) vehicles: Vec<Item<VehicleDraft>>,
    /// The `[[protocol]]` tables.
    pub(super) protocols: Vec<Item<ProtocolDraft>>,
    /// What is wrong so far.
    pub(super) faults: Vec<Fault>,
}

/// One table of several.
#[derive(Debug, Clone)]
pub(super) struct Item<T> {
    pub(super) values: T,
    /// Where it begins.
    pub(super) place: Place,
    /// Where its keys were set.
    pub(super) places: BTreeMap<&'static str, Place>,
}

impl RawConfig {
    /// Lays a file over what there is.
    pub(super) fn apply_file(&mut self, source: &Arc<SourceText>) {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let place_at = |span: Range<usize>| Place::File {
            source: Arc::clone(source),
            span,
        };
        if !errors.is_empty() {
            // A table that was recovered from a broken text holds faults that nobody made.
            self.faults.extend(errors.iter().map(|error| Fault {
                key: String::new(),
                problem: error.message().replace('\n', "; "),
                remedy: "write it as TOML: `key = value`, texts in quotes".into(),
                place: Some(place_at(error.span().unwrap_or(0..0))),
            }));
            return;
        }
        for (key, value) in table.get_ref() {
            let (word, span) = (key.get_ref().as_ref(), key.span());
            if matches!(word, LISTENER | VEHICLE | PROTOCOL) {
                self.apply_tables(word, value, &place_at);
            } else if section_names().any(|section| section == word) {
                self.apply_section(word, value, &place_at);
            } else {
                self.apply_value(word, value, &place_at, span);
            }
        }
    }

    /// Lays one value over what there is; `span` is where its key stands.
    pub(super) fn apply_value(
        &mut self,
        name: &str,
        value: &Found<'_>,
        place_at: &impl Fn(Range<usize>) -> Place,
        span: Range<usize>,
    ) {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            self.faults.push(unknown_key(name, place_at(span)));
            return;
        };
        match apply(&mut self.config, key, value, place_at) {
            Ok(place) => {
                self.places.insert(key.name, place);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    fn apply_section(
        &mut self,
        section: &str,
        value: &Found<'_>,
        place_at: &impl Fn(Range<usize>) -> Place,
    ) {
        let Some(table) = value.get_ref().as_table() else {
            self.faults.push(Fault {
                key: section.to_owned(),
                problem: "is a section, not a key".into(),
                remedy: format!("write its keys below a line [{section}]"),
                place: Some(place_at(value.span())),
            });
            return;
        };
        for (key, value) in table {
            let name = format!("{section}.{}", key.get_ref());
            self.apply_value(&name, value, place_at, key.span());
        }
    }

    /// Replaces the tables of one kind, of which there may be several, by those of a list.
    pub(super) fn apply_tables(
        &mut self,
        word: &str,
        value: &Found<'_>,
        place_at: &impl Fn(Range<usize>) -> Place,
    ) {
        let around = (place_at, &mut self.faults);
        match word {
            LISTENER => self.listeners = items(word, LISTENER_KEYS, value, around),
            PROTOCOL => self.protocols = items(word, PROTOCOL_KEYS, value, around),
            _ => self.vehicles = items(word, VEHICLE_KEYS, value, around),
        }
    }
}

/// The sections, each once, in the order of the schema.
pub(super) fn section_names() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let (section, _) = key.name.split_once('.')?;
        (section != std::mem::replace(&mut last, section)).then_some(section)
    })
}

fn items<T: Default + 'static>(
    word: &str,
    keys: &'static [Key<T>],
    value: &Found<'_>,
    (place_at, faults): (&impl Fn(Range<usize>) -> Place, &mut Vec<Fault>),
) -> Vec<Item<T>> {
    let tables = value.get_ref().as_array();
    let Some(tables) = tables.filter(|list| list.iter().all(|one| one.get_ref().is_table())) else {
        faults.push(Fault {
            key: word.to_owned(),
            problem: "is a list of tables".into(),
            remedy: format!("write its keys below a line [[{word}]], once for each"),
            place: Some(place_at(value.span())),
        });
        return Vec::new();
    };
    let tables = tables.iter().map(|table| {
        let mut item = Item {
            values: T::default(),
            place: place_at(table.span()),
            places: BTreeMap::new(),
        };
        if let DeValue::Table(entries) = table.get_ref() {
            fill(&mut item, (word, keys), entries, (place_at, faults));
        }
        item
    });
    tables.collect()
}

fn fill<T>(
    item: &mut Item<T>,
    (word, keys): (&str, &'static [Key<T>]),
    entries: &DeTable<'_>,
    (place_at, faults): (&impl Fn(Range<usize>) -> Place, &mut Vec<Fault>),
) {
    for (name, value) in entries {
        let known = keys.iter().find(|key| key.name == name.get_ref());
        let applied = match known {
            Some(key) => {
                // A value that is refused was given nevertheless: it is not missing.
                item.places.insert(key.name, place_at(value.span()));
                apply(&mut item.values, key, value, place_at).map(|_| ())
            }
            None => Err(Fault {
                key: name.get_ref().to_string(),
                problem: "unknown key".into(),
                remedy: remedy_among(name.get_ref(), keys.iter().map(|key| key.name)),
                place: Some(place_at(name.span())),
            }),
        };
        if let Err(fault) = applied {
            faults.push(Fault {
                key: format!("{word}.{}", fault.key),
                ..fault
            });
        }
    }
}

fn apply<T>(
    target: &mut T,
    key: &Key<T>,
    value: &Found<'_>,
    place_at: &impl Fn(Range<usize>) -> Place,
) -> Result<Place, Fault> {
    match (key.set)(target, value) {
        Ok(()) => Ok(place_at(value.span())),
        Err(complaint) => Err(Fault {
            key: key.name.to_owned(),
            problem: complaint.problem,
            remedy: format!("give {}", key.takes),
            place: Some(place_at(complaint.part.unwrap_or_else(|| value.span()))),
        }),
    }
}

fn unknown_key(name: &str, place: Place) -> Fault {
    Fault {
        key: name.to_owned(),
        problem: "unknown key".into(),
        remedy: unknown_key_remedy(name),
        place: Some(place),
    }
}

fn unknown_key_remedy(name: &str) -> String {
    let (section, word) = name.split_once('.').unwrap_or(("", name));
    let split = |key: &Key<AppConfig>| key.name.split_once('.').unwrap_or(("", key.name));
    let elsewhere = KEYS.iter().map(split).find(|(_, last)| *last == word);
    match elsewhere {
        Some(("", _)) => {
            return format!("`{word}` belongs to the top, before the first [section]");
        }
        Some((home, _)) => return format!("`{word}` belongs to the section [{home}]"),
        None => {}
    }
    let tables = [LISTENER, VEHICLE, PROTOCOL];
    if section.is_empty() {
        let candidates = KEYS.iter().map(|key| key.name).chain(tables);
        let candidates = candidates.chain(section_names());
        if let Some(meant) = nearest(word, candidates) {
            return format!("did you mean `{meant}`?");
        }
    }
    let here = KEYS.iter().map(split).filter(|(home, _)| *home == section);
    remedy_among(word, here.map(|(_, last)| last))
}

/// Proposes the nearest word, or lists them all.
fn remedy_among<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("take it out; known here: {}", known.join(", ")),
    }
}
