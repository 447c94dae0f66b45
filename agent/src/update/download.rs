//! Files of a release over HTTP: bounded in time and size. Redirects are followed, since no token goes along and only
//! the signature is believed.

use super::UpdateError;
use crate::{
    push::transport::{Transport, TransportError, explained},
    server_url::ServerUrl,
    settings::Settings,
};
use std::{io::Read, time::Duration};
use ureq::Agent;

/// Seconds to connect in.
const CONNECT_S_MAX: u64 = 10;
/// Seconds for a file. Reason: 3 MB at 10 kB/s.
const FILE_S_MAX: u64 = 300;
/// Redirects that are followed. Reason: places that keep releases send from one host to another, once or twice.
const REDIRECTS_MAX: u32 = 5;

/// Fetches files that lie beside each other.
#[derive(Debug)]
pub struct Downloads {
    agent: Agent,
    url: ServerUrl,
}

impl Downloads {
    /// From below this URL, reached as the settings say.
    pub fn new(url: ServerUrl, settings: &Settings) -> Result<Self, TransportError> {
        let transport = Transport::to(&url, settings)?;
        let config = Agent::config_builder()
            .max_redirects(REDIRECTS_MAX)
            .https_only(url.is_https())
            .timeout_connect(Some(Duration::from_secs(CONNECT_S_MAX)))
            .timeout_global(Some(Duration::from_secs(FILE_S_MAX)))
            .tls_config(transport.tls())
            .proxy(transport.proxy().cloned())
            .user_agent(concat!("edgewatch-agent/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.new_agent(), url })
    }

    /// A whole file; an error if it has more than `bytes_max`.
    pub fn get(&self, file: &str, bytes_max: u64) -> Result<Vec<u8>, UpdateError> {
        let url = self.url.join(&format!("/{file}"));
        let failed = |why: String| UpdateError::Download { url: url.clone(), why };
        let mut response = self.agent.get(&url).call().map_err(|error| failed(explained(&error)))?;
        let mut content = Vec::new();
        let body = response.body_mut().as_reader().take(bytes_max.saturating_add(1));
        { body }.read_to_end(&mut content).map_err(|error| failed(error.to_string()))?;
        if content.len() as u64 > bytes_max {
            return Err(failed(format!("it has more than {bytes_max} bytes")));
        }
        Ok(content)
    }
}
