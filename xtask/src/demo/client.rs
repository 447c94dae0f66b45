//! What the demo asks the server, over the same routes as anybody else.

use crate::tokens::Tokens;
use anyhow::{Context, Result, bail};
use edgewatch_shared::TimestampMs;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A single request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// How far back the query looks.
const WINDOW_MS: i64 = 3_600_000;

/// The metric that every agent sends.
const METRIC: &str = "cpu.usage_pct";

/// The demo's last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub hosts: usize,
    pub samples_ingested: u64,
    pub batches: u64,
    pub query_points: usize,
}

/// What the server has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ingested {
    pub samples: u64,
    pub batches: u64,
}

/// Talks to the server with the read token.
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Client {
    pub fn new(tokens: &Tokens) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIME_MAX)).build();
        Self { agent: config.into(), url: tokens.url.clone(), token: tokens.read.clone() }
    }

    /// Lines to paste into a shell.
    pub fn invitation(&self) -> String {
        let Self { url, token, .. } = self;
        let name = self.first_host().unwrap_or_else(|_| "HOST".to_owned());
        format!(
            "\nEdgewatch runs at {url}. Try:\n\n\
             TOKEN={token}\n\
             curl -H \"Authorization: Bearer $TOKEN\" {url}/api/v1/hosts\n\
             curl -H \"Authorization: Bearer $TOKEN\" '{url}/api/v1/metrics/query?host={name}&name={METRIC}&bucket=1m'\n\
             curl -H \"Authorization: Bearer $TOKEN\" {url}/metrics\n"
        )
    }

    /// The server's own counters.
    pub fn ingested(&self) -> Result<Ingested> {
        let text = self.get("/metrics", &[])?;
        Ok(Ingested {
            samples: counter(&text, "edgewatch_samples_ingested_total"),
            batches: counter(&text, "edgewatch_batches_ingested_total"),
        })
    }

    /// What came through so far.
    pub fn report(&self) -> Result<Report> {
        let ingested = self.ingested()?;
        let hosts = self.hosts()?;
        let query_points = match hosts.first() {
            Some(host) => self.points(host)?,
            None => 0,
        };
        Ok(Report {
            hosts: hosts.len(),
            samples_ingested: ingested.samples,
            batches: ingested.batches,
            query_points,
        })
    }

    fn first_host(&self) -> Result<String> {
        self.hosts()?.into_iter().next().context("no host is enrolled")
    }

    /// The names of the enrolled hosts.
    fn hosts(&self) -> Result<Vec<String>> {
        let reply = self.get_json("/api/v1/hosts", &[])?;
        let hosts =
            reply.get("hosts").and_then(Value::as_array).context("GET /api/v1/hosts has no `hosts`")?;
        let names = hosts.iter().map(|host| host.get("name").and_then(Value::as_str).map(str::to_owned));
        names.collect::<Option<_>>().context("GET /api/v1/hosts has a host without a name")
    }

    /// Points of [`METRIC`] that a query returns.
    fn points(&self, host: &str) -> Result<usize> {
        let now = now()?;
        let (from, to) = (now.plus_ms(-WINDOW_MS).to_rfc3339(), now.to_rfc3339());
        let query = [("host", host), ("name", METRIC), ("from", &from), ("to", &to), ("bucket", "1m")];
        let reply = self.get_json("/api/v1/metrics/query", &query)?;
        let points = reply.get("points").and_then(Value::as_array);
        Ok(points.context("GET /api/v1/metrics/query has no `points`")?.len())
    }

    fn get_json(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let text = self.get(path, query)?;
        serde_json::from_str(&text).with_context(|| format!("GET {path} did not answer with JSON: {text}"))
    }

    fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = request.query_pairs(query.iter().copied()).config().http_status_as_error(false).build();
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let mut response = request.call().with_context(|| format!("GET {path}"))?;
        let text = response.body_mut().read_to_string().with_context(|| format!("reading GET {path}"))?;
        if response.status() != 200 {
            bail!("GET {path} answered {}: {text}", response.status());
        }
        Ok(text)
    }
}

fn now() -> Result<TimestampMs> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    Ok(TimestampMs(i64::try_from(now.as_millis()).context("the clock stands too far in the future")?))
}

/// The sum of all series of a counter in Prometheus' text format; 0 when there is none yet.
fn counter(text: &str, name: &str) -> u64 {
    let series = text.lines().filter_map(|line| line.strip_prefix(name));
    // The next character ends the name: labels, or the value.
    let series = series.filter(|rest| rest.starts_with(['{', ' ']));
    let values = series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
    // Counts are whole and far below 2^53.
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counters_series_are_summed_and_others_are_not() {
        let text =
            "# TYPE a_total counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4\na_total_b 9\nb_a_total 9\n";
        assert_eq!(counter(text, "a_total"), 7);
        assert_eq!(counter("a_total 5\n", "a_total"), 5);
        assert_eq!(counter("", "a_total"), 0);
    }

    #[test]
    fn the_report_has_the_promised_keys_in_order() {
        let report = Report { hosts: 1, samples_ingested: 2, batches: 3, query_points: 4 };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"hosts":1,"samples_ingested":2,"batches":3,"query_points":4}"#
        );
    }
}
