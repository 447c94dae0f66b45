//! A whole Edgewatch: the built Worker in workerd on its own state, and a client that knows its secret.

use crate::client::Client;
use std::{
    fs,
    path::{Path, PathBuf},
};
use xtask::{
    build::Bundle,
    project,
    server::{Options, Server},
};

/// A server that ends with the process, or when it is dropped.
pub struct Edgewatch {
    options: Options,
    server: Option<Server>,
    client: Client,
}

impl Edgewatch {
    /// The test build with R2, on fresh state. Names are unique among the tests.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, |_| ())
    }

    /// The same with other options.
    pub fn start_with(name: &str, change: impl FnOnce(&mut Options)) -> Self {
        let state_dir = scratch_dir(name);
        let mut options = Options { bundle: Bundle::TestHooks, ..Options::new(state_dir) };
        change(&mut options);
        let (server, client) = running(&options);
        Self { options, server: Some(server), client }
    }

    /// Speaks to this server. After a restart, ask again.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The folder of its databases and its log.
    pub fn state_dir(&self) -> &Path {
        &self.options.state_dir
    }

    /// Stops the server in order.
    pub fn stop(&mut self) {
        self.server.take().expect("it runs").stop().expect("it stops in order");
    }

    /// Kills the server, as a machine does that loses power.
    pub fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    /// Starts a server that was stopped or killed, on the state it left and the port it had.
    pub fn resume(&mut self) {
        self.resume_with(|_| ());
    }

    /// The same with other options from now on.
    pub fn resume_with(&mut self, change: impl FnOnce(&mut Options)) {
        assert!(self.server.is_none(), "it still runs");
        let port = self.client.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        self.options.port = port.expect("the server's address ends with its port");
        change(&mut self.options);
        let (server, client) = running(&self.options);
        (self.server, self.client) = (Some(server), client);
    }
}

fn running(options: &Options) -> (Server, Client) {
    let server = Server::start(options).unwrap_or_else(|error| panic!("{error:#}"));
    // Shown with the output of a test that fails.
    eprintln!("server at {}, log in {}", server.url(), server.log_path().display());
    let client = Client::new(server.url(), server.secret());
    (server, client)
}

/// An empty folder that stays until the test is run again, for whoever wants to see why it failed.
pub fn scratch_dir(name: &str) -> PathBuf {
    let dir = project::target_dir().join("e2e").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap_or_else(|error| panic!("removing {}: {error}", dir.display()));
    }
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("creating {}: {error}", dir.display()));
    dir
}
