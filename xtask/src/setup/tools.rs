//! Build tools from crates.io, each in a folder of its own that names its version.

use super::VERB;
use crate::{
    command::{cargo, run, say},
    project,
};
use anyhow::{Context, Result, bail};
use std::{fs, path::PathBuf, time::Instant};

/// A program that `cargo install` builds.
#[derive(Debug)]
pub struct Tool {
    /// The crate.
    package: &'static str,
    /// Exactly this version.
    version: &'static str,
    /// The program in it that we call.
    program: &'static str,
    /// Whether the crate's own `Cargo.lock` is used.
    locked: bool,
}

/// Compiles the Worker to WebAssembly and wraps it for the runtime. The same version as the SDK.
pub const WORKER_BUILD: Tool =
    Tool { package: "worker-build", version: "0.8.7", program: "worker-build", locked: true };

/// Writes the JavaScript side of the module. Must be of the very version of the crate `wasm-bindgen`.
/// Built without its own lock file, which names a webpki-roots (1.0.11) that the registry did not offer
/// when this was pinned.
pub const WASM_BINDGEN: Tool =
    Tool { package: "wasm-bindgen-cli", version: "0.2.130", program: "wasm-bindgen", locked: false };

/// Licences, advisories and sources of the dependencies; `cargo xtask test` alone needs it.
pub const CARGO_DENY: Tool =
    Tool { package: "cargo-deny", version: "0.20.2", program: "cargo-deny", locked: true };

impl Tool {
    /// The program's path, or what to do when it is not installed.
    pub fn path(&self) -> Result<PathBuf> {
        let path = self.installed()?;
        if !path.is_file() {
            bail!("{} {} is not installed: run `cargo xtask setup`", self.package, self.version);
        }
        Ok(path)
    }

    /// The version that is pinned.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Installs the tool unless it is there.
    pub(super) fn ensure(&self) -> Result<()> {
        let name = format!("{} {}", self.package, self.version);
        if self.installed()?.is_file() {
            say(VERB, format!("{name}: there"));
            return Ok(());
        }
        say(VERB, format!("{name}: building from crates.io, this takes a few minutes"));
        let start = Instant::now();
        self.install()?;
        say(VERB, format!("{name}: built in {} s", start.elapsed().as_secs()));
        Ok(())
    }

    /// Builds into a temporary folder and renames it, so that what has the final name is whole.
    fn install(&self) -> Result<()> {
        let tools = project::tools_dir()?;
        let whole = tools.join(self.folder());
        let partial = tools.join(format!(".partial-{}", self.folder()));
        // Both may be left over from an interrupted run; the lock of `setup` says that nobody works in them.
        for leftover in [&partial, &whole] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).with_context(|| format!("removing {}", leftover.display()))?;
            }
        }
        let mut command = cargo();
        command.args(["install", self.package, "--version", self.version, "--root"]).arg(&partial);
        if self.locked {
            command.arg("--locked");
        }
        run(&mut command)?;
        fs::rename(&partial, &whole)
            .with_context(|| format!("renaming {} to {}", partial.display(), whole.display()))
    }

    fn installed(&self) -> Result<PathBuf> {
        let path = project::tools_dir()?.join(self.folder()).join("bin").join(self.program);
        Ok(path.with_extension(std::env::consts::EXE_EXTENSION))
    }

    fn folder(&self) -> String {
        format!("{}-{}", self.package, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker_dependency(name: &str) -> String {
        let manifest = fs::read_to_string(project::root().join("worker/Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependency = &manifest["dependencies"][name];
        let version = dependency.get("version").unwrap_or(dependency);
        version.as_str().unwrap().to_owned()
    }

    #[test]
    fn the_tools_are_of_the_versions_that_the_worker_pins() {
        assert_eq!(worker_dependency("worker"), format!("={}", WORKER_BUILD.version));
        assert_eq!(worker_dependency("wasm-bindgen"), format!("={}", WASM_BINDGEN.version));
    }
}
