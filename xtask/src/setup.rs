//! `cargo xtask setup`: installs what building and running need, and skips what is there.
//!
//! In order: the wasm target, a C compiler that can target it, build tools from
//! crates.io in a per-user cache, packages from npm. Nothing else is downloaded.

pub mod debian;
pub mod npm;
pub mod peers;
pub mod tools;
pub mod zig;

use crate::{
    command::{find, output, run, say},
    project,
};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

/// The name under which this verb speaks.
const VERB: &str = "setup";

/// What a person is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Build, serve, deploy.
    Build,
    /// That, and `cargo xtask test`.
    Test,
}

/// Installs everything that `need` needs and that is not there yet.
pub fn run_for(need: Need) -> Result<()> {
    let _lock = lock(&project::tools_dir()?.join(".lock"))?;
    rust_targets(&[crate::build::WASM_TARGET])?;
    debian::clang()?;
    tools::WORKER_BUILD.ensure()?;
    tools::WASM_BINDGEN.ensure()?;
    if need == Need::Test {
        tools::CARGO_DENY.ensure()?;
        debian::witnesses()?;
    }
    npm::ensure()?;
    say(VERB, "everything is there");
    Ok(())
}

/// Rust's standard library for each of these targets, unless it is there.
pub(crate) fn rust_targets(targets: &[&str]) -> Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(project::root()))?;
    let dir = Path::new(sysroot.trim()).join("lib/rustlib");
    let missing: Vec<&str> = targets.iter().copied().filter(|target| !dir.join(target).is_dir()).collect();
    if missing.is_empty() {
        say(VERB, format!("targets {}: there", targets.join(", ")));
        return Ok(());
    }
    if find("rustup").is_none() {
        bail!(
            "the Rust targets {} are missing and there is no rustup to add them: install them the way you \
             installed Rust",
            missing.join(", ")
        );
    }
    say(VERB, format!("targets {}: adding", missing.join(", ")));
    run(Command::new("rustup").args(["target", "add"]).args(missing).current_dir(project::root()))
}

/// Waits for other xtasks that change the same things; the lock ends with the returned file.
pub(crate) fn lock(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        say(VERB, format!("waiting for another xtask ({})", path.display()));
        file.lock().with_context(|| format!("locking {}", path.display()))?;
    }
    Ok(file)
}
