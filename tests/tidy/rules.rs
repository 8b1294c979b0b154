//! `tests/house.rules`: the rooms, what each may import, and which are pure.

use std::collections::BTreeMap;

/// What a room may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Rooms that it may import.
    pub(crate) imports: Vec<String>,
    /// Whether it holds no socket, file, task, clock or randomness.
    pub(crate) is_pure: bool,
}

/// The rooms of the house by their name, such as `store` or `cluster::net`.
#[derive(Debug, Clone, Default)]
pub(crate) struct House(pub(crate) BTreeMap<String, Room>);

impl House {
    /// Reads the file; the error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rooms = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The colons of `cluster::net` have no blank behind them, and the name no blank at all.
            let (name, imports) = line
                .split_once(": ")
                .or_else(|| line.strip_suffix(':').map(|name| (name, "")))
                .ok_or_else(|| format!("tests/house.rules:{}: no `room: rooms`", index + 1))?;
            let (is_pure, name) = match name.strip_prefix("pure ") {
                Some(name) => (true, name),
                None => (false, name),
            };
            let imports = imports.split_whitespace().map(str::to_owned).collect();
            rooms.insert(name.trim().to_owned(), Room { imports, is_pure });
        }
        let house = Self(rooms);
        let named = house.0.values().flat_map(|room| &room.imports);
        match named.into_iter().find(|name| !house.0.contains_key(*name)) {
            Some(name) => Err(format!(
                "tests/house.rules: `{name}` has no line of its own"
            )),
            None => Ok(house),
        }
    }

    /// The room that a module lies in: the one with the longest name that begins its path.
    pub(crate) fn room_of(&self, module: &[String]) -> Option<(&str, &Room)> {
        (1..=module.len()).rev().find_map(|n_parts| {
            let (name, room) = self.0.get_key_value(&module[..n_parts].join("::"))?;
            Some((name.as_str(), room))
        })
    }
}

#[test]
fn the_longest_name_counts() {
    let house = House::parse("a:\na::b: a\npure c: a a::b").unwrap();
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    let name = |text| house.room_of(&path(text)).map(|(name, _)| name);
    assert_eq!(name("a::b::x"), Some("a::b"));
    assert_eq!(name("a::x"), Some("a"));
    assert_eq!(name("x"), None);
    assert!(house.0["c"].is_pure && !house.0["a"].is_pure);
}

#[test]
fn rules_that_name_no_room_are_refused() {
    assert!(House::parse("a: b").is_err());
    assert!(House::parse("a b").is_err());
}
