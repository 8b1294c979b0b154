//! HTTP by hand: what is sent and what comes back, byte by byte, so that nothing in between
//! mends what a test breaks.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longer than any test takes; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status in {text:?}")),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|present| present == line)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// An open connection.
pub struct Connection {
    pub socket: TcpStream,
    pub read: String,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        Self {
            socket: TcpStream::connect(address).await.unwrap(),
            read: String::new(),
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    pub async fn get(address: SocketAddr, path: &str) -> Self {
        let mut connection = Self::open(address).await;
        connection
            .send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await;
        connection
    }

    /// Reads until all that was read holds `part`; all that was read.
    pub async fn read_until(&mut self, part: &str) -> &str {
        let mut bytes = [0; 4_096];
        while !self.read.contains(part) {
            let n_bytes = within(self.socket.read(&mut bytes)).await.unwrap();
            assert_ne!(n_bytes, 0, "closed before {part:?}: {:?}", self.read);
            self.read
                .push_str(std::str::from_utf8(&bytes[..n_bytes]).unwrap());
        }
        &self.read
    }

    /// Reads until the other end closes; all that was read.
    pub async fn read_to_end(&mut self) -> &str {
        let mut bytes = Vec::new();
        // An end by reset is an end too.
        within(self.socket.read_to_end(&mut bytes)).await.ok();
        self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        &self.read
    }
}

pub async fn within<F: Future>(future: F) -> F::Output {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.expect("what the test waits for does not come")
}

/// Sends a whole request and reads to the end of the connection.
pub async fn exchange(address: SocketAddr, request: &str) -> Reply {
    let mut connection = Connection::open(address).await;
    connection.send(request).await;
    Reply::parse(connection.read_to_end().await)
}

pub async fn ask(address: SocketAddr, method: &str, path: &str) -> Reply {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    exchange(address, &request).await
}

pub async fn get(address: SocketAddr, path: &str) -> Reply {
    ask(address, "GET", path).await
}

/// Asks for `path` and expects a problem with this status whose detail holds `part`.
pub async fn expect_problem(address: SocketAddr, path: &str, status: u16, part: &str) {
    let reply = get(address, path).await;
    assert_problem(&reply, status, part);
}

#[track_caller]
pub fn assert_problem(reply: &Reply, status: u16, part: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(
        reply.has_header("content-type: application/problem+json"),
        "{reply:?}"
    );
    assert!(reply.has_header("cache-control: no-store"), "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(part), "{part:?} is not in {detail:?}");
}
