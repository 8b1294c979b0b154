//! The commands that ask a node, from arguments to exit code.

use std::io;

use clap::Args;
use waymesh::{
    api::AnswerError,
    cli::{
        ask::{AskError, finish},
        export::{ExportArgs, export},
        status::{StatusArgs, status},
        track::{TrackArgs, track},
        vehicle::{WhereArgs, locate},
    },
    types::record::Record,
};

use crate::fake::{EXAMPLE, Server, State, VEHICLE, position};

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
        "no position of vehicle 'never' was ever stored\n"
    );
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
    let long = "a".repeat(65);
    let error = parse::<WhereArgs>(&long).unwrap_err().to_string();
    assert!(error.contains("65 bytes"), "{error}");
    let args: StatusArgs = parse("--node ftp://x").unwrap();
    let mut errors = Vec::new();
    assert_eq!(finish(status(&args, &mut Vec::new()), &mut errors), 64);
    assert!(String::from_utf8(errors).unwrap().contains("ftp://x"));
}
