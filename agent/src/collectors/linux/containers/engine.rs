//! Docker or Podman, asked for the names and the health of their containers.

use crate::collectors::{
    CollectError,
    linux::patient::{self, ASK_EVERY_MS, Answer, Patient},
};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};

/// Bytes of an engine's answer. Reason: a kilobyte or two a container.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How long an engine may take to answer. Reason: Podman's is started by the question.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an engine knows of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Whether it passes its health check, if it has one.
    pub is_healthy: Option<bool>,
}

type List = BTreeMap<String, Known>;

/// An engine and what it said last.
pub struct Engine {
    socket: String,
    patient: Patient<List>,
    asked_ms: Option<i64>,
    /// The containers that there were when it was asked, sorted.
    seen: Vec<String>,
    list: List,
    result: Result<(), CollectError>,
}

impl Engine {
    /// The one behind this socket.
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_string_lossy().into_owned(),
            patient: Patient::with_patience(ask, PATIENCE),
            asked_ms: None,
            seen: Vec::new(),
            list: List::new(),
            result: Ok(()),
        }
    }

    /// What is known of a container.
    pub fn known(&self, id: &str) -> Option<&Known> {
        self.list.get(id)
    }

    /// Asks now and then, and when there are containers, sorted, that were not there when it was asked, unless the engine failed lately. Without an answer names stay what
    /// they were.
    pub fn ask_if_due<'a>(
        &mut self,
        now_ms: i64,
        mut containers: impl Iterator<Item = &'a String> + Clone,
    ) -> Result<(), CollectError> {
        let is_due = self.asked_ms.is_none_or(|asked_ms| now_ms.saturating_sub(asked_ms) >= ASK_EVERY_MS);
        let all = containers.clone();
        if is_due || (self.result.is_ok() && containers.any(|id| self.seen.binary_search(id).is_err())) {
            self.asked_ms = Some(now_ms);
            self.seen = all.cloned().collect();
            self.result = self.patient.ask_one(&self.socket).map(|list| self.list = list);
            if self.result.is_err() {
                self.list.values_mut().for_each(|known| known.is_healthy = None);
            }
        }
        self.result.clone()
    }
}

/// Asks the engine for its running containers, by id. What a status says of health is Docker's own; both know the filter.
fn ask(socket: &str) -> Answer<List> {
    let mut list = get(socket, "")?;
    for (is_healthy, query) in [
        (true, "?filters=%7B%22health%22%3A%5B%22healthy%22%5D%7D"),
        (false, "?filters=%7B%22health%22%3A%5B%22unhealthy%22%5D%7D"),
    ] {
        for id in get(socket, query)?.keys() {
            if let Some(known) = list.get_mut(id) {
                known.is_healthy = Some(is_healthy);
            }
        }
    }
    Ok(list)
}

