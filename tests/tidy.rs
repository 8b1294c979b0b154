//! The house keeps its order: who imports whom, what is pure, how long files are, what lies where.
//!
//! The rules about rooms stand in `tests/house.rules`. Each check is fed bad source in its own test,
//! so that none is blind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/tokens.rs"]
mod tokens;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rules::House;
use tokens::{Token, tokens};

/// A place that breaks a rule.
#[derive(Debug)]
struct Problem {
    path: String,
    line: usize,
    text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// A file of Rust.
struct SourceFile {
    /// From the top level, with `/`.
    path: String,
    text: String,
    tokens: Vec<Token>,
}

impl SourceFile {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: tokens(text),
        }
    }

    fn problem(&self, line: usize, text: impl Into<String>) -> Problem {
        Problem {
            path: self.path.clone(),
            line,
            text: text.into(),
        }
    }

    /// Path of the module in the house; empty for the roof, `None` for what is no part of it.
    fn module(&self) -> Option<Vec<String>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if matches!(path, "lib" | "main") {
            return Some(Vec::new());
        }
        Some(path.split('/').map(str::to_owned).collect())
    }

    /// Whether it holds nothing but tests.
    fn is_test(&self) -> bool {
        let mut parts = self.path.split('/');
        parts.any(|part| part == "tests" || part == "tests.rs")
    }

    /// Lines before `mod tests { .. }` and its attributes.
    fn n_code_lines(&self) -> usize {
        let is_tests = |window: &[Token]| {
            let texts = window.iter().map(|token| token.text.as_str());
            texts.eq(["mod", "tests", "{"])
        };
        let lines: Vec<&str> = self.text.lines().collect();
        let found = self.tokens.windows(3).find(|window| is_tests(window));
        let mut n_lines = found.map_or(lines.len(), |window| window[0].line - 1);
        while found.is_some() && n_lines > 0 && lines[n_lines - 1].starts_with("#[") {
            n_lines -= 1;
        }
        n_lines
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn house() -> House {
    let text = fs::read_to_string(top().join("tests/house.rules")).unwrap();
    House::parse(&text).unwrap()
}

/// Every file of Rust below these folders of the top level.
fn sources(folders: &[&str]) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for folder in folders {
        collect(&top(), &top().join(folder), &mut files);
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn collect(top: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(top, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap();
            files.push(SourceFile::new(name, &fs::read_to_string(&path).unwrap()));
        }
    }
}

#[track_caller]
fn expect_none(problems: impl IntoIterator<Item = Problem>) {
    let lines: Vec<String> = problems.into_iter().map(|one| one.to_string()).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn rooms_import_only_what_the_rules_allow() {
    let house = house();
    let files = sources(&["src"]);
    assert!(files.len() > 20, "the house was not found");
    expect_none(
        files
            .iter()
            .flat_map(|file| imports::forbidden_imports(file, &house)),
    );
}

#[test]
fn pure_rooms_hold_no_socket_file_task_clock_or_randomness() {
    let house = house();
    let files = sources(&["src"]);
    expect_none(
        files
            .iter()
            .flat_map(|file| imports::impurities(file, &house)),
    );
}

#[test]
fn every_file_says_at_its_top_what_it_is_for() {
    expect_none(
        sources(&["src", "load-test", "tests"])
            .iter()
            .filter_map(files::headless),
    );
}

#[test]
fn files_are_short() {
    let files = sources(&["src", "load-test"]);
    expect_none(files.iter().filter_map(files::too_long));
    let median = files::median_code_lines(&files);
    assert!(
        median <= files::MEDIAN_CODE_LINES_MAX,
        "the median file has {median} lines of code"
    );
}

#[test]
fn tests_neither_sleep_nor_hide() {
    let files = sources(&["src", "load-test", "tests"]);
    expect_none(files.iter().flat_map(files::bad_test_habits));
}

#[test]
fn every_room_has_its_page() {
    let files = sources(&["src"]);
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    expect_none(files::folders_without_page(&paths));
}

#[test]
fn nothing_strange_lies_at_the_top() {
    let entries = fs::read_dir(top()).unwrap();
    let names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    let ignored = fs::read_to_string(top().join(".gitignore")).unwrap();
    expect_none(files::strangers_at_top(&names, &ignored));
}
