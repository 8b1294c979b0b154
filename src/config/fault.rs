//! What is wrong with a configuration: all of it at once, each fault with its place and its remedy.
//!
//! A fault in a file is shown with its line, as compilers do. The text of a file may hold
//! passwords: they are covered before anything is shown. This file must not know what the keys mean.

use std::{error::Error, fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A file of settings as it was read.
#[derive(PartialEq, Eq)]
pub struct SourceText {
    /// Its path as it was given.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl fmt::Debug for SourceText {
    /// The path alone: the text may hold passwords.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SourceText({})", self.path)
    }
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file, at these bytes of its text.
    File {
        /// The file.
        source: Arc<SourceText>,
        /// Bytes of the text.
        span: Range<usize>,
    },
    /// The file itself: it cannot be read.
    Path(String),
    /// In the environment, by this variable.
    Environment(String),
    /// On the command line, by this flag.
    Flag(&'static str),
}

impl Place {
    /// Line in a file, from 1.
    pub fn line(&self) -> Option<usize> {
        let Self::File { source, span } = self else {
            return None;
        };
        let before = source.text.get(..span.start)?;
        Some(1 + before.matches('\n').count())
    }

    /// The bytes `span` of the same file; this place itself where it is in none.
    pub(super) fn at(&self, span: &Range<usize>) -> Self {
        match self {
            Self::File { source, .. } => Self::File {
                source: Arc::clone(source),
                span: span.clone(),
            },
            other => other.clone(),
        }
    }

    /// The bytes `part` of the text that is written here, `text` when read: where they stand in the
    /// file, or this place itself where that cannot be said.
    pub(super) fn within(&self, text: &str, part: &Range<usize>) -> Self {
        let Self::File { source, span } = self else {
            return self.clone();
        };
        let raw = source.text.get(span.clone()).unwrap_or_default();
        match part_of_literal(raw, text, part) {
            Some(part) => Self::File {
                source: Arc::clone(source),
                span: span.start + part.start..span.start + part.end,
            },
            None => self.clone(),
        }
    }

    /// Order in which faults are told: file from top to bottom, environment, command line.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Path(_) => (0, 0),
            Self::File { span, .. } => (1, span.start),
            Self::Environment(_) => (2, 0),
            Self::Flag(_) => (3, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { source, .. } => {
                write!(formatter, "{}:{}", source.path, self.line().unwrap_or(1))
            }
            Self::Path(path) => formatter.write_str(path),
            Self::Environment(variable) => formatter.write_str(variable),
            Self::Flag(flag) => formatter.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, with its section; empty where it is the file as a whole.
    pub key: String,
    /// What is wrong, with the value in it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
    /// Where it was set; absent where nothing set it (a value that is needed and missing).
    pub place: Option<Place>,
}

/// How faults are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Text alone.
    Plain,
    /// With the colours of a terminal.
    Coloured,
}

/// All that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Takes faults and puts them into the order in which they are told.
    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| {
            fault
                .place
                .as_ref()
                .map_or((u8::MAX, usize::MAX), Place::rank)
        });
        Self(faults)
    }

    /// Each fault in turn.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }

    /// All faults as text, an empty line between two; ends without a line end.
    pub fn render(&self, paint: Paint) -> String {
        let renderer = match paint {
            Paint::Plain => Renderer::plain(),
            Paint::Coloured => Renderer::styled(),
        };
        let shown: Vec<String> = self.0.iter().map(|fault| fault.render(&renderer)).collect();
        shown.join("\n\n")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(Paint::Plain))
    }
}

impl Error for Faults {}