/// Only ever this one GET.
fn get(socket: &str, query: &str) -> Answer<List> {
    let fault = |why: &dyn std::fmt::Display| CollectError::unreadable(socket, why);
    let answer = || {
        let mut stream = patient::connect(Path::new(socket))?;
        // HTTP 1.0 asks for an answer in one piece that ends with the connection.
        stream
            .write_all(format!("GET /containers/json{query} HTTP/1.0\r\nHost: engine\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        io::Result::Ok(answer)
    };
    let answer = answer().map_err(|error| fault(&error))?;
    parse(&answer).ok_or_else(|| fault(&"the answer is no list of containers"))
}

/// Reads an answer to `GET /containers/json`, which Docker and Podman both know.
fn parse(answer: &[u8]) -> Option<List> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (answer.get(..end)?, answer.get(end + 4..)?);
    let status = std::str::from_utf8(head).ok()?.split(' ').nth(1)?;
    let list: Vec<Listed> = (status == "200").then(|| serde_json::from_slice(body).ok())??;
    let mut known = List::new();
    for Listed { id, names } in list {
        let name = names.first().map_or("", |name| name.trim_start_matches('/')).to_owned();
        if !name.is_empty() {
            known.insert(id, Known { name, is_healthy: None });
        }
    }
    Some(known)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::collectors::linux::patient::tests::{LONG, stuck_socket};
    use std::{
        io::{BufRead, BufReader},
        os::unix::net::UnixListener,
        thread::{self, JoinHandle},
    };

    /// Answers as many questions, each with the list that `answer` makes of its path; tells what was asked for.
    pub fn fake_engine(
        socket: &Path,
        questions: usize,
        answer: fn(&str) -> String,
    ) -> JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(socket).unwrap();
        thread::spawn(move || {
            let asked = |_| {
                let mut stream = BufReader::new(listener.accept().unwrap().0);
                let mut lines = Vec::new();
                while lines.last().is_none_or(|line| line != "\r\n") {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    lines.push(line);
                }
                let path = lines[0].strip_prefix("GET ").unwrap().strip_suffix(" HTTP/1.0\r\n").unwrap();
                let head = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n";
                stream.get_mut().write_all(format!("{head}{}", answer(path)).as_bytes()).unwrap();
                path.to_owned()
            };
            (0..questions).map(asked).collect()
        })
    }

    /// An engine that is waited for.
    pub fn patient_engine(socket: &Path) -> Engine {
        Engine { patient: Patient::with_patience(ask, LONG), ..Engine::new(socket) }
    }

    fn ask_if_due(engine: &mut Engine, now_ms: i64, ids: &[&str]) -> Result<(), CollectError> {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        engine.ask_if_due(now_ms, ids.iter())
    }

    fn told(engine: &Engine, id: &str) -> Option<(String, Option<bool>)> {
        engine.known(id).map(|known| (known.name.clone(), known.is_healthy))
    }

    /// As Podman 4.3 answers, shortened: its status says nothing of health.
    fn podman(path: &str) -> String {
        let container =
            |id: &str, name: &str| format!(r#"{{"Id":"{id}","Names":["/{name}"],"Status":"Up 3 hours"}}"#);
        let (web, db) = (container("a", "web"), container("b", "db"));
        match path {
            "/containers/json" => format!("[{web},{db},{}]", container("c", "cron")),
            "/containers/json?filters=%7B%22health%22%3A%5B%22healthy%22%5D%7D" => format!("[{web}]"),
            "/containers/json?filters=%7B%22health%22%3A%5B%22unhealthy%22%5D%7D" => format!("[{db}]"),
            _ => String::new(),
        }
    }

    #[test]
    fn health_is_asked_for_where_the_status_does_not_tell() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine");
        let asked = fake_engine(&socket, 3, podman);
        let mut engine = patient_engine(&socket);
        ask_if_due(&mut engine, 0, &["a", "b", "c"]).unwrap();
        for (id, name, is_healthy) in
            [("a", "web", Some(true)), ("b", "db", Some(false)), ("c", "cron", None)]
        {
            assert_eq!(told(&engine, id), Some((name.to_owned(), is_healthy)), "{id}");
        }
        assert!(asked.join().unwrap().iter().all(|path| path.starts_with("/containers/json")));
    }

    #[test]
    fn an_engine_is_asked_now_and_then_and_when_containers_have_come() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine");
        let asked = fake_engine(&socket, 3 * 3, |_| "[]".to_owned());
        let mut engine = patient_engine(&socket);
        for (now_ms, containers) in [
            (0, &["a"][..]),
            (1, &["a"]),
            (2, &["a", "b"]),
            (3, &["b"]),
            (2 + ASK_EVERY_MS - 1, &["a"]),
            (2 + ASK_EVERY_MS, &["a"]),
        ] {
            ask_if_due(&mut engine, now_ms, containers).unwrap();
        }
        assert_eq!(asked.join().unwrap().len(), 9);
    }

    #[test]
    fn names_stay_when_the_engine_goes_and_health_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine");
        let asked = fake_engine(&socket, 3, podman);
        let mut engine = patient_engine(&socket);
        ask_if_due(&mut engine, 0, &["a"]).unwrap();
        asked.join().unwrap();
        for now_ms in [ASK_EVERY_MS, ASK_EVERY_MS + 1] {
            assert!(ask_if_due(&mut engine, now_ms, &["a"]).is_err(), "{now_ms}");
            assert_eq!(told(&engine, "a"), Some(("web".to_owned(), None)));
        }
    }

    #[test]
    fn an_engine_that_accepts_nobody_costs_a_moment_and_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("engine");
        let _stuck = stuck_socket(&socket);
        let mut engine = patient_engine(&socket);
        engine.patient = Patient::with_patience(ask, Duration::from_millis(1));
        let mut error =
            |now_ms, container| ask_if_due(&mut engine, now_ms, &[container]).unwrap_err().to_string();
        for (now_ms, container) in [(0, "a"), (1, "b"), (ASK_EVERY_MS - 1, "c")] {
            assert!(error(now_ms, container).contains("does not answer"), "{now_ms}");
        }
        assert!(error(ASK_EVERY_MS, "c").contains("not been answered yet"));
    }

    #[test]
    fn damage_is_no_list() {
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\n[]").unwrap().len(), 0);
        for bad in ["", "HTTP/1.0 200 OK\r\n\r\n{}", "HTTP/1.0 500 Oh\r\n\r\n[]", "\r\n\r\n[]"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
