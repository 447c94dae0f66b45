//! Requests to the server: blocking, bounded in time and size, and never to anybody else.

use super::transport::{Transport, explained};
use crate::server_url::ServerUrl;
use std::{
    io::{self, Read},
    time::Duration,
};
use ureq::{
    Agent, Body, SendBody,
    config::AutoHeaderValue,
    http::{HeaderMap, Response, header},
};

/// To connect in, name resolution apart.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For a whole request, its answer included. Reason: a push is a few kB; whoever needs longer is better asked again.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read. Reason: ours are under 10 kB, ten faults included.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Bytes of the buffers of a connection. Reason: they stay allocated between pushes.
const BUFFER_BYTES: usize = 16 << 10;
/// Seconds a connection may idle. Reason: the usual pace and half of it again, so that a TLS handshake serves many pushes.
const IDLE_S_MAX: u64 = 90;

/// No answer: the network, TLS or time is at fault.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct NoAnswer {
    /// What happened.
    pub why: String,
    /// Whether any of the body may have left this host.
    pub has_left: bool,
}

/// An answer, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, where it is a number of seconds.
    pub retry_after_s: Option<u64>,
    /// The first [`ANSWER_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
}

/// Speaks to one server.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: ServerUrl,
    /// The proxy in between, as errors name it.
    proxy: Option<String>,
}

impl Client {
    /// A client of this server, reached this way.
    pub fn new(url: ServerUrl, transport: &Transport) -> Self {
        Self::with_patience(url, transport, REQUEST_MAX)
    }

    fn with_patience(url: ServerUrl, transport: &Transport, request_max: Duration) -> Self {
        let proxy = transport.proxy().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry the token to somebody else.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(request_max))
            .max_idle_age(Duration::from_secs(IDLE_S_MAX))
            .max_idle_connections(1)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .tls_config(transport.tls())
            .proxy(transport.proxy().cloned())
            // Whoever says nothing accepts anything (RFC 9110, section 12.5.1), in fewer bytes a push.
            .accept(AutoHeaderValue::None)
            .user_agent(concat!("edgewatch-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), url, proxy }
    }

    /// The server.
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Sends a body of this media type.
    pub fn post(&self, path: &str, bearer: &str, media_type: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
        let request = self
            .agent
            .post(self.url.join(path))
            .header(header::AUTHORIZATION, format!("Bearer {bearer}"))
            .header(header::CONTENT_TYPE, media_type)
            .header(header::CONTENT_LENGTH, body.len());
        let mut body = Watched { body, has_left: false };
        let result = request.send(SendBody::from_reader(&mut body));
        self.answer(result, body.has_left)
    }

    /// Asks for a page that needs no token.
    pub fn get(&self, path: &str) -> Result<Answer, NoAnswer> {
        self.answer(self.agent.get(self.url.join(path)).call(), false)
    }

    fn answer(
        &self,
        result: Result<Response<Body>, ureq::Error>,
        has_left: bool,
    ) -> Result<Answer, NoAnswer> {
        let mut response = result.map_err(|error| {
            let through = self.proxy.as_ref().map(|proxy| format!(" (through the proxy {proxy})"));
            let why = format!("{}{}", explained(&error), through.unwrap_or_default());
            NoAnswer { why, has_left }
        })?;
        let mut body = Vec::new();
        response
            .body_mut()
            .as_reader()
            .take(ANSWER_BYTES_MAX)
            .read_to_end(&mut body)
            .map_err(|error| NoAnswer { why: error.to_string(), has_left })?;
        let retry_after_s = retry_after_s(response.headers());
        Ok(Answer { status: response.status().as_u16(), retry_after_s, body })
    }
}

/// A body that knows whether it was asked for: nobody asks before there is a connection and the request's head is sent.
struct Watched<'a> {
    body: &'a [u8],
    has_left: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_left = true;
        self.body.read(buffer)
    }
}

fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        iter,
        net::{TcpListener, TcpStream},
        thread,
    };

    /// A client of this address that is patient for so long.
    fn client(address: impl std::fmt::Display, patience: Duration) -> Client {
        let url = ServerUrl::parse(&format!("http://{address}"), true).unwrap();
        Client::with_patience(url, &Transport::direct(), patience)
    }

    /// What comes of a request, of whose connection this becomes.
    fn asked(patience: Duration, serve: fn(TcpStream)) -> Result<Answer, NoAnswer> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(listener.local_addr().unwrap(), patience);
        thread::spawn(move || serve(listener.accept().unwrap().0));
        client.post("/", "t", "text/plain", b"body")
    }

    /// Answers with this head and these pieces, until the client is gone.
    fn answer(mut stream: TcpStream, head: &str, pieces: impl Iterator<Item = Vec<u8>>) {
        let _asked = stream.read(&mut [0; 4_096]).unwrap();
        stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).unwrap();
        for piece in pieces {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    }

    const SHORT: Duration = Duration::from_secs(1);
    const MAX: usize = ANSWER_BYTES_MAX as usize;

    #[test]
    fn a_request_has_30_s_of_which_10_to_connect_and_goes_to_nobody_else() {
        let url = ServerUrl::parse("https://watch.example", false).unwrap();
        let client = Client::new(url, &Transport::direct());
        let config = client.agent.config();
        let timeouts = config.timeouts();
        assert_eq!((timeouts.global, timeouts.connect), (Some(REQUEST_MAX), Some(CONNECT_MAX)));
        assert_eq!((REQUEST_MAX.as_secs(), CONNECT_MAX.as_secs()), (30, 10));
        assert_eq!((config.max_redirects(), config.max_idle_connections()), (0, 1));
    }

    #[test]
    fn of_an_answer_the_first_64_kib_are_read_and_of_an_endless_one_too() {
        for (head, pieces) in [
            ("200 OK\r\nContent-Length: 65535", MAX - 1),
            ("200 OK\r\nContent-Length: 65536", MAX),
            ("200 OK\r\nContent-Length: 65537", MAX + 1),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = client(listener.local_addr().unwrap(), REQUEST_MAX);
            let body = iter::once(vec![b'a'; pieces]);
            thread::spawn(move || answer(listener.accept().unwrap().0, head, body));
            assert_eq!(client.get("/").unwrap().body.len(), pieces.min(MAX), "{head}");
        }
        let endless = asked(REQUEST_MAX, |stream| {
            let head = "503 Away\r\nRetry-After: 7\r\nTransfer-Encoding: chunked";
            answer(stream, head, iter::repeat_with(|| b"4\r\nabcd\r\n".repeat(1_000)));
        });
        let endless = endless.unwrap();
        assert_eq!((endless.status, endless.retry_after_s, endless.body.len()), (503, Some(7), MAX));
    }

    #[test]
    fn who_does_not_answer_in_time_however_little_by_little_is_given_up() {
        let slow: fn(TcpStream) = |stream| {
            let pieces = iter::repeat_with(|| {
                thread::sleep(Duration::from_millis(20));
                b"1\r\na\r\n".to_vec()
            });
            answer(stream, "200 OK\r\nTransfer-Encoding: chunked", pieces);
        };
        let silent: fn(TcpStream) = |stream| {
            // Until the client is gone.
            let _rest = io::copy(&mut &stream, &mut io::sink());
        };
        let cut: fn(TcpStream) =
            |stream| answer(stream, "200 OK\r\nContent-Length: 9", iter::once(b"cut".to_vec()));
        for serve in [slow, silent, cut] {
            let no_answer = asked(SHORT, serve).unwrap_err();
            assert!(no_answer.has_left, "it may have arrived: {no_answer}");
        }
    }

    #[test]
    fn what_finds_no_connection_has_not_left() {
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        for address in [refused.as_str(), "watch.invalid"] {
            let no_answer = client(address, REQUEST_MAX).post("/", "t", "text/plain", b"body").unwrap_err();
            assert!(!no_answer.has_left, "{no_answer}");
        }
    }
}
