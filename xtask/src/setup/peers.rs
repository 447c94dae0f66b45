//! Programs out of Debian's packages: those that Edgewatch is measured beside, and what a release is tried with.
//!
//! A package is unpacked into the cache rather than installed, so that no service of it is started.

use super::VERB;
use crate::{
    command::{find, run, say},
    project,
};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A program of a Debian package.
#[derive(Debug)]
pub struct Peer {
    package: &'static str,
    /// Where the package has it.
    path: &'static str,
}

/// The single-node VictoriaMetrics.
pub const VICTORIA_METRICS: Peer = Peer { package: "victoria-metrics", path: "usr/bin/victoria-metrics" };
/// What scrapes for VictoriaMetrics.
pub const VMAGENT: Peer = Peer { package: "victoria-metrics", path: "usr/bin/vmagent" };
/// Prometheus' server.
pub const PROMETHEUS: Peer = Peer { package: "prometheus", path: "usr/bin/prometheus" };
/// Prometheus' tool, which writes blocks.
pub const PROMTOOL: Peer = Peer { package: "prometheus", path: "usr/bin/promtool" };

/// The exporter whose names the agent can send.
pub const NODE_EXPORTER: Peer =
    Peer { package: "prometheus-node-exporter", path: "usr/bin/prometheus-node-exporter" };

/// The agent in C that many have had for twenty years; its plugins are beside it, in `usr/lib/collectd`.
pub const COLLECTD: Peer = Peer { package: "collectd-core", path: "usr/sbin/collectd" };

/// Runs programs for 64-bit ARM on this machine.
pub const QEMU_AARCH64: Peer = Peer { package: "qemu-user-static", path: "usr/bin/qemu-aarch64-static" };

impl Peer {
    /// The program's path: of this system, or unpacked before, or unpacked now.
    pub fn ensure(&self) -> Result<PathBuf> {
        let installed = Path::new("/").join(self.path);
        if installed.is_file() {
            return Ok(installed);
        }
        let folder = project::tools_dir()?.join("peers").join(self.package);
        let path = folder.join(self.path);
        if !path.is_file() {
            self.unpack(&folder).with_context(|| {
                format!("/{} is missing: `sudo apt-get install {}`", self.path, self.package)
            })?;
        }
        Ok(path)
    }

    fn unpack(&self, folder: &PathBuf) -> Result<()> {
        if find("apt-get").is_none() {
            bail!("this is not Debian");
        }
        say(VERB, format!("Debian package {}: unpacking", self.package));
        let staging = folder.with_extension("part");
        fs::create_dir_all(&staging).with_context(|| format!("creating {}", staging.display()))?;
        let download = || {
            let mut command = Command::new("apt-get");
            run(command.args(["-q", "download", self.package]).current_dir(&staging))
        };
        if download().is_err() {
            // On a new machine the lists of packages may be empty; only root may bring them.
            run(Command::new("apt-get").args(["-q", "update"]))?;
            download()?;
        }
        for entry in fs::read_dir(&staging)? {
            let package = entry?.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&staging))?;
                fs::remove_file(&package)?;
            }
        }
        fs::rename(&staging, folder).with_context(|| format!("moving to {}", folder.display()))
    }
}
