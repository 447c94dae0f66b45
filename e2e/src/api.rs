//! The API as a well-behaved client uses it: each call succeeds, or the test has failed.

use crate::{
    answer::Answer,
    client::{Client, Request},
    samples,
    self_metrics::Scrape,
};
use edgewatch_shared::{
    TimestampMs,
    token::Scope,
    wire::{
        EnrollReply, HostEntry, HostNamesReply, HostsReply, MetricSample, ProcessesReply, PushReply,
        QueryReply,
    },
};
use serde_json::json;

/// Where samples are pushed.
pub const PUSH_PATH: &str = "/api/v1/metrics";

/// Where hosts enrol.
pub const ENROLL_PATH: &str = "/api/v1/enroll";

impl Client {
    /// A push of `host`'s samples with a static token, not sent yet.
    pub fn push_request(&self, host: &str, metrics: &[MetricSample]) -> Request {
        let token = self.mint().scoped(Scope::Push);
        Request::post(PUSH_PATH, samples::body(Some(host), metrics)).with_token(&token)
    }

    /// Pushes samples of a host that is known by its name only.
    #[track_caller]
    pub fn push(&self, host: &str, metrics: &[MetricSample]) -> PushReply {
        self.send(self.push_request(host, metrics)).expect(202).json()
    }

    /// An enrolled host's own push, not sent yet.
    pub fn push_request_of(&self, host: &EnrollReply, metrics: &[MetricSample]) -> Request {
        let token = self.mint().of_host(host.host_id, self.now());
        Request::post(PUSH_PATH, samples::body(None, metrics)).with_token(&token)
    }

    /// Pushes samples as an enrolled host.
    #[track_caller]
    pub fn push_as(&self, host: &EnrollReply, metrics: &[MetricSample]) -> PushReply {
        self.send(self.push_request_of(host, metrics)).expect(202).json()
    }

    /// Enrols a host with the admin's token.
    #[track_caller]
    pub fn enroll(&self, name: &str) -> EnrollReply {
        let body = json!({ "name": name }).to_string();
        let token = self.mint().scoped(Scope::Admin);
        self.send(Request::post(ENROLL_PATH, body).with_token(&token)).expect(201).json()
    }

    /// A query, not sent yet.
    pub fn query_request(&self, parameters: &[(&str, &str)]) -> Request {
        self.read_request(&format!("/api/v1/metrics/query?{}", query_string(parameters)))
    }

    /// Asks a query and returns the answer, whatever it is.
    #[track_caller]
    pub fn ask(&self, parameters: &[(&str, &str)]) -> Answer {
        self.send(self.query_request(parameters))
    }

    /// Asks a query.
    #[track_caller]
    pub fn query(&self, parameters: &[(&str, &str)]) -> QueryReply {
        self.ask(parameters).expect(200).json()
    }

    /// Points of a metric as time and value, oldest first.
    #[track_caller]
    pub fn points(
        &self,
        host: &str,
        name: &str,
        span: (TimestampMs, TimestampMs),
        extra: &[(&str, &str)],
    ) -> Vec<(TimestampMs, f64)> {
        let (from, to) = (span.0.0.to_string(), span.1.0.to_string());
        let parameters = [("host", host), ("name", name), ("from", &from), ("to", &to)];
        points_of(&self.query(&[&parameters, extra].concat()))
    }

    /// Whether anything is stored of a host in the last and the next days.
    #[track_caller]
    pub fn has_samples(&self, host: &str, name: &str) -> bool {
        let day_ms = edgewatch_shared::limits::DAY_MS;
        let span = (self.now().plus_ms(-8 * day_ms), self.now().plus_ms(day_ms));
        !self.points(host, name, span, &[("bucket", "1d")]).is_empty()
    }

    /// Every host.
    #[track_caller]
    pub fn hosts(&self) -> HostsReply {
        self.send(self.read_request("/api/v1/hosts")).expect(200).json()
    }

    /// One host of that name.
    #[track_caller]
    pub fn host(&self, name: &str) -> HostEntry {
        let found = self.hosts().hosts.into_iter().find(|host| host.name == name);
        found.unwrap_or_else(|| panic!("{name} is not listed"))
    }

    /// The newest record of a host's processes.
    #[track_caller]
    pub fn processes(&self, host: &str) -> ProcessesReply {
        let path = format!("/api/v1/hosts/{}/processes", encoded(host));
        self.send(self.read_request(&path)).expect(200).json()
    }

    /// Names of hosts.
    #[track_caller]
    pub fn host_names(&self) -> Vec<String> {
        self.send(self.read_request("/api/v1/metrics/hosts")).expect(200).json::<HostNamesReply>().hosts
    }

    /// Self-metrics, with everything counted so far made durable.
    #[track_caller]
    pub fn scrape(&self) -> Scrape {
        Scrape::parse(&self.send(self.read_request("/metrics")).expect(200).text())
    }

    /// Refuses a host from now on.
    #[track_caller]
    pub fn revoke(&self, host: &str) {
        self.send(self.admin_request("POST", &format!("/api/v1/hosts/{}/revoke", encoded(host)))).expect(204);
    }

    /// Forgets a host.
    #[track_caller]
    pub fn delete(&self, host: &str) {
        self.send(self.admin_request("DELETE", &format!("/api/v1/hosts/{}", encoded(host)))).expect(204);
    }

    /// A request with the admin's token.
    pub fn admin_request(&self, method: &'static str, path: &str) -> Request {
        Request::new(method, path).with_token(&self.mint().scoped(Scope::Admin))
    }

    /// A `GET` with a reader's token.
    pub fn read_request(&self, path: &str) -> Request {
        Request::get(path).with_token(&self.mint().scoped(Scope::Read))
    }
}

/// Points of a reply as time and value, oldest first.
#[track_caller]
pub fn points_of(reply: &QueryReply) -> Vec<(TimestampMs, f64)> {
    let time = |text: &str| TimestampMs::parse_rfc3339(text).expect("a point's time is RFC 3339");
    reply.points.iter().rev().map(|point| (time(&point.time), point.value)).collect()
}

/// `key=value&…`, percent-encoded.
pub fn query_string(parameters: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| format!("{}={}", encoded(key), encoded(value));
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all that is not unreserved (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
