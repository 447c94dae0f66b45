//! `cargo xtask setup`: installs what building and running need, and skips what is there.
//!
//! In order: the wasm target, a C compiler that can target it, build tools from
//! crates.io in a per-user cache, packages from npm. Nothing else is downloaded.

pub mod debian;
pub mod npm;
pub mod peers;
pub mod tools;

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
    wasm_target()?;
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

/// Rust's standard library for `wasm32-unknown-unknown`.
fn wasm_target() -> Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(project::root()))?;
    let target = Path::new(sysroot.trim()).join("lib/rustlib").join(crate::build::WASM_TARGET);
    if target.is_dir() {
        say(VERB, format!("target {}: there", crate::build::WASM_TARGET));
        return Ok(());
    }
    if find("rustup").is_none() {
        bail!(
            "the Rust target {} is missing and there is no rustup to add it: install it the way you installed Rust",
            crate::build::WASM_TARGET
        );
    }
    say(VERB, format!("target {}: adding", crate::build::WASM_TARGET));
    run(Command::new("rustup")
        .args(["target", "add", crate::build::WASM_TARGET])
        .current_dir(project::root()))
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
