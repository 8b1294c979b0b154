//! An answer: text with groups of the line in it, each in braces.
//!
//! `{{` and `}}` are braces that are sent. `{vehicle}` is the vehicle of the connection, also where
//! the line itself does not name it.

use std::ops::Range;

use regex::bytes::Captures;

use super::{Problem, expression::Group};

/// The name that stands for the connection's vehicle.
const VEHICLE: &str = "vehicle";

/// An answer whose groups are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Vehicle,
    /// The group with this number.
    Group(usize),
}

/// A piece of an answer as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Text(String),
    /// A name, and where it stands.
    Name(String, Range<usize>),
}

/// An answer as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written(Vec<Word>);

impl Written {
    /// Reads an answer.
    ///
    /// # Errors
    /// A brace without its other half, and where.
    pub(super) fn parse(text: &str) -> Result<Self, (Problem, Range<usize>)> {
        let mut words = Vec::new();
        let mut plain = String::new();
        let mut letters = text.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let is_doubled = letters.next_if(|(_, next)| *next == letter && "{}".contains(letter));
            match letter {
                _ if is_doubled.is_some() => plain.push(letter),
                '{' => {
                    let rest = text.get(at + 1..).unwrap_or_default();
                    let name = rest.split(['{', '}']).next().unwrap_or_default();
                    let end = at + 1 + name.len();
                    if text.get(end..=end) != Some("}") {
                        return Err((Problem::Brace, at..at + 1));
                    }
                    words.push(Word::Text(std::mem::take(&mut plain)));
                    words.push(Word::Name(name.to_owned(), at + 1..end));
                    while letters.next_if(|(next, _)| *next <= end).is_some() {}
                }
                '}' => return Err((Problem::Brace, at..at + 1)),
                letter => plain.push(letter),
            }
        }
        words.push(Word::Text(plain));
        words.retain(|word| !matches!(word, Word::Text(text) if text.is_empty()));
        Ok(Self(words))
    }

    /// Finds the groups; `line` is the position of the line in its spec, absent for an answer to
    /// rejected lines.
    ///
    /// # Errors
    /// Each name that is none of `groups`, and where.
    pub(super) fn bind(
        &self,
        groups: &[Group],
        line: Option<usize>,
    ) -> Result<Template, Vec<(Problem, Range<usize>)>> {
        let mut wrong = Vec::new();
        let mut pieces = Vec::new();
        for word in &self.0 {
            match word {
                Word::Text(text) => pieces.push(Piece::Text(text.clone())),
                Word::Name(name, _) if name == VEHICLE => pieces.push(Piece::Vehicle),
                Word::Name(name, span) => match groups.iter().find(|group| group.name == *name) {
                    Some(group) => pieces.push(Piece::Group(group.idx)),
                    None => {
                        let name = name.clone();
                        wrong.push((Problem::UnknownPlaceholder { name, line }, span.clone()));
                    }
                },
            }
        }
        if wrong.is_empty() {
            Ok(Template(pieces))
        } else {
            Err(wrong)
        }
    }
}

impl Template {
    /// Whether nothing is sent.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the answer to a line of `vehicle`; what is not known is left out.
    pub(super) fn write(
        &self,
        vehicle: Option<&str>,
        captures: Option<&Captures<'_>>,
        replies: &mut Vec<u8>,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => replies.extend_from_slice(text.as_bytes()),
                Piece::Vehicle => {
                    replies.extend_from_slice(vehicle.unwrap_or_default().as_bytes());
                }
                Piece::Group(idx) => {
                    let found = captures.and_then(|captures| captures.get(*idx));
                    replies.extend_from_slice(found.map_or(&[], |found| found.as_bytes()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> String {
        let template = Written::parse(text).unwrap().bind(&[], None).unwrap();
        let mut replies = Vec::new();
        template.write(Some("bus-7"), None, &mut replies);
        String::from_utf8(replies).unwrap()
    }

    #[test]
    fn doubled_braces_are_sent_and_names_are_filled_in() {
        assert_eq!(answer("OK\r\n"), "OK\r\n");
        assert_eq!(answer("{vehicle}"), "bus-7");
        assert_eq!(answer("OK {vehicle},{vehicle}!"), "OK bus-7,bus-7!");
        assert_eq!(answer("{{\"id\":\"{vehicle}\"}}"), "{\"id\":\"bus-7\"}");
        assert_eq!(answer("{{{vehicle}}}é"), "{bus-7}é");
        assert!(
            Written::parse("")
                .unwrap()
                .bind(&[], None)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_brace_has_its_other_half() {
        let cases = [
            ("a{b", 1),
            ("{", 0),
            ("a}b", 1),
            ("{a{b}", 0),
            ("{a}}", 3),
            ("é{", 2),
        ];
        for (text, at) in cases {
            assert_eq!(
                Written::parse(text),
                Err((Problem::Brace, at..at + 1)),
                "{text}"
            );
        }
    }

    #[test]
    fn each_name_that_is_none_is_told() {
        let written = Written::parse("{seq} {vehicle} {}").unwrap();
        let wrong = written.bind(&[], Some(1)).unwrap_err();
        let spans: Vec<_> = wrong.iter().map(|(_, span)| span.clone()).collect();
        assert_eq!(spans, [1..4, 17..17]);
    }
}
