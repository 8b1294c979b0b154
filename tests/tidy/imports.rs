//! What a file takes from elsewhere, and whether it may.
//!
//! Paths are found wherever they stand, in a `use` or in the midst of an expression; `super` is
//! followed to where it leads.

use crate::{
    Problem, SourceFile,
    rules::{House, Room},
    tokens::Token,
};

/// Words with which a path begins that is looked at.
const ROOTS: [&str; 9] = [
    "crate",
    "super",
    "std",
    "core",
    "tokio",
    "tokio_util",
    "rand",
    "getrandom",
    "dashmap",
];
/// Crates and modules that no pure room may use.
const IMPURE: [&str; 16] = [
    "tokio",
    "tokio_util",
    "rand",
    "getrandom",
    "dashmap",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
];
/// Values of `std::net` that are no sockets.
const ADDRESSES: [&str; 7] = [
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
    "AddrParseError",
];
/// Words that no pure room may use, wherever they come from.
const IMPURE_WORDS: [&str; 5] = [
    "HashMap",
    "HashSet",
    "SystemTime",
    "Stopwatch",
    "wall_millis",
];

/// A path to something elsewhere.
#[derive(Debug, PartialEq, Eq)]
struct Import {
    line: usize,
    /// `crate` and `super` are resolved: the first part is then a module at the top of the house,
    /// and `is_ours`.
    path: Vec<String>,
    is_ours: bool,
}

/// Imports that the rules do not allow.
pub(crate) fn forbidden_imports(file: &SourceFile, house: &House) -> Vec<Problem> {
    let Some(module) = file.module() else {
        return Vec::new();
    };
    if module.is_empty() {
        return Vec::new(); // The roof.
    }
    let Some((name, room)) = house.room_of(&module) else {
        let text = format!("`{}` has no line in tests/house.rules", module.join("::"));
        return vec![file.problem(1, text)];
    };
    imports(file, &module)
        .iter()
        .filter(|import| import.is_ours && !import.path.is_empty())
        .filter_map(|import| {
            let text = match house.room_of(&import.path) {
                Some((other, _)) if may_import(name, room, other) => return None,
                Some((other, _)) => format!("`{name}` may not import `{other}`"),
                None => format!(
                    "`{}` is in no room of tests/house.rules",
                    import.path.join("::")
                ),
            };
            Some(file.problem(import.line, text))
        })
        .collect()
}

/// Sockets, files, tasks, clocks, randomness and hash maps in the code of pure rooms; their tests
/// may have them.
pub(crate) fn impurities(file: &SourceFile, house: &House) -> Vec<Problem> {
    let module = file.module().unwrap_or_default();
    let Some((name, room)) = house.room_of(&module) else {
        return Vec::new();
    };
    if !room.is_pure || file.is_test() {
        return Vec::new();
    }
    let paths = imports(file, &module);
    let paths = paths.iter().filter(|import| !import.is_ours);
    let paths = paths.filter_map(|import| Some((import.line, impure_path(&import.path)?)));
    let words = file.tokens.iter().filter_map(|token| {
        let is_impure = IMPURE_WORDS.contains(&token.text.as_str());
        is_impure.then(|| (token.line, token.text.clone()))
    });
    let clocks = file.tokens.windows(4).filter_map(|window| {
        let texts = window.iter().map(|token| token.text.as_str());
        let is_clock = texts.eq(["Instant", ":", ":", "now"]);
        is_clock.then(|| (window[0].line, "Instant::now".to_owned()))
    });
    paths
        .chain(words)
        .chain(clocks)
        .filter(|(line, _)| *line <= file.n_code_lines())
        .map(|(line, what)| file.problem(line, format!("`{what}` in the pure room `{name}`")))
        .collect()
}

fn may_import(name: &str, room: &Room, other: &str) -> bool {
    name == other || room.imports.iter().any(|allowed| allowed == other)
}

fn impure_path(path: &[String]) -> Option<String> {
    let mut parts: Vec<&str> = path.iter().map(String::as_str).collect();
    if parts[0] == "core" {
        parts[0] = "std";
    }
    let is_address = parts.len() > 2 && parts[1] == "net" && ADDRESSES.contains(&parts[2]);
    let shown = parts.join("::");
    let is_impure = IMPURE.iter().any(|impure| {
        // `use std::time::*` brings in what is forbidden, too.
        let is_glob = shown
            .strip_suffix('*')
            .is_some_and(|open| impure.starts_with(open));
        shown == *impure || shown.starts_with(&format!("{impure}::")) || is_glob
    });
    (is_impure && !is_address).then_some(shown)
}

