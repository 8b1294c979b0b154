//! The commands that ask a node, from arguments to exit code.

use std::{
    io,
    sync::{Arc, Mutex},
};

use clap::Args;
use waymesh::{
    api::AnswerError,
    cli::{
        ask::{AskError, finish},
        discovery::{DiscoveryArgs, discovery},
        export::{ExportArgs, export},
        forget::{ForgetArgs, forget},
        nodes::{NodesArgs, nodes},
        ping::{PingArgs, ping},
        status::{StatusArgs, status},
        track::{TrackArgs, track},
        vehicle::{WhereArgs, locate},
    },
    config::Paint,
    types::record::Record,
};

use crate::{
    fake::{EXAMPLE, Server, State, VEHICLE, position, up},
    http::within,
};

type Command<A> = fn(&A, &mut dyn io::Write) -> Result<(), AskError>;

struct Run {
    code: u8,
    out: String,
    errors: String,
}

fn parse<A: Args>(words: &str) -> Result<A, clap::Error> {
    let command = A::augment_args(clap::Command::new("test").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(words.split_whitespace())?)
}

async fn run<A>(state: State, words: &str, command: Command<A>) -> Run
where
    A: Args + Send + 'static,
{
    let server = Server::start(state).await;
    let args: A = parse(&format!("{words} --node {}", server.url())).unwrap();
    tokio::task::spawn_blocking(move || {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let code = finish(command(&args, &mut out), &mut errors);
        Run {
            code,
            out: String::from_utf8(out).unwrap(),
            errors: String::from_utf8(errors).unwrap(),
        }
    })
    .await
    .unwrap()
}

fn records() -> Vec<Record> {
    (0..3).map(|n| position(VEHICLE, n)).collect()
}

#[tokio::test]
async fn status_is_a_table_for_people() {
    let run = run::<StatusArgs>(State::default(), "", status).await;
    assert_eq!((run.code, &*run.errors), (0, ""));
    for line in [
        "name            alpha",
        "ready           yes",
        "members         1 up, 1 down; epoch 000000000000001f",
        "shards          4096 of 8192 (50.0 %); 2 nodes own 50.0 to 50.0 % each",
        "uptime          1 min 5 s",
        "vehicles        127.0.0.1:5000",
        "connections     2",
        "lines received  17",
    ] {
        assert!(
            run.out.lines().any(|l| l == line),
            "{line:?} in\n{}",
            run.out
        );
    }
}

#[tokio::test]
async fn status_names_what_a_node_waits_for() {
    let state = State {
        conditions: vec![("store", false)],
        ..State::default()
    };
    let run = run::<StatusArgs>(state, "", status).await;
    assert_eq!(run.code, 0);
    assert!(run.out.contains("no, waiting for store"), "{}", run.out);
}

