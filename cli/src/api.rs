//! Calls to the Worker: address and token from the environment, errors as the Worker words them.

use anyhow::{Context, Result, bail};
use edgewatch_shared::wire::ErrorBody;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, io::Write, time::Duration};
use ureq::{Agent, Body, http::Response};

/// What may be asked again later.
#[derive(Debug)]
pub struct Unavailable {
    /// As the Worker words it.
    pub message: String,
    /// When to ask again.
    pub retry_after: Duration,
}

impl std::error::Error for Unavailable {}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A Worker, and who asks it.
pub struct Api {
    agent: Agent,
    url: String,
    token: String,
}

impl Api {
    /// Reads `EDGEWATCH_URL` and `EDGEWATCH_TOKEN`.
    pub fn from_environment() -> Result<Self> {
        let variable = |name: &str, what: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.is_empty())
                .with_context(|| format!("set {name} to {what}"))
        };
        let url =
            variable("EDGEWATCH_URL", "the Worker's address, such as https://edgewatch.example.workers.dev")?;
        let token = variable("EDGEWATCH_TOKEN", "a token (`edgewatch token` mints one)")?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Ok(Self { agent: config.into(), url: url.trim_end_matches('/').to_owned(), token })
    }

    /// `GET path?parameters`, with a JSON reply.
    pub fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(String, String)]) -> Result<T> {
        let pairs = parameters.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let request = self.agent.get(format!("{}{path}", self.url)).query_pairs(pairs);
        let mut response = checked(self.authorized(request).call()?)?;
        Ok(response.body_mut().read_json()?)
    }

    /// `PUT path` with a JSON body and a JSON reply.
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let request = self.agent.put(format!("{}{path}", self.url));
        let mut response = checked(self.authorized(request).send_json(body)?)?;
        Ok(response.body_mut().read_json()?)
    }

    /// `GET path?parameters`, copied to `out` as it comes.
    pub fn copy(&self, path: &str, parameters: &[(String, String)], out: &mut impl Write) -> Result<()> {
        let pairs = parameters.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let request = self.agent.get(format!("{}{path}", self.url)).query_pairs(pairs);
        let mut response = checked(self.authorized(request).call()?)?;
        std::io::copy(&mut response.body_mut().as_reader(), out).context("the reply was cut off")?;
        Ok(())
    }

    /// `POST path` with a body that is compressed with zstd, and a JSON reply.
    pub fn send<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T> {
        let request = self.agent.post(format!("{}{path}", self.url)).header("Content-Encoding", "zstd");
        let mut response = checked(self.authorized(request).send(body)?)?;
        Ok(response.body_mut().read_json()?)
    }

    /// `POST path` without a body or a reply.
    pub fn post(&self, path: &str) -> Result<()> {
        let request = self.agent.post(format!("{}{path}", self.url));
        checked(self.authorized(request).send_empty()?).map(|_| ())
    }

    /// `POST path` with a JSON body, without a reply.
    pub fn post_json(&self, path: &str, body: &impl Serialize) -> Result<()> {
        let request = self.agent.post(format!("{}{path}", self.url));
        checked(self.authorized(request).send_json(body)?).map(|_| ())
    }

    /// `POST path?parameters` without a body, with a JSON reply.
    pub fn post_for<T: DeserializeOwned>(&self, path: &str, parameters: &[(String, String)]) -> Result<T> {
        let pairs = parameters.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let request = self.agent.post(format!("{}{path}", self.url)).query_pairs(pairs);
        let mut response = checked(self.authorized(request).send_empty()?)?;
        Ok(response.body_mut().read_json()?)
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Result<()> {
        let request = self.agent.delete(format!("{}{path}", self.url));
        checked(self.authorized(request).call()?).map(|_| ())
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        request.header("Authorization", format!("Bearer {}", self.token))
    }
}

fn checked(mut response: Response<Body>) -> Result<Response<Body>> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after =
        response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let message = match serde_json::from_str::<ErrorBody>(&text) {
        Ok(body) => format!("{} ({status}, {})", body.error.message, body.error.code.as_str()),
        Err(_) => format!("the Worker answered {status}: {}", text.chars().take(300).collect::<String>()),
    };
    match retry_after {
        Some(seconds) if status == 503 => {
            Err(Unavailable { message, retry_after: Duration::from_secs(seconds) }.into())
        }
        _ => bail!(message),
    }
}
