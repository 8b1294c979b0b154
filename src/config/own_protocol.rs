//! The `[[protocol]]` tables: how their values are read and shown.
//!
//! Single values are looked at here, with the place of each part kept for [`super::own_check`]; what
//! a protocol may say as a whole is known by [`crate::protocol::own`].

use std::ops::Range;

use toml::de::DeValue;

use super::value::{Complaint, Found, choice, list, quoted, show, some_text, text};
use crate::protocol::{
    attributes::ValueType,
    own::{LineSpec, OwnSpec},
};

/// Longest name of a protocol in bytes.
const NAME_BYTES_MAX: usize = 32;
/// What ends a line where nothing is said.
const LINE_END: u8 = b'\n';

const TYPES: &[(&str, ValueType)] = &[
    (ValueType::Bool.as_str(), ValueType::Bool),
    (ValueType::Integer.as_str(), ValueType::Integer),
    (ValueType::Float.as_str(), ValueType::Float),
    (ValueType::Text.as_str(), ValueType::Text),
];

/// The items of a `[[protocol]]`, as far as they are given.
#[derive(Debug, Clone, Default)]
pub(super) struct ProtocolDraft {
    pub(super) name: Option<String>,
    pub(super) lines: Option<Vec<LineDraft>>,
    pub(super) terminator: Option<u8>,
    pub(super) time_format: Option<String>,
    pub(super) valid: Option<Vec<String>>,
    pub(super) reply: Option<String>,
    pub(super) refusal: Option<String>,
    pub(super) attributes: Option<Vec<(Written, ValueType)>>,
}

/// A line of a protocol.
#[derive(Debug, Clone)]
pub(super) struct LineDraft {
    pub(super) expression: Written,
    pub(super) reply: Option<Written>,
}

/// A text, and where it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl ProtocolDraft {
    /// What would have to be written for `spec`.
    pub(super) fn of(spec: &OwnSpec) -> Self {
        let written = |text: &String| Written {
            text: text.clone(),
            span: 0..0,
        };
        let lines = spec.lines.iter().map(|line| LineDraft {
            expression: written(&line.expression),
            reply: line.reply.as_ref().map(written),
        });
        let attributes = spec.attributes.iter();
        let attributes = attributes.map(|(name, value_type)| (written(name), *value_type));
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            name: Some(spec.name.clone()),
            lines: Some(lines.collect()),
            terminator: Some(spec.terminator),
            time_format: spec.time_format.clone(),
            valid: spec.valid.clone(),
            reply: some(&spec.reply),
            refusal: some(&spec.refusal),
            attributes: Some(attributes.collect()).filter(|list: &Vec<_>| !list.is_empty()),
        }
    }

    /// What the values say together, of a protocol called `name`.
    pub(super) fn spec(&self, name: &str) -> OwnSpec {
        let lines = self.lines.iter().flatten().map(|line| LineSpec {
            expression: line.expression.text.clone(),
            reply: line.reply.as_ref().map(|reply| reply.text.clone()),
        });
        let attributes = self.attributes.iter().flatten();
        let attributes = attributes.map(|(name, value_type)| (name.text.clone(), *value_type));
        OwnSpec {
            name: name.to_owned(),
            lines: lines.collect(),
            terminator: self.terminator.unwrap_or(LINE_END),
            time_format: self.time_format.clone(),
            valid: self.valid.clone(),
            reply: self.reply.clone().unwrap_or_default(),
            refusal: self.refusal.clone().unwrap_or_default(),
            attributes: attributes.collect(),
        }
    }
}

/// The name of a protocol.
pub(super) fn protocol_name(found: &Found<'_>) -> Result<String, Complaint> {
    let name = some_text(found)?;
    let is_name_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_name = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.bytes().all(is_name_byte);
    if is_name {
        Ok(name.to_owned())
    } else {
        let problem = format!("{} is no name of a protocol", quoted(name));
        Err(Complaint::new(problem))
    }
}