#[tokio::test]
async fn status_is_the_nodes_json_for_programs() {
    let run = run::<StatusArgs>(State::default(), "--json", status).await;
    assert!(
        run.out.starts_with(r#"{"name":"alpha","id":"#),
        "{}",
        run.out
    );
    assert_eq!(run.out.lines().count(), 1);
}

#[tokio::test]
async fn status_says_when_the_members_are_not_known() {
    let state = State {
        error: Some(AnswerError::NoCluster),
        ..State::default()
    };
    let run = run::<StatusArgs>(state, "", status).await;
    assert_eq!(run.code, 0);
    assert!(
        run.out
            .contains("members         not known: the cluster is not there")
    );
}

#[tokio::test]
async fn nodes_are_a_table_for_people_and_the_nodes_json_for_programs() {
    let run = run::<NodesArgs>(State::default(), "", list_nodes).await;
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!((run.code, lines.len()), (0, 3), "{}", run.out);
    assert!(lines[1].starts_with("alpha  up"), "{}", run.out);
    assert!(lines[2].starts_with("beta   down (silent)"), "{}", run.out);
    let json = self::run::<NodesArgs>(State::default(), "--json", list_nodes).await;
    assert!(
        json.out.starts_with(r#"{"self":"alpha","epoch":"#),
        "{}",
        json.out
    );
}

#[tokio::test]
async fn nodes_are_followed_until_the_node_ends_it() {
    for (words, present, joined) in [
        (
            "--follow",
            "2026-11-20T09:05:01.000Z  node-up    alpha  present",
            "2026-11-20T09:05:01.000Z  node-up    beta  joined",
        ),
        (
            "--follow --json --all",
            r#"{"event":"node-up","at":"2026-11-20T09:05:01.000Z","id":"0000000000000abc""#,
            r#""node":"beta","reason":"joined"}"#,
        ),
    ] {
        let state = State::default();
        let changes = state.changes.clone();
        let server = Server::start(state).await;
        let args: NodesArgs = parse(&format!("{words} --node {}", server.url())).unwrap();
        let (mut out, reader) = shared();
        let following = tokio::task::spawn_blocking(move || {
            let mut errors = Vec::new();
            let code = finish(list_nodes(&args, &mut out), &mut errors);
            (code, String::from_utf8(errors).unwrap())
        });
        within(reader.holds("alpha")).await;
        changes.send(up("beta", "joined")).unwrap();
        within(reader.holds("joined")).await;
        server.shutdown.cancel();
        let (code, errors) = within(following).await.unwrap();
        let out = reader.text();
        assert_eq!(code, 1);
        assert!(errors.contains("the node ended it"), "{errors}");
        assert!(out.contains(present) && out.contains(joined), "{out}");
        assert_eq!(out.contains("hidden"), words.contains("--all"), "{out}");
    }
}

#[tokio::test]
async fn discovery_is_shown_with_hints_and_ordered_about() {
    let run = run::<DiscoveryArgs>(State::default(), "", show_discovery).await;
    assert_eq!((run.code, &*run.errors), (0, ""));
    for part in [
        "resting: ",
        "eth0       multicast  open   10.0.0.7",
        "10.0.0.8:50337  beta  1.0 s ago  wrong secret",
        "hint: wrong secret: beta has another secret",
        "hint: refused: gate-1:5001 cannot be linked",
    ] {
        assert!(run.out.contains(part), "{part:?} in\n{}", run.out);
    }
    for (words, printed) in [
        ("pause", "the search is paused\n"),
        ("resume", "the search goes on\n"),
        (
            "dial gate-1",
            "dialling gate-1:5001; `waymesh discovery` shows",
        ),
        (
            "dial [::1]:7 --json",
            r#"{"address":"[::1]:7","verdict":"dialling"}"#,
        ),
        ("pause --json", r#"{"phase":"paused"}"#),
        (
            "show --json",
            r#"{"phase":"resting","places":[{"interface":"eth0""#,
        ),
    ] {
        let run = self::run::<DiscoveryArgs>(State::default(), words, show_discovery).await;
        assert_eq!(run.code, 0, "{}", run.errors);
        assert!(run.out.starts_with(printed), "{}", run.out);
    }
}

#[tokio::test]
async fn a_node_is_pinged_and_forgotten() {
    let run = run::<PingArgs>(State::default(), "gate/1", ping).await;
    assert_eq!((run.code, &*run.out), (0, "gate/1  1.235 ms\n"));
    let several = self::run::<PingArgs>(State::default(), "b --count 3", ping).await;
    assert_eq!(several.out.lines().count(), 4);
    assert!(
        several
            .out
            .ends_with("3 times: least 1.235, mean 1.235, most 1.235 ms\n")
    );
    let json = self::run::<PingArgs>(State::default(), "b --count 2 --json", ping).await;
    assert_eq!(json.out, "{\"node\":\"b\",\"rtt_ms\":1.235}\n".repeat(2));
    let forgot = self::run::<ForgetArgs>(State::default(), "b", forget).await;
    assert_eq!((forgot.code, &*forgot.out), (0, "forgot b\n"));
    let json = self::run::<ForgetArgs>(State::default(), "b --json", forget).await;
    assert_eq!(json.out, "{\"forgotten\":\"b\"}\n");
}

#[tokio::test]
async fn what_a_node_cannot_do_for_another_is_exit_code_1() {
    let state = || State {
        error: Some(AnswerError::NotAway("b".to_owned())),
        ..State::default()
    };
    let forgot = run::<ForgetArgs>(state(), "b", forget).await;
    assert_eq!((forgot.code, &*forgot.out), (1, ""));
    assert_eq!(
        forgot.errors,
        "'b' is not away; stop it first, then it can be struck off\n"
    );
    assert_eq!(run::<PingArgs>(state(), "b", ping).await.code, 1);
    assert_eq!(run::<NodesArgs>(state(), "", list_nodes).await.code, 1);
    let shown = run::<DiscoveryArgs>(state(), "", show_discovery).await;
    assert_eq!(shown.code, 1);
}

/// What a command has written so far, for a reader beside it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

fn shared() -> (Shared, Shared) {
    let shared = Shared::default();
    (shared.clone(), shared)
}

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn holds(&self, part: &str) {
        while !self.text().contains(part) {
            tokio::task::yield_now().await;
        }
    }
}

fn list_nodes(args: &NodesArgs, out: &mut dyn io::Write) -> Result<(), AskError> {
    nodes(args, Paint::Plain, out)
}

fn show_discovery(args: &DiscoveryArgs, out: &mut dyn io::Write) -> Result<(), AskError> {
    discovery(args, Paint::Plain, out)
}

#[tokio::test]
async fn where_is_one_line() {
    let words = VEHICLE;
    let run = run::<WhereArgs>(State::with_records(records()), words, locate).await;
    assert_eq!(run.code, 0);
    let begin = "2026-11-20T09:05:03.000Z  59.43720 24.75350  42.5 km/h  ";
    assert!(run.out.starts_with(begin), "{}", run.out);
    assert!(run.out.ends_with("  owner alpha\n"), "{}", run.out);
}

#[tokio::test]
async fn where_is_the_nodes_json_for_programs() {
    let words = format!("{VEHICLE} --json");
    let state = State::with_records(vec![position(VEHICLE, 0)]);
    let run = run::<WhereArgs>(state, &words, locate).await;
    assert!(run.out.contains(EXAMPLE), "{}", run.out);
}

#[tokio::test]
async fn a_vehicle_never_seen_is_exit_code_1() {
    let run = run::<WhereArgs>(State::default(), "never", locate).await;
    assert_eq!((run.code, &*run.out), (1, ""));
    assert_eq!(
        run.errors,
        "no position of vehicle 'never' is stored that counts as its last; fixes more than a day in \
         the future, if there are any, are in its track and in the export only\n"
    );
}

#[tokio::test]
async fn a_track_of_a_vehicle_never_seen_is_exit_code_1_and_an_empty_part_of_time_is_none() {
    for words in ["never", "never --json", "never --limit 2"] {
        let run = run::<TrackArgs>(State::default(), words, track).await;
        assert_eq!((run.code, &*run.out), (1, ""), "{words}");
        assert_eq!(run.errors, "no position of vehicle 'never' is stored\n");
    }
    for words in ["--from 2026-01-01T00:00:00Z", "--to 2026-01-01T00:00:00Z"] {
        let words = format!("never {words}");
        let run = run::<TrackArgs>(State::default(), &words, track).await;
        assert_eq!((run.code, &*run.out, &*run.errors), (0, "", ""), "{words}");
    }
}

/// What `beta` has is not in the answer: it is given all the same, and the exit code says so.
#[tokio::test]
async fn an_answer_that_nodes_are_missing_from_is_printed_and_exit_code_3() {
    let state = || State {
        missing: vec!["beta".to_owned()],
        ..State::with_records(records())
    };
    let partial = "--partial";
    let runs = [
        (run::<WhereArgs>(state(), VEHICLE, locate).await, 1),
        (
            run::<WhereArgs>(state(), &format!("{VEHICLE} --json"), locate).await,
            1,
        ),
        (
            run::<TrackArgs>(state(), &format!("{VEHICLE} --json"), track).await,
            3,
        ),
        (run::<ExportArgs>(state(), partial, export).await, 3),
    ];
    for (run, n_lines) in runs {
        assert_eq!(
            (run.code, run.out.lines().count()),
            (3, n_lines),
            "{}",
            run.errors
        );
        assert!(
            run.errors.starts_with("not asked: beta; "),
            "{}",
            run.errors
        );
        assert_eq!(run.errors.lines().count(), 1, "{}", run.errors);
    }
    let refused = run::<ExportArgs>(state(), "", export).await;
    assert_eq!((refused.code, &*refused.out), (1, ""));
    assert!(refused.errors.contains("beta"), "{}", refused.errors);
}

#[tokio::test]
async fn a_track_is_an_aligned_table() {
    let run = run::<TrackArgs>(State::with_records(records()), VEHICLE, track).await;
    let lines: Vec<_> = run.out.lines().collect();
    assert_eq!((run.code, lines.len()), (0, 4));
    assert!(lines[0].starts_with("TIME"));
    assert!(lines[3].starts_with("2026-11-20T09:05:03.000Z   59.437200    24.753500    42.5"));
    assert_eq!(lines[0].find("LATE"), lines[1].rfind("no"));
}

#[tokio::test]
async fn a_track_is_an_object_a_line_for_programs_and_has_a_limit() {
    let words = format!("{VEHICLE} --json --limit 2");
    let run = run::<TrackArgs>(State::with_records(records()), &words, track).await;
    assert_eq!(run.out.lines().next(), Some(EXAMPLE));
    assert_eq!(run.out.lines().count(), 2);
}

#[tokio::test]
async fn an_export_is_copied_line_by_line() {
    let run = run::<ExportArgs>(State::with_records(records()), "", export).await;
    assert_eq!((run.code, run.out.lines().count()), (0, 3));
    assert_eq!(run.out.lines().next(), Some(EXAMPLE));
}

#[tokio::test]
async fn an_export_that_breaks_off_is_exit_code_1() {
    let state = State {
        batches: Some(vec![Ok(records()), Err(AnswerError::Store)]).into(),
        ..State::default()
    };
    let run = run::<ExportArgs>(state, "", export).await;
    assert_eq!(run.code, 1);
    assert_eq!(run.errors.lines().count(), 1, "{}", run.errors);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_a_quiet_end() {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = Server::start(State::with_records(records())).await;
    let words = format!("--node {} --json", server.url());
    let done = tokio::task::spawn_blocking(move || {
        let mut errors = Vec::new();
        let exported = export(&parse(&words).unwrap(), &mut Closed);
        let tracked = track(&parse(&format!("{VEHICLE} {words}")).unwrap(), &mut Closed);
        let codes = [finish(exported, &mut errors), finish(tracked, &mut errors)];
        (codes, errors)
    });
    assert_eq!(done.await.unwrap(), ([0, 0], Vec::new()));
}

#[test]
fn wrong_arguments_are_told() {
    for (words, part) in [
        ("1 --from yesterday", "RFC 3339"),
        ("1 --limit 0", "0 is not in 1.."),
        ("", "<VEHICLE>"),
    ] {
        let error = parse::<TrackArgs>(words).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for words in ["", &"a".repeat(65), "b --count 0"] {
        assert!(parse::<PingArgs>(words).is_err(), "{words}");
    }
    assert!(parse::<DiscoveryArgs>("dial 0.0.0.0").is_err());
    assert!(parse::<DiscoveryArgs>("dance").is_err());
    let long = "a".repeat(65);
    let error = parse::<WhereArgs>(&long).unwrap_err().to_string();
    assert!(error.contains("65 bytes"), "{error}");
    let args: StatusArgs = parse("--node ftp://x").unwrap();
    let mut errors = Vec::new();
    assert_eq!(finish(status(&args, &mut Vec::new()), &mut errors), 64);
    assert!(String::from_utf8(errors).unwrap().contains("ftp://x"));
}
