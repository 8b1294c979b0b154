//! What is wrong with the `[[protocol]]` tables, each fault with its place, down to the part of an
//! expression, and its remedy.

use super::{
    check::{fault, place_in},
    fault::{Fault, Place},
    nearest::nearest,
    own_protocol::{ProtocolDraft, Written},
    raw::{Item, RawConfig},
    value::quoted,
};
use crate::protocol::{
    Registry,
    own::{LINES_MAX, OwnProtocol, PROTOCOLS_MAX, Part, Problem, SpecFault, group_names},
};

/// Compiles the protocols of the configuration and takes those that are right. Gives the names of
/// all, so that a listener is not blamed for a fault of its protocol; `built_in` are the names that
/// are taken.
pub(super) fn check_protocols(
    raw: &mut RawConfig,
    built_in: &[&str],
    faults: &mut Vec<Fault>,
) -> Vec<String> {
    let items = std::mem::take(&mut raw.protocols);
    if let Some(item) = items.get(PROTOCOLS_MAX) {
        let problem = format!("more than {PROTOCOLS_MAX} tables");
        let place = Some(item.place.clone());
        faults.push(fault("protocol", problem, "take some of them out", place));
    }
    let mut names: Vec<String> = Vec::new();
    let mut compiled = Vec::new();
    for item in &items {
        check_name(item, &names, built_in, faults);
        let name = item.values.name.clone().unwrap_or_default();
        match OwnProtocol::compile(item.values.spec(&name)) {
            Ok(protocol) => compiled.push((item, protocol)),
            Err(wrong) => {
                let wrong = wrong.iter().filter(|wrong| !is_consequence(item, wrong));
                faults.extend(wrong.map(|wrong| located(item, wrong)));
            }
        }
        names.push(name);
    }
    check_recognition(raw, &compiled, faults);
    let protocols = compiled.into_iter().map(|(_, protocol)| protocol);
    raw.config.protocols = protocols.collect();
    names
}

fn check_name(
    item: &Item<ProtocolDraft>,
    before: &[String],
    built_in: &[&str],
    faults: &mut Vec<Fault>,
) {
    let place = place_in(item, "name");
    let (problem, remedy) = match &item.values.name {
        None if item.places.contains_key("name") => return,
        None => ("is missing".to_owned(), "give the protocol a name"),
        Some(name) if built_in.contains(&name.as_str()) => {
            let problem = format!("{} is a protocol that is built in", quoted(name));
            (problem, "give it another name")
        }
        Some(name) if before.contains(name) => {
            let problem = format!("{} is there twice", quoted(name));
            (problem, "give one of the [[protocol]] tables another name")
        }
        Some(_) => return,
    };
    faults.push(fault("protocol.name", problem, remedy, Some(place)));
}

/// On the shared port each protocol must be told from all others by its first line, unless it has a
/// port of its own.
fn check_recognition(
    raw: &RawConfig,
    compiled: &[(&Item<ProtocolDraft>, OwnProtocol)],
    faults: &mut Vec<Fault>,
) {
    let protocols: Vec<OwnProtocol> = compiled.iter().map(|(_, own)| own.clone()).collect();
    let registry = Registry::built_in().with_own(&protocols);
    for (item, protocol) in compiled {
        let name = &protocol.spec().name;
        let mut pinned = raw.listeners.iter();
        if pinned.any(|listener| listener.values.protocol.as_ref() == Some(name)) {
            continue;
        }
        for (idx, line) in protocol.first_lines() {
            let taken_for = match registry.recognise(&line) {
                Ok(other) if other.name() == name.as_str() => continue,
                Ok(other) => format!("is taken for `{}`", other.name()),
                Err(_) => "is not recognised".into(),
            };
            let shown = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            let problem = format!(
                "on the shared port a line such as {} {taken_for}",
                quoted(&shown)
            );
            let remedy = format!(
                "let such lines begin otherwise, or give them a port of their own: a [[listener]] \
                 with `protocol = \"{name}\"`"
            );
            let place = place_of(item, &Part::Line(idx)).0;
            faults.push(fault("protocol.line", problem, remedy, Some(place)));
        }
    }
}

/// Whether something else is at fault: a value that was given, and refused when it was read.
fn is_consequence(item: &Item<ProtocolDraft>, wrong: &SpecFault) -> bool {
    let is_given = |key| item.places.contains_key(key);
    match wrong.problem {
        Problem::NumberOfLines(_) => is_given("line") && item.values.lines.is_none(),
        Problem::TimeFormatMissing => is_given("time_format"),
        Problem::UnknownGroup(_) => is_given("attributes") && item.values.attributes.is_none(),
        _ => false,
    }
}

