//! The stream of events, read line by line
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::io::{self, BufRead, Read as _};

use serde_json::{Map, Value};

use super::{Client, ClientError};

/// Longest line that is taken in.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventJson {
    /// `node-up`, `node-down`, `epoch`, or `lagged` before the end of the stream.
    pub name: String,
    /// What it says.
    pub data: Map<String, Value>,
}

/// Events as they come; ends when the node ends the stream.
#[derive(Debug)]
pub struct Events<R> {
    lines: R,
    is_over: bool,
}

impl Client {
    /// `GET /v1/events`: who is there, then each change of the members, of all or of those that the
    /// node means by its `connect_regex`. Waits for each next one.
    ///
    /// # Errors
    /// [`ClientError`] when it does not begin.
    pub fn events(&self, is_all: bool) -> Result<Events<impl BufRead + use<>>, ClientError> {
        let path = if is_all {
            "/v1/events?all=true"
        } else {
            "/v1/events"
        };
        let body = self.get(path)?.into_body();
        Ok(Events::new(io::BufReader::new(body.into_reader())))
    }
}

impl<R: BufRead> Events<R> {
    const fn new(lines: R) -> Self {
        Self {
            lines,
            is_over: false,
        }
    }

    fn read(&mut self) -> io::Result<Option<EventJson>> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let mut part = self.lines.by_ref().take(LINE_BYTES_MAX);
            if part.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let Some(line) = line.strip_suffix('\n') else {
                let why = "an event is too long, or not whole";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            };
            if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("data: ") {
                value.clone_into(&mut data);
            } else if line.is_empty() && !data.is_empty() {
                let data = serde_json::from_str(&data)?;
                return Ok(Some(EventJson { name, data }));
            }
        }
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = Result<EventJson, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.read() {
            Ok(Some(event)) => Some(Ok(event)),
            Ok(None) => {
                self.is_over = true;
                None
            }
            Err(error) => {
                self.is_over = true;
                let cause = error.to_string();
                Some(Err(ClientError::BrokeOff { cause }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Result<EventJson, ClientError>> {
        Events::new(text.as_bytes()).collect()
    }

    #[test]
    fn events_are_read_and_comments_skipped() {
        let text = ": hello\n\nevent: node-up\ndata: {\"node\":\"a\"}\n\n: keep-alive\n\n\
                    event: epoch\ndata: {}\n\n";
        let events = events(text);
        let names: Vec<_> = events.iter().flatten().map(|event| &*event.name).collect();
        assert_eq!(names, ["node-up", "epoch"]);
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].as_ref().unwrap().data["node"], "a");
    }

    #[test]
    fn what_is_not_whole_or_no_event_is_an_error() {
        let long = format!("data: {}\n\n", "x".repeat(70_000));
        for text in [
            "event: a\ndata: {",
            "data: []\n\n",
            "data: rubbish\n\n",
            &long,
        ] {
            let events = events(text);
            assert_eq!(events.len(), 1, "{text}");
            assert!(matches!(events[0], Err(ClientError::BrokeOff { .. })));
        }
        assert!(events("").is_empty());
    }
}
