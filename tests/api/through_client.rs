//! The client against the server.

use std::io::{BufRead as _, Read as _, Write as _};

use waymesh::{
    api::AnswerError,
    client::{Client, ClientError, ExportFilter, PositionJson, TimeRange},
    types::{
        ids::VehicleId,
        record::{Kind, Record},
    },
};

use crate::fake::{EXAMPLE, Server, State, VEHICLE, position, time};

/// Runs `work` with a client of a server that gives the answers of `state`.
pub async fn with_client<T: Send + 'static>(
    state: State,
    work: impl FnOnce(Client) -> T + Send + 'static,
) -> (Server, T) {
    let server = Server::start(state).await;
    let client = Client::new(&server.url()).unwrap();
    let done = tokio::task::spawn_blocking(move || work(client)).await;
    (server, done.unwrap())
}

fn id(text: &str) -> VehicleId {
    VehicleId::parse(text.as_bytes()).unwrap()
}

fn track_of(n_positions: i64) -> Vec<Record> {
    (0..n_positions).map(|n| position(VEHICLE, n)).collect()
}

#[tokio::test]
async fn a_node_is_asked_about_itself_and_others() {
    let (_server, ()) = with_client(State::default(), |client| {
        assert_eq!(client.status().unwrap()["name"], "alpha");
        assert_eq!(client.nodes().unwrap()["nodes"][1]["name"], "beta");
    })
    .await;
}

#[tokio::test]
async fn a_vehicle_is_found_whatever_its_id() {
    let ids = ["a/b?c#d%20 é+", ".."];
    let records = ids.iter().map(|id| position(id, 0)).collect();
    let (_server, ()) = with_client(State::with_records(records), move |client| {
        for text in ids {
            let answer = client.vehicle(&id(text)).unwrap();
            assert_eq!(answer.position.vehicle, text);
            assert_eq!((&*answer.owner, answer.connected_to), ("alpha", None));
        }
        let error = client.vehicle(&id("never")).unwrap_err();
        assert!(error.is_not_found() && !error.is_retryable());
        assert!(error.to_string().contains("'never'"));
    })
    .await;
}

#[tokio::test]
async fn a_track_is_one_list_whatever_its_pages() {
    let state = State {
        missing: vec!["beta".to_owned()],
        ..State::with_records(track_of(5))
    };
    let (server, ()) = with_client(state, |client| {
        let range = TimeRange {
            from: Some(time(0)),
            to: None,
        };
        let mut positions = client.track(&id(VEHICLE), range, 2);
        let all: Vec<_> = positions
            .by_ref()
            .map(|position| position.unwrap())
            .collect();
        let example: PositionJson = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(all[0], example);
        assert_eq!(all[4].time, time(4).to_string());
        assert!(positions.missing().contains("beta"));
        assert!(positions.next().is_none());
    })
    .await;
    let tracked = server.state.tracked.lock().unwrap();
    assert_eq!(tracked.len(), 3);
    assert!(
        tracked
            .iter()
            .all(|question| question.from == Some(time(0)))
    );
}

#[tokio::test]
async fn vehicles_are_one_list_whatever_its_pages() {
    let records = ["a", "b", "c&d"].map(|id| position(id, 0)).to_vec();
    let (_server, ()) = with_client(State::with_records(records), |client| {
        let vehicles = client.vehicles(1).map(|position| position.unwrap().vehicle);
        assert_eq!(vehicles.collect::<Vec<_>>(), ["a", "b", "c&d"]);
    })
    .await;
}

#[tokio::test]
async fn an_error_ends_a_list() {
    let state = State {
        error: Some(AnswerError::Behind),
        ..State::default()
    };
    let (_server, ()) = with_client(state, |client| {
        let mut vehicles = client.vehicles(1);
        let error = vehicles.next().unwrap().unwrap_err();
        assert!(matches!(error, ClientError::Problem { status: 503, .. }));
        assert!(error.is_retryable());
        assert!(vehicles.next().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_whole_export_ends_without_an_error() {
    let (server, ()) = with_client(State::with_records(track_of(3)), |client| {
        let filter = ExportFilter {
            vehicle: Some(id(VEHICLE)),
            kind: Some(Kind::Event),
            ..ExportFilter::default()
        };
        let lines = client.export(&filter).unwrap().lines();
        let lines: Vec<_> = lines.collect::<Result<_, _>>().unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], EXAMPLE);
    })
    .await;
    let exported = server.state.exported.lock().unwrap();
    assert_eq!(exported[0].kind, Kind::Event);
    assert_eq!(exported[0].vehicle, Some(id(VEHICLE)));
}

#[tokio::test]
async fn an_export_that_breaks_off_ends_with_an_error() {
    for last in [None, Some(Err(AnswerError::Store))] {
        let mut batches = vec![Ok(track_of(2)), Ok(track_of(2))];
        batches.extend(last);
        let state = State {
            batches: Some(batches).into(),
            ..State::default()
        };
        let (_server, ()) = with_client(state, |client| {
            let whole = client
                .export(&ExportFilter::default())
                .map(|lines| lines.lines().collect::<Result<Vec<_>, _>>());
            assert!(!matches!(whole, Ok(Ok(_))), "{whole:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_named_with_a_remedy() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = Client::new(&url).unwrap().status().unwrap_err();
    assert!(matches!(error, ClientError::NotReachable { .. }));
    let text = error.to_string();
    assert!(text.contains(&url) && text.contains("--node"), "{text}");
}

#[test]
fn something_else_than_a_node_is_told_apart() {
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<ok>",
            "not that of a node",
        ),
        (
            "HTTP/1.1 418 Teapot\r\ncontent-length: 4\r\n\r\n<no>",
            "HTTP status 418",
        ),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "not that of a node"),
        ("", "no answer from"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "broke off"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut socket, _) = listener.accept().unwrap();
                let mut bytes = [0; 4_096];
                assert_ne!(socket.read(&mut bytes).unwrap(), 0);
                socket.write_all(answer.as_bytes()).unwrap();
            });
            client.status().unwrap_err()
        });
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
    }
}