fn located(item: &Item<ProtocolDraft>, wrong: &SpecFault) -> Fault {
    let (place, text) = place_of(item, &wrong.part);
    let place = match &wrong.span {
        Some(span) => place.within(text, span),
        None => place,
    };
    let key = match wrong.part {
        Part::Lines | Part::Line(_) => "protocol.line",
        Part::LineReply(_) => "protocol.line.reply",
        Part::Reply => "protocol.reply",
        Part::Refusal => "protocol.refusal",
        Part::TimeFormat => "protocol.time_format",
        Part::Valid => "protocol.valid",
        Part::Attribute(_) => "protocol.attributes",
    };
    let remedy = remedy(item, &wrong.problem);
    fault(key, wrong.problem.to_string(), remedy, Some(place))
}

/// Where a part of a protocol was set, and its text.
fn place_of<'a>(item: &'a Item<ProtocolDraft>, part: &Part) -> (Place, &'a str) {
    let values = &item.values;
    let line = |idx: &usize| values.lines.as_ref().and_then(|lines| lines.get(*idx));
    let of_key =
        |key, text: &'a Option<String>| (place_in(item, key), text.as_deref().unwrap_or_default());
    let of_written = |key, written: Option<&'a Written>| match written {
        Some(written) => {
            let place = place_in(item, key).at(&written.span);
            (place, written.text.as_str())
        }
        None => (place_in(item, key), ""),
    };
    match part {
        Part::Lines => (place_in(item, "line"), ""),
        Part::Line(idx) => of_written("line", line(idx).map(|line| &line.expression)),
        Part::LineReply(idx) => of_written("line", line(idx).and_then(|line| line.reply.as_ref())),
        Part::Reply => of_key("reply", &values.reply),
        Part::Refusal => of_key("refusal", &values.refusal),
        Part::TimeFormat => of_key("time_format", &values.time_format),
        Part::Valid => (place_in(item, "valid"), ""),
        Part::Attribute(name) => {
            let mut attributes = values.attributes.iter().flatten();
            let found = attributes.find(|(written, _)| written.text == *name);
            of_written("attributes", found.map(|(written, _)| written))
        }
    }
}

fn remedy(item: &Item<ProtocolDraft>, problem: &Problem) -> String {
    match problem {
        Problem::NumberOfLines(_) => format!("give 1 to {LINES_MAX} regular expressions"),
        Problem::Syntax(_) => {
            "write it in the syntax of the crate `regex`; in single quotes TOML leaves backslashes \
             alone"
                .into()
        }
        Problem::TooLarge(_) => "make several lines of it, or its repetitions smaller".into(),
        Problem::MatchesNothing => {
            "take the end of the line out of the expression; `terminator` says which it is".into()
        }
        Problem::UnknownGroup(name) => remedy_for_group(item, name),
        Problem::TwiceTheSame(..) => "take one of them out".into(),
        Problem::Needs { needs, .. } => {
            format!("add a group `(?<{needs}>..)`, or take this one out")
        }
        Problem::NoVehicle => "name the part that says who speaks: `(?<vehicle>..)`".into(),
        Problem::TimeFormatMissing => {
            "give \"unix\", \"unix_ms\", \"rfc3339\", or signs such as \"%Y%m%d%H%M%S\"".into()
        }
        Problem::TimeFormatUnused => "take it out, or name the part `(?<time>..)`".into(),
        Problem::TimeFormat(_) => {
            "give the signs of strptime for day and time of day, such as \"%d%m%y %H%M%S\"".into()
        }
        Problem::ValidUnused => "take it out, or name the part `(?<valid>..)`".into(),
        Problem::Brace => "write `{{` and `}}` for braces that are sent".into(),
        Problem::UnknownPlaceholder { line: None, .. } => {
            "only `{vehicle}` may stand here; write `{{` and `}}` for braces that are sent".into()
        }
        Problem::UnknownPlaceholder { name, .. } => format!(
            "name the part `(?<{name}>..)`, or give the line its own `reply`; a group whose name \
             begins with `_` is for replies alone"
        ),
        Problem::AttributeUnused(name) => {
            format!("take it out, or name the part `(?<{name}>..)`")
        }
        Problem::AttributeTaken(_) => "take it out: the group needs no type".into(),
        Problem::AttributeType { value_type, .. } => {
            format!(
                "give \"{}\", or the group another name",
                value_type.as_str()
            )
        }
    }
}

fn remedy_for_group(item: &Item<ProtocolDraft>, name: &str) -> String {
    let mut known: Vec<&str> = group_names().collect();
    let declared = item.values.attributes.iter().flatten();
    known.extend(declared.map(|(written, _)| written.text.as_str()));
    let declare = format!(
        "for an attribute of your own, write `{name} = \"text\"` below [protocol.attributes]"
    );
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? Else, {declare}"),
        None => format!("{declare}; known: {}", known.join(", ")),
    }
}