fn imports(file: &SourceFile, module: &[String]) -> Vec<Import> {
    let tokens = &file.tokens;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut scopes: Vec<Option<String>> = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match text(at) {
            "{" if at >= 2 && text(at - 2) == "mod" => scopes.push(Some(text(at - 1).to_owned())),
            "{" => scopes.push(None),
            "}" => {
                scopes.pop();
            }
            root if ROOTS.contains(&root) && begins_path(tokens, at) => {
                let mut here = module.to_vec();
                here.extend(scopes.iter().flatten().cloned());
                let mut paths = Vec::new();
                at = tree(tokens, at, &mut Vec::new(), &mut paths);
                let resolved = |(line, path)| resolved(line, path, &here);
                found.extend(paths.into_iter().map(resolved));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether a path begins at a token, rather than going on or being a word by itself.
fn begins_path(tokens: &[Token], at: usize) -> bool {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let goes_on = text(at + 1) == ":" && text(at + 2) == ":";
    let is_whole = at > 0 && text(at - 1) == "use";
    let is_inner = at >= 2 && text(at - 1) == ":" && text(at - 2) == ":";
    !is_inner && (goes_on || is_whole)
}

/// Reads the path or the tree of paths that begins at a token; gives where it ends.
fn tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &mut Vec<String>,
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let line = tokens.get(at).map_or(0, |token| token.line);
    let depth = prefix.len();
    loop {
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                at = tree(tokens, at, prefix, paths).max(at + 1);
                while text(at) == "," {
                    at += 1;
                }
            }
            at += 1;
            break;
        }
        let is_word = text(at)
            .chars()
            .all(|letter| letter.is_alphanumeric() || letter == '_');
        if !is_word && text(at) != "*" {
            paths.push((line, prefix.clone()));
            break;
        }
        prefix.push(text(at).to_owned());
        at += 1;
        if text(at) != ":" || text(at + 1) != ":" {
            paths.push((line, prefix.clone()));
            if text(at) == "as" {
                at += 2;
            }
            break;
        }
        at += 2;
    }
    prefix.truncate(depth);
    at
}

fn resolved(line: usize, path: Vec<String>, here: &[String]) -> Import {
    let mut resolved = match path[0].as_str() {
        "super" => here.to_vec(),
        _ => Vec::new(),
    };
    let is_ours = matches!(path[0].as_str(), "crate" | "super");
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => {
                resolved.pop();
            }
            _ => resolved.push(part),
        }
    }
    Import {
        line,
        path: resolved,
        is_ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: &str = "a:\nb: a\npure p: a\nroof: a b p\nc:\nc::x: a";

    #[track_caller]
    fn check(path: &str, source: &str, expected: &[(usize, &str)]) {
        let house = House::parse(HOUSE).unwrap();
        let file = SourceFile::new(path, source);
        let mut problems = forbidden_imports(&file, &house);
        problems.extend(impurities(&file, &house));
        let found: Vec<_> = problems
            .iter()
            .map(|one| (one.line, one.text.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_import_outside_the_rules_is_found_wherever_it_stands() {
        check("src/b/mod.rs", "use crate::a::X;\nuse crate::b::y;", &[]);
        let no = "`a` may not import `b`";
        check("src/a/mod.rs", "use crate::b::X;", &[(1, no)]);
        check(
            "src/a/x.rs",
            "fn f() {\n crate::b::g::<u8>()\n}",
            &[(2, no)],
        );
        check(
            "src/a/x.rs",
            "use crate::{\n a::A,\n b::{self, C as D},\n};",
            &[(3, no), (3, no)],
        );
        check(
            "src/a.rs",
            "// crate::b\nconst X: &str = \"crate::b\";",
            &[],
        );
        check(
            "src/c/x/mod.rs",
            "use crate::c::Y;",
            &[(1, "`c::x` may not import `c`")],
        );
        check("src/c/x/y.rs", "use crate::a::Y; use crate::c::x::Z;", &[]);
    }

    #[test]
    fn super_is_followed_to_where_it_leads() {
        let no = "`a` may not import `b`";
        check("src/a/mod.rs", "use super::b::X;", &[(1, no)]);
        check("src/a/x.rs", "use super::b::X;", &[]);
        check("src/a/x.rs", "use super::super::b::X;", &[(1, no)]);
        check(
            "src/a/x.rs",
            "mod tests {\n use super::super::b::X;\n}",
            &[],
        );
        check(
            "src/a/mod.rs",
            "mod tests {\n use super::super::b::X;\n}",
            &[(2, no)],
        );
        check("src/a/x.rs", "use super::{super::b::X, y};", &[(1, no)]);
    }

    #[test]
    fn a_module_without_a_rule_is_found() {
        check(
            "src/z.rs",
            "",
            &[(1, "`z` has no line in tests/house.rules")],
        );
        check(
            "src/a/x.rs",
            "use crate::z::Z;",
            &[(1, "`z::Z` is in no room of tests/house.rules")],
        );
        check("src/lib.rs", "use crate::z::Z;", &[]);
    }

    #[test]
    fn what_a_pure_room_may_not_hold_is_found() {
        let bad = [
            ("use tokio::net::TcpStream;", "tokio::net::TcpStream"),
            ("use tokio;", "tokio"),
            ("use std::{fmt, net::UdpSocket};", "std::net::UdpSocket"),
            ("use std::net::*;", "std::net::*"),
            ("fn f() { std::fs::read(x) }", "std::fs::read"),
            (
                "use core::time::{Duration}; use std::time::Instant;",
                "std::time::Instant",
            ),
            ("fn f(now: Instant) { Instant::now() }", "Instant::now"),
            ("use getrandom::fill;", "getrandom::fill"),
            ("use foldhash::HashMap;", "HashMap"),
            ("fn f() { wall_millis() }", "wall_millis"),
        ];
        for (source, what) in bad {
            let text = format!("`{what}` in the pure room `p`");
            check("src/p/mod.rs", source, &[(1, &text)]);
            check("src/a/mod.rs", source, &[]);
            let test = format!("mod tests {{\n{source}\n}}");
            check("src/p/mod.rs", &test, &[]);
        }
        let good = "use std::{net::{SocketAddr, IpAddr}, time::Duration, collections::BTreeMap};";
        check("src/p/mod.rs", good, &[]);
    }
}
