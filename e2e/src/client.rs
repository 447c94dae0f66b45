//! Requests to one server.

use crate::{answer::Answer, tokens::Mint};
use edgewatch_shared::TimestampMs;
use std::{
    io::{Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use ureq::{AsSendBody, SendBody, http};

/// Within which every request is answered, or the test has failed.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);

/// Speaks to one server, and knows its secret. Clones share connections and clock.
#[derive(Clone)]
pub struct Client {
    http: ureq::Agent,
    url: String,
    mint: Mint,
    clock_offset_ms: Arc<AtomicI64>,
}

/// A request to be.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Whole(Vec<u8>),
    Chunked(Vec<u8>),
}

impl Request {
    /// A request without body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Body::None }
    }

    /// `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    /// `POST` with a body that announces its length.
    pub fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Body::Whole(body.into()), ..Self::new("POST", path) }
    }

    /// `PUT` with a body that announces its length.
    pub fn put(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Body::Whole(body.into()), ..Self::new("PUT", path) }
    }

    /// `POST` with a body in chunks, whose length nobody announces.
    pub fn post_chunked(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Body::Chunked(body.into()), ..Self::new("POST", path) }
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a bearer token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        self.with_header("Authorization", format!("Bearer {token}"))
    }
}

impl Client {
    /// A client of the server at `url` whose secret is `secret`.
    pub fn new(url: &str, secret: &str) -> Self {
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIME_MAX))
            .max_redirects(0)
            .proxy(None)
            .build()
            .new_agent();
        let clock_offset_ms = Arc::default();
        Self { http, url: url.to_owned(), mint: Mint::new(secret), clock_offset_ms }
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What makes tokens that the server believes.
    pub fn mint(&self) -> &Mint {
        &self.mint
    }

    /// The server's time: ours, and what a test has put it forward by.
    pub fn now(&self) -> TimestampMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
        let ms =
            i64::try_from(since_epoch.as_millis()).expect("the clock stands before the year 292,000,000");
        TimestampMs(ms + self.clock_offset_ms())
    }

    /// What the server's clock was put forward by.
    pub(crate) fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms.load(Ordering::SeqCst)
    }

    /// Notes that the server's clock was put forward.
    pub(crate) fn note_clock(&self, offset_ms: i64) {
        self.clock_offset_ms.store(offset_ms, Ordering::SeqCst);
    }

    /// Sends a request; whatever the server answers is an answer.
    #[track_caller]
    pub fn send(&self, request: Request) -> Answer {
        let shown = format!("{} {}", request.method, request.path);
        self.try_send(request).unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Sends a request to a server that may be away.
    pub fn try_send(&self, request: Request) -> Result<Answer, ureq::Error> {
        match request.body.clone() {
            Body::None => self.exchange(request, ()),
            Body::Whole(bytes) => self.exchange(request, bytes),
            Body::Chunked(bytes) => self.exchange(request, SendBody::from_owned_reader(Cursor::new(bytes))),
        }
    }

    fn exchange(&self, request: Request, body: impl AsSendBody) -> Result<Answer, ureq::Error> {
        let uri = format!("{}{}", self.url, request.path);
        let builder = http::Request::builder().method(request.method).uri(uri);
        let builder =
            request.headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, value));
        let mut response = self.http.run(builder.body(body)?)?;
        let mut bytes = Vec::new();
        response.body_mut().as_reader().read_to_end(&mut bytes)?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: bytes })
    }
}
