//! `cargo xtask serve`: the built Worker in workerd, until Ctrl-C.

use crate::{
    build::Bundle,
    command::say,
    server::{Options, Server},
    signals::Stop,
};
use anyhow::Result;
use std::{thread, time::Duration};

const VERB: &str = "serve";

/// Between two looks at the signals and at the server.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Serves until a signal comes, or until the server ends by itself, which is an error.
pub fn run(options: &Options) -> Result<()> {
    let stop = Stop::on_signals()?;
    let mut server = Server::start(options)?;
    let build = if options.bundle == Bundle::TestHooks { ", a build with test hooks" } else { "" };
    say(VERB, format!("listening on {}{build}", server.url()));
    say(VERB, format!("tokens: {}", options.state_dir.join("tokens.json").display()));
    say(VERB, "Ctrl-C stops it");
    while !stop.is_requested() {
        server.check()?;
        thread::sleep(POLL_INTERVAL);
    }
    say(VERB, "stopping");
    server.stop()
}
