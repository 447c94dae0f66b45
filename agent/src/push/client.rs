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

/// Seconds to connect in, name resolution apart.
const CONNECT_S_MAX: u64 = 10;
/// Seconds for a whole request. Reason: a push is a few kB; whoever needs longer is better asked again.
const REQUEST_S_MAX: u64 = 30;
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
        let proxy = transport.proxy().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry the token to somebody else.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(CONNECT_S_MAX)))
            .timeout_global(Some(Duration::from_secs(REQUEST_S_MAX)))
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
