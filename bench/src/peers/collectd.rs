//! collectd with plugins for what our agent reads by default, sending in Graphite's protocol.

use super::victoria_metrics::VictoriaMetrics;
use crate::process::Process;
use anyhow::{Context, Result};
use std::{
    fs,
    process::{Command, Stdio},
};
use tempfile::TempDir;
use xtask::setup;

/// The plugins that read, at their defaults.
const PLUGINS: &[&str] = &[
    "contextswitch",
    "cpu",
    "df",
    "disk",
    "fhcount",
    "interface",
    "load",
    "memory",
    "processes",
    "swap",
    "thermal",
    "uptime",
    "vmem",
];

/// A running collectd.
pub struct Collectd {
    process: Process,
    _folder: TempDir,
}

impl Collectd {
    /// Reads every `interval_s` seconds; its metrics begin with `prefix` and a dot.
    pub fn start(prefix: &str, interval_s: u64, to: &VictoriaMetrics) -> Result<Self> {
        let program = setup::peers::COLLECTD.ensure()?;
        let usr = program.ancestors().nth(2).context("collectd lies in no folder")?;
        let folder = tempfile::tempdir()?;
        let mut configuration = format!(
            "Hostname \"bench\"\nFQDNLookup false\nInterval {interval_s}\nBaseDir \"{base}\"\n\
             PluginDir \"{usr}/lib/collectd\"\nTypesDB \"{usr}/share/collectd/types.db\"\n\
             LoadPlugin write_graphite\n<Plugin write_graphite>\n<Node \"bench\">\nHost \"127.0.0.1\"\n\
             Port \"{port}\"\nPrefix \"{prefix}.\"\n</Node>\n</Plugin>\n",
            base = folder.path().display(),
            usr = usr.display(),
            port = to.graphite_port(),
        );
        configuration.extend(PLUGINS.iter().map(|plugin| format!("LoadPlugin {plugin}\n")));
        let path = folder.path().join("collectd.conf");
        fs::write(&path, configuration).context("writing its configuration")?;
        let mut command = Command::new(&program);
        command.arg("-f").arg("-C").arg(&path).arg("-P").arg(folder.path().join("pid"));
        Ok(Self { process: Process::start(command.stderr(Stdio::null()))?, _folder: folder })
    }

    /// Its process' number, as long as it runs.
    pub fn running(&mut self) -> Result<u32> {
        self.process.running()
    }
}
