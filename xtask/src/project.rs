//! Where things lie: the project's folders, cargo's target folder, the user's cache.

use anyhow::{Context, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the root.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where the Worker's bundles are staged; `wrangler.toml` names its `worker/index.js`.
pub fn bundles_dir() -> PathBuf {
    root().join("build")
}

/// Build tools, per user and keyed by version, so that a fresh clone does not build them again.
pub fn tools_dir() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => env::home_dir()
            .context("neither XDG_CACHE_HOME nor HOME is set: set one, build tools are kept below it")?
            .join(".cache"),
    };
    Ok(cache.join("edgewatch/tools"))
}