/// One expression, or a list of expressions and of tables with an answer each.
pub(super) fn lines(found: &Found<'_>) -> Result<Vec<LineDraft>, Complaint> {
    let one = |item: &Found<'_>| match item.get_ref() {
        DeValue::Table(_) => line_table(item),
        _ => Ok(LineDraft {
            expression: written(item)?,
            reply: None,
        }),
    };
    let at_item = |item: &Found<'_>| {
        one(item).map_err(|complaint| Complaint {
            part: complaint.part.or_else(|| Some(item.span())),
            ..complaint
        })
    };
    match found.get_ref() {
        DeValue::Array(items) => items.iter().map(at_item).collect(),
        _ => one(found).map(|line| vec![line]),
    }
}

fn line_table(found: &Found<'_>) -> Result<LineDraft, Complaint> {
    let (mut expression, mut reply) = (None, None);
    for (key, value) in found.get_ref().as_table().into_iter().flatten() {
        let target = match key.get_ref().as_ref() {
            "match" => &mut expression,
            "reply" => &mut reply,
            other => {
                return Err(Complaint {
                    problem: format!("{} is no key of a line: match, reply", quoted(other)),
                    part: Some(key.span()),
                });
            }
        };
        let read = match key.get_ref().as_ref() {
            "match" => written(value),
            _ => text(value).map(|text| at(text, value)),
        };
        *target = Some(read.map_err(|complaint| Complaint {
            part: Some(value.span()),
            ..complaint
        })?);
    }
    let expression = expression.ok_or_else(|| Complaint::new("a line without `match`"))?;
    Ok(LineDraft { expression, reply })
}

fn written(found: &Found<'_>) -> Result<Written, Complaint> {
    some_text(found).map(|text| at(text, found))
}

fn at(text: &str, found: &Found<'_>) -> Written {
    Written {
        text: text.to_owned(),
        span: found.span(),
    }
}

/// The byte that ends a line.
pub(super) fn terminator(found: &Found<'_>) -> Result<u8, Complaint> {
    match some_text(found)? {
        "\r\n" => Ok(LINE_END),
        text => match text.as_bytes() {
            [byte] if byte.is_ascii() => Ok(*byte),
            _ => {
                let problem = format!("{} is not one ASCII character", quoted(text));
                Err(Complaint::new(problem))
            }
        },
    }
}

/// One text or several.
pub(super) fn words(found: &Found<'_>) -> Result<Vec<String>, Complaint> {
    if found.get_ref().is_str() {
        return Ok(vec![some_text(found)?.to_owned()]);
    }
    list(found, |item| some_text(item).map(str::to_owned))
}

/// Names of groups with the types of their attributes.
pub(super) fn attributes(found: &Found<'_>) -> Result<Vec<(Written, ValueType)>, Complaint> {
    let Some(table) = found.get_ref().as_table() else {
        return Err(Complaint::new("expected a table"));
    };
    let entries = table.iter().map(|(key, value)| {
        let value_type = choice(value, TYPES).map_err(|complaint| Complaint {
            part: Some(value.span()),
            ..complaint
        })?;
        let name = Written {
            text: key.get_ref().to_string(),
            span: key.span(),
        };
        Ok((name, value_type))
    });
    entries.collect()
}

/// Lines as TOML; those without an answer of their own as texts.
pub(super) fn show_lines(lines: &[LineDraft]) -> Option<toml::Value> {
    let lines = lines.iter().map(|line| {
        let expression = toml::Value::String(line.expression.text.clone());
        let Some(reply) = &line.reply else {
            return expression;
        };
        let reply = toml::Value::String(reply.text.clone());
        let entries = [("match".to_owned(), expression), ("reply".into(), reply)];
        toml::Value::Table(entries.into_iter().collect())
    });
    Some(toml::Value::Array(lines.collect()))
}

/// The end of a line as TOML.
pub(super) fn show_terminator(byte: u8) -> Option<toml::Value> {
    show(char::from(byte))
}

/// Attributes as TOML.
pub(super) fn show_attributes(attributes: &[(Written, ValueType)]) -> Option<toml::Value> {
    let entries = attributes.iter().map(|(name, value_type)| {
        let word = toml::Value::String(value_type.as_str().into());
        (name.text.clone(), word)
    });
    Some(toml::Value::Table(entries.collect()))
}
