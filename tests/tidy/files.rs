//! Files by themselves: their head, their size, where they lie, and what tests may not do.

use std::collections::BTreeSet;

use crate::{Problem, SourceFile};

/// Lines of code that a file may have, its tests aside.
pub(crate) const CODE_LINES_MAX: usize = 500;
/// Lines of code that the median file may have.
pub(crate) const MEDIAN_CODE_LINES_MAX: usize = 250;

const TOP_LEVEL: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "config",
    "fixtures",
    "load-test",
    "tests",
    "README.md",
];

/// A file that does not say at its top what it is for.
pub(crate) fn headless(file: &SourceFile) -> Option<Problem> {
    let first = file.text.lines().find(|line| !line.trim().is_empty());
    let has_head = first.is_some_and(|line| line.starts_with("//!"));
    (!has_head).then(|| file.problem(1, "does not begin with `//!` and what it is for"))
}

/// A file that is too long.
pub(crate) fn too_long(file: &SourceFile) -> Option<Problem> {
    let n_lines = file.n_code_lines();
    let text = format!("{n_lines} lines of code are over the {CODE_LINES_MAX} limit");
    (n_lines > CODE_LINES_MAX && !file.is_test()).then(|| file.problem(CODE_LINES_MAX + 1, text))
}

/// Lines of code of the file in the middle; 0 where there is none.
pub(crate) fn median_code_lines(files: &[SourceFile]) -> usize {
    let files = files.iter().filter(|file| !file.is_test());
    let mut n_lines: Vec<usize> = files.map(SourceFile::n_code_lines).collect();
    n_lines.sort_unstable();
    n_lines.get(n_lines.len() / 2).copied().unwrap_or(0)
}

/// What makes tests slow, silent or blind.
pub(crate) fn bad_test_habits(file: &SourceFile) -> Vec<Problem> {
    let habits: [(&[&str], bool, &str); 4] = [
        (
            &["#", "[", "ignore"],
            false,
            "a test that is ignored proves nothing",
        ),
        (
            &["should_panic"],
            false,
            "check what is said, not that it panics",
        ),
        (&["todo", "!"], false, "an unfinished thing"),
        (
            &["thread", ":", ":", "sleep"],
            true,
            "await the condition instead of sleeping",
        ),
    ];
    let is_in_test = |line: usize| file.is_test() || line > file.n_code_lines();
    let mut problems = Vec::new();
    for (pattern, in_tests_only, text) in habits {
        for window in file.tokens.windows(pattern.len()) {
            let is_it = window
                .iter()
                .map(|token| token.text.as_str())
                .eq(pattern.iter().copied());
            if is_it && (!in_tests_only || is_in_test(window[0].line)) {
                problems.push(file.problem(window[0].line, text));
            }
        }
    }
    problems
}

/// Folders of source without the page that tells what they are. The tests of a file `name.rs` may
/// lie beside it in `name/tests.rs`.
pub(crate) fn folders_without_page(paths: &[&str]) -> Vec<Problem> {
    let folders: BTreeSet<&str> = paths
        .iter()
        .filter(|path| !path.ends_with("/tests.rs"))
        .filter_map(|path| path.rsplit_once('/'))
        .map(|(folder, _)| folder)
        .filter(|folder| folder.starts_with("src/") && !folder.ends_with("/tests"))
        .collect();
    let has_page = |folder: &str| paths.contains(&format!("{folder}/mod.rs").as_str());
    let without = folders.into_iter().filter(|folder| !has_page(folder));
    let problem = |folder: &str| Problem {
        path: folder.to_owned(),
        line: 1,
        text: "a room without its page mod.rs".into(),
    };
    without.map(problem).collect()
}

/// Entries of the top level that do not belong there; `ignored` is the text of `.gitignore`.
pub(crate) fn strangers_at_top(names: &[String], ignored: &str) -> Vec<Problem> {
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let is_known =
        |name: &str| TOP_LEVEL.contains(&name) || name == "LICENSE" || name.starts_with('.');
    let strangers = names
        .iter()
        .filter(|name| !is_known(name) && !is_ignored(name));
    let problem = |name: &String| Problem {
        path: name.clone(),
        line: 1,
        text: "does not belong to the top level".into(),
    };
    strangers.map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_head_is_found() {
        assert!(headless(&SourceFile::new("src/a.rs", "use std::fmt;\n//! late")).is_some());
        assert!(headless(&SourceFile::new("src/a.rs", "")).is_some());
        assert!(headless(&SourceFile::new("src/a.rs", "//! What it is.\n")).is_none());
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let lines = |n_lines: usize| "fn f() {}\n".repeat(n_lines);
        assert!(too_long(&SourceFile::new("src/a.rs", &lines(501))).is_some());
        assert!(too_long(&SourceFile::new("src/a.rs", &lines(500))).is_none());
        let with_tests = format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            lines(400),
            lines(400)
        );
        let file = SourceFile::new("src/a.rs", &with_tests);
        assert_eq!(file.n_code_lines(), 400);
        assert!(too_long(&file).is_none());
        let files = [1, 300, 400].map(|n| SourceFile::new("src/a.rs", &lines(n)));
        assert_eq!(median_code_lines(&files), 300);
    }

    #[test]
    fn bad_habits_are_found_in_code_and_not_in_text() {
        let find = |path: &str, source: &str| bad_test_habits(&SourceFile::new(path, source)).len();
        assert_eq!(find("tests/a.rs", "#[test]\n#[ignore]\nfn f() {}"), 1);
        assert_eq!(find("tests/a.rs", "#[ignore = \"slow\"]"), 1);
        assert_eq!(find("src/a.rs", "#[should_panic(expected = \"x\")]"), 1);
        assert_eq!(find("src/a.rs", "fn f() { todo!() }"), 1);
        assert_eq!(find("tests/a.rs", "std::thread::sleep(x)"), 1);
        assert_eq!(
            find("src/a.rs", "mod tests {\n fn f() { thread::sleep(x) }\n}"),
            1
        );
        assert_eq!(find("src/a.rs", "fn f() { thread::sleep(x) }"), 0);
        assert_eq!(
            find("tests/a.rs", "// todo!\nlet x = \"thread::sleep\";"),
            0
        );
    }

    #[test]
    fn a_room_without_page_is_found() {
        let problems = folders_without_page(&[
            "src/lib.rs",
            "src/a/mod.rs",
            "src/a/x/tests.rs",
            "src/b/x.rs",
        ]);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "src/b");
    }

    #[test]
    fn a_stranger_at_the_top_is_found() {
        let names = ["src", ".git", "LICENSE", "target", "notes.txt"].map(str::to_owned);
        let problems = strangers_at_top(&names, "/target\n");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "notes.txt");
    }
}
