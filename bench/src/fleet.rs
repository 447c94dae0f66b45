//! Hosts that push as agents do: enrolled, with a token a push and zstd bodies.

use anyhow::{Context, Result, ensure};
use edgewatch_shared::{
    HostId, TimestampMs,
    keys::Key,
    limits::HOUR_MS,
    token::{Claims, sign_host},
    wire::{
        EnrollBody, EnrollReply, Facts, MetricSample, MetricsBody, PushReply, WireTime, push::MEDIA_TYPE,
    },
};
use std::{collections::BTreeMap, path::Path, time::Duration};
use ureq::Agent;
use xtask::{
    build::Bundle,
    server::{Options, Server},
};

/// An enrolled host and its connection.
pub struct Host {
    agent: Agent,
    url: String,
    id: HostId,
    key: Key,
}

/// A server on the paid plan, which slows nobody down however much it is sent.
pub fn server(state: &Path, bundle: Bundle) -> Result<Server> {
    let vars = BTreeMap::from([("PLAN".to_owned(), "paid".to_owned())]);
    Server::start(&Options { bundle, vars, ..Options::new(state) })
}

/// A client that keeps one connection open and reports every status.
pub fn client() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .max_idle_connections_per_host(1);
    config.build().into()
}

impl Host {
    /// Enrols a host.
    pub fn enroll(server: &Server, name: String) -> Result<Self> {
        let agent = client();
        let body = EnrollBody { name, facts: Facts::default(), tags: Vec::new() };
        let mut reply = agent
            .post(format!("{}/api/v1/enroll", server.url()))
            .header("Authorization", format!("Bearer {}", server.tokens().admin))
            .send_json(&body)?;
        ensure!(reply.status() == 201, "enrolment answered {}", reply.status());
        let reply: EnrollReply = reply.body_mut().read_json()?;
        let key = Key::from_text(&reply.host_key).context("the host's key")?;
        Ok(Self { agent, url: server.url().to_owned(), id: reply.host_id, key })
    }

    /// Its id.
    pub fn id(&self) -> HostId {
        self.id
    }

    /// Pushes a compact frame with a token of its own.
    pub fn push_frame(&self, compressed: &[u8], now: TimestampMs) -> Result<PushReply> {
        let token = sign_host(&self.key, &Claims::for_host(self.id, now.seconds()));
        let mut reply = self
            .agent
            .post(format!("{}/api/v1/push", self.url))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", MEDIA_TYPE)
            .send(compressed)?;
        if reply.status() != 202 {
            let text = reply.body_mut().read_to_string().unwrap_or_default();
            anyhow::bail!("a push was answered {}: {text}", reply.status());
        }
        Ok(reply.body_mut().read_json()?)
    }

    /// The newest hour of one of its metrics, in buckets of a minute; how many there are.
    pub fn query(&self, server: &Server, name: &str, to: TimestampMs) -> Result<usize> {
        let mut reply = self
            .agent
            .get(format!("{}/api/v1/metrics/query", self.url))
            .query("host", self.id.to_string())
            .query("name", name)
            .query("from", to.plus_ms(-HOUR_MS).0.to_string())
            .query("to", to.0.to_string())
            .header("Authorization", format!("Bearer {}", server.tokens().read))
            .call()?;
        let body: serde_json::Value = reply.body_mut().read_json()?;
        ensure!(reply.status() == 200, "a query was answered {}: {body}", reply.status());
        Ok(body.get("points").and_then(|points| points.as_array()).map_or(0, Vec::len))
    }

    /// Pushes a compressed body with a token of its own, and returns how many samples were taken.
    pub fn push(&self, compressed: &[u8], now: TimestampMs) -> Result<u64> {
        let token = sign_host(&self.key, &Claims::for_host(self.id, now.seconds()));
        let mut reply = self
            .agent
            .post(format!("{}/api/v1/metrics", self.url))
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Encoding", "zstd")
            .send(compressed)?;
        if reply.status() != 202 {
            let text = reply.body_mut().read_to_string().unwrap_or_default();
            anyhow::bail!("a push was answered {}: {text}", reply.status());
        }
        let reply: PushReply = reply.body_mut().read_json()?;
        Ok(reply.ingested)
    }
}

/// A body of `series` × `readings` samples that end at `now`, 10 s apart: levels with noise, and counters.
pub fn body(series: i64, readings: i64, now: TimestampMs, seed: i64) -> Result<Vec<u8>> {
    let mut metrics = Vec::new();
    for number in 0..series {
        for reading in 0..readings {
            let step = (seed + number * 31 + reading * 17) % 100;
            let value = if number % 3 == 0 {
                (1_000_000 + (seed * readings + reading) * 1_500 + step) as f64
            } else {
                (number * 7 % 90) as f64 + step as f64 / 100.0
            };
            metrics.push(MetricSample {
                time: WireTime(now.plus_ms((reading - readings + 1) * 10_000)),
                host: None,
                name: format!("app_metric_{number}"),
                value,
                labels: None,
            });
        }
    }
    let json = serde_json::to_vec(&MetricsBody { host: None, facts: None, metrics })?;
    Ok(zstd::bulk::compress(&json, 3)?)
}

/// The clock.
pub fn now() -> Result<TimestampMs> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(TimestampMs(i64::try_from(since_epoch.as_millis())?))
}
