//! Requests to the server: blocking, bounded in time and size, and never to anybody else.

use crate::server_url::ServerUrl;
use std::{io::Read, time::Duration};
use ureq::{
    Agent, Body, Proxy,
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
#[error("{0}")]
pub struct NoAnswer(String);

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
}

impl Client {
    /// A client of this server. A proxy named by the environment is used, unless the server is this machine.
    pub fn new(url: ServerUrl) -> Self {
        let proxy = if url.is_loopback() { None } else { Proxy::try_from_env() };
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
            .proxy(proxy)
            // Whoever says nothing accepts anything (RFC 9110, section 12.5.1), in fewer bytes a push.
            .accept(AutoHeaderValue::None)
            .user_agent(concat!("edgewatch-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), url }
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
            .header(header::CONTENT_TYPE, media_type);
        answer(request.send(body))
    }

    /// Asks for a page that needs no token.
    pub fn get(&self, path: &str) -> Result<Answer, NoAnswer> {
        answer(self.agent.get(self.url.join(path)).call())
    }
}

fn answer(result: Result<Response<Body>, ureq::Error>) -> Result<Answer, NoAnswer> {
    let no_answer = |error: &dyn std::fmt::Display| NoAnswer(error.to_string());
    let mut response = result.map_err(|error| no_answer(&error))?;
    let mut body = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut body)
        .map_err(|error| no_answer(&error))?;
    Ok(Answer { status: response.status().as_u16(), retry_after_s: retry_after_s(response.headers()), body })
}

fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}