impl Fault {
    fn render(&self, renderer: &Renderer) -> String {
        let title = if self.key.is_empty() {
            self.problem.clone()
        } else {
            format!("{}: {}", self.key, self.problem)
        };
        let group = Group::with_title(Level::ERROR.primary_title(title));
        let group = match &self.place {
            Some(Place::File { source, span }) => group.element(
                Snippet::source(without_passwords(&source.text))
                    .path(visible(&source.path))
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            Some(Place::Path(path)) => {
                group.element(Level::NOTE.message(format!("the file is {}", visible(path))))
            }
            Some(Place::Environment(variable)) => group.element(Level::NOTE.message(format!(
                "set by the environment variable {}",
                visible(variable)
            ))),
            Some(Place::Flag(flag)) => {
                group.element(Level::NOTE.message(format!("set by the flag {flag}")))
            }
            None => group,
        };
        renderer.render(&[group.element(Level::HELP.message(visible(&self.remedy)))])
    }
}

/// The same text with control characters as they are written in a program: whoever sets a value or a name
/// may write anything into it, and the renderer takes care of titles and excerpts alone.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_control() {
            true => shown.extend(letter.escape_debug()),
            false => shown.push(letter),
        }
    }
    shown
}

/// Where the bytes `part` of `text` stand in `raw`, the same text as TOML writes it; `None` for a
/// text whose escapes leave that open.
fn part_of_literal(raw: &str, text: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| raw.starts_with(quote))?;
    let inner = raw.strip_prefix(quote)?.strip_suffix(quote)?;
    let content = match quote.len() {
        3 => inner
            .strip_prefix("\r\n")
            .or_else(|| inner.strip_prefix('\n')),
        _ => None,
    };
    let content = content.unwrap_or(inner);
    let start = quote.len() + inner.len() - content.len();
    if content == text {
        return Some(start + part.start..start + part.end);
    }
    // Backslashes that stand for one sign each, as expressions are full of them.
    let mut offsets = Vec::new();
    let mut at = start;
    let mut letters = content.chars();
    while let Some(letter) = letters.next() {
        offsets.extend((0..letter.len_utf8()).map(|idx| at + idx));
        at += letter.len_utf8();
        if letter == '\\' {
            let escaped = letters
                .next()
                .filter(|escaped| "\\\"nrtbfe".contains(*escaped))?;
            at += escaped.len_utf8();
        }
    }
    offsets.push(at);
    let is_whole = offsets.len() == text.len() + 1;
    let (from, to) = (offsets.get(part.start)?, offsets.get(part.end)?);
    is_whole.then_some(*from..*to)
}

/// The same text, byte for byte as long, with `*` for all that may be a password.
///
/// By lines and not by the parsed values, so that it holds for a file that cannot be parsed; and
/// rather too much than too little, since only excerpts are shown.
fn without_passwords(text: &str) -> String {
    let mut covered = String::with_capacity(text.len());
    let mut until: Option<&'static str> = None;
    for line in text.split_inclusive('\n') {
        let start = match until {
            Some(_) => Some(0),
            None => password_start(line),
        };
        let (open, secret) = line.split_at(start.unwrap_or(line.len()));
        covered.push_str(open);
        covered.extend(secret.chars().map(|letter| match letter {
            '\r' | '\n' => String::from(letter),
            _ => "*".repeat(letter.len_utf8()),
        }));
        until = match until {
            Some(end) => Some(end).filter(|end| !ends(secret, end)),
            None => start.and_then(|_| value_end(secret)),
        };
    }
    covered
}

/// Where the value begins in a line that gives one to a key that is `password`, or like it: whoever
/// mistypes the key has typed a password all the same.
fn password_start(line: &str) -> Option<usize> {
    line.match_indices(['=', ':']).find_map(|(at, sign)| {
        let before = line.get(..at)?;
        let key = before.rsplit([',', '{', '[']).next()?.to_lowercase();
        let may_be = ["pas", "pw", "\\"].iter().any(|part| key.contains(part));
        may_be.then_some(at + sign.len())
    })
}

/// What ends a value that goes on behind its first line; the empty text is any text at all.
fn value_end(value: &str) -> Option<&'static str> {
    let value = value.trim();
    let ends = [("\"\"\"", "\"\"\""), ("'''", "'''"), ("[", "]"), ("{", "}")];
    if value.is_empty() {
        return Some("");
    }
    ends.iter().find_map(|(start, end)| {
        let rest = value.strip_prefix(start)?;
        (!rest.contains(end)).then_some(*end)
    })
}

