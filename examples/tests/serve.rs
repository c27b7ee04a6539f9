//! Tests the web service over a real socket.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

/// The service on a free port; ends with the test.
struct Service {
    process: Child,
    address: String,
}

impl Service {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
        let mut process = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().to_owned();
        Self { process, address }
    }

    /// Sends a request; the caller reads the answer's head and body.
    fn ask(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let mut socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        BufReader::new(socket)
    }

    fn generate(&self, question: &Value) -> String {
        let mut answer = String::new();
        let mut socket = self.ask("POST", "/generate", &question.to_string());
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Requests that run, and those that were cancelled.
    fn counts(&self) -> (u64, u64) {
        let mut answer = String::new();
        self.ask("GET", "/running", "").read_to_string(&mut answer).unwrap();
        let counts: Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
        (counts["running"].as_u64().unwrap(), counts["cancelled"].as_u64().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Fails only if the service has ended, which the test itself has reported.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns names and data of the events in an answer.
fn events(answer: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let mut name = String::new();
    for line in answer.lines() {
        if let Some(found) = line.strip_prefix("event: ") {
            found.clone_into(&mut name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    events
}

#[test]
fn text_is_streamed_in_pieces_and_the_usage_comes_last() {
    let service = Service::start();
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 8}, "magic": {"type": "boolean"}},
        "required": ["name", "magic"],
        "additionalProperties": false,
    });
    let question = json!({"prompt": "Describe a wizard.", "schema": schema, "max_tokens": 60});
    let answer = service.generate(&question);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut events = events(&answer);
    let (name, usage) = events.pop().unwrap();
    assert!(name == "usage" && usage["completion_tokens"].as_u64().unwrap() > 5, "{answer}");
    assert_eq!(events.pop().unwrap().0, "end");
    assert!(events.len() > 2 && events.iter().all(|(name, _)| name == "text"), "{answer}");
    let text: String = events.iter().map(|(_, piece)| piece.as_str().unwrap()).collect();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(value["name"].is_string() && value["magic"].is_boolean(), "{value}");
}

#[test]
fn a_request_that_cannot_run_is_refused_with_the_reason() {
    let service = Service::start();
    let question = json!({"prompt": "x", "schema": {"type": 5}, "max_tokens": 9});
    let answer = service.generate(&question);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("type"), "{answer}");
}

/// The answer would take thousands of tokens; the client disconnects long before.
#[test]
fn a_client_that_goes_away_cancels_its_request() {
    let service = Service::start();
    let line = json!({"type": "string", "minLength": 20});
    let schema = json!({"type": "array", "minItems": 300, "items": line});
    let question = json!({"prompt": "Tell a story.", "schema": schema, "max_tokens": 4000});
    let mut socket = service.ask("POST", "/generate", &question.to_string());
    let first = socket.by_ref().lines().map(Result::unwrap).find(|it| it.starts_with("data: "));
    assert!(first.is_some());
    assert_eq!(service.counts(), (1, 0));
    drop(socket);
    let counts = loop {
        let counts = service.counts();
        if counts.0 == 0 {
            break counts;
        }
    };
    assert_eq!(counts, (0, 1));
}