fn ends(line: &str, end: &str) -> bool {
    !line.trim().is_empty() && line.contains(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str, marked: &str) -> Fault {
        let start = text.find(marked).unwrap();
        let source = SourceText {
            path: "waymesh.toml".into(),
            text: text.into(),
        };
        Fault {
            key: "discovery.group".into(),
            problem: "`10.1.1.1` is no multicast address".into(),
            remedy: "give an address of 224.0.0.0/4".into(),
            place: Some(Place::File {
                source: Arc::new(source),
                span: start..start + marked.len(),
            }),
        }
    }

    #[test]
    fn a_fault_in_a_file_shows_its_line() {
        let faults = Faults::new(vec![in_file(
            "[discovery]\ngroup = \"10.1.1.1\"\n",
            "\"10.1.1.1\"",
        )]);
        let expected = "\
error: discovery.group: `10.1.1.1` is no multicast address
 --> waymesh.toml:2:9
  |
2 | group = \"10.1.1.1\"
  |         ^^^^^^^^^^
  |
  = help: give an address of 224.0.0.0/4";
        assert_eq!(faults.to_string(), expected);
    }

    #[test]
    fn a_fault_from_elsewhere_names_variable_or_flag() {
        let mut fault = in_file("x", "x");
        fault.place = Some(Place::Environment("WAYMESH_DISCOVERY__GROUP".into()));
        let mut other = fault.clone();
        other.place = Some(Place::Flag("--name"));
        let text = Faults::new(vec![other, fault]).to_string();
        let variable = text.find("set by the environment variable WAYMESH_DISCOVERY__GROUP");
        assert!(variable.unwrap() < text.find("set by the flag --name").unwrap());
    }

    /// Found by fuzzing: the names came to the terminal as they were.
    #[test]
    fn control_characters_are_made_visible() {
        let mut in_variable = in_file("x", "x");
        in_variable.place = Some(Place::Environment("WAYMESH_\u{1b}[2J".into()));
        let mut in_remedy = in_file("x", "x");
        in_remedy.remedy = "name the part `(?<veh\u{1b}[2Jl>..)`".into();
        let text = Faults::new(vec![in_variable, in_remedy]).render(Paint::Plain);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("variable WAYMESH_\\u{1b}[2J"), "{text}");
        assert!(text.contains("part `(?<veh\\u{1b}[2Jl>"), "{text}");
    }

    #[test]
    fn colour_is_there_only_when_asked_for() {
        let faults = Faults::new(vec![in_file("a = 1", "1")]);
        assert!(!faults.render(Paint::Plain).contains('\u{1b}'));
        assert!(faults.render(Paint::Coloured).contains('\u{1b}'));
    }

    #[test]
    fn passwords_are_covered() {
        let open = "id = \"a\"\n";
        let secrets = [
            "password = \"sésame\"\n",
            "{ \"password\"='sésame' }\n",
            "password: sésame\n",
            "Passwort = \"sésame\"\n",
            "pasword = \"sésame\"\n",
            "\"pass\\u0077ord\" = \"sésame\"\n",
            "x = [{ id = \"a\", password = \"sésame\", y = 1 }]\n",
            "password = \"\"\"\n\nsésame\n",
            "password = '''x\r\nsésame'''\n",
            "password = [\n  \"sésame\",\n]\n",
            "password = { a = \"\"\"\nsésame\"\"\" }\n",
            "password =\n\n\"sésame\"\n",
        ];
        for secret in secrets {
            let text = format!("{open}{secret}");
            let covered = without_passwords(&text);
            assert_eq!(covered.len(), text.len());
            assert!(covered.starts_with(open), "{covered}");
            assert!(!covered.contains("same"), "{covered}");
            let n_lines = |text: &str| text.lines().count();
            assert_eq!(n_lines(&covered), n_lines(&text));
        }
        let closed = [
            "password = \"x\"\n",
            "password = \"\"\"x\"\"\"\n",
            "password = [\n1\n]\n",
            "password =\n\"x\"\n",
        ];
        for secret in closed {
            let covered = without_passwords(&format!("{secret}name = \"b\"\n"));
            assert!(covered.ends_with("\nname = \"b\"\n"), "{covered}");
        }
        let harmless = "vehicles = \"10.0.0.1:5000\"\nsecret_file = \"a\"\n# password\n";
        assert_eq!(without_passwords(harmless), harmless);
    }
}
