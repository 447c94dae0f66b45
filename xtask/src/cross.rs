//! Whether the agent compiles for systems that nobody here runs.
//!
//! `cargo check` looks at Rust and links nothing, but the build scripts of `ring` and `zstd-sys` compile C all the same,
//! and a C compiler for macOS needs Apple's SDK, which no registry has. So a stand-in writes empty objects: the C of
//! these two libraries is not checked, everything of ours is.

use crate::{
    command::{cargo, run},
    project, setup,
};
use anyhow::{Context, Result};
use std::{fs, path::PathBuf, process::Command};

/// The targets, beside those that the other tests run on.
pub const TARGETS: [&str; 3] = ["x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-pc-windows-gnu"];

/// Takes a compiler's arguments, and writes an empty file where an object is asked for.
const STAND_IN: &str = "#!/bin/sh
while [ $# -gt 0 ]; do
  if [ \"$1\" = \"-o\" ]; then : > \"$2\"; fi
  shift
done
";

/// Checks the agent for every target.
pub fn check() -> Result<()> {
    setup::rust_targets(&TARGETS)?;
    let stand_in = stand_in()?;
    for target in TARGETS {
        let mut command = cargo();
        command.args(["check", "--package", "edgewatch-agent", "--target", target]);
        let suffix = target.replace('-', "_");
        command.env(format!("CC_{suffix}"), &stand_in).env(format!("AR_{suffix}"), "true");
        // Else the build scripts ask Xcode where the SDK is.
        command.env("SDKROOT", "/").env("RUSTFLAGS", "--deny warnings");
        run(&mut command)?;
    }
    Ok(())
}

fn stand_in() -> Result<PathBuf> {
    let dir = project::tools_dir()?;
    let path = dir.join("no-c-compiler.sh");
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    fs::write(&path, STAND_IN).with_context(|| format!("writing {}", path.display()))?;
    run(Command::new("chmod").arg("755").arg(&path))?;
    Ok(path)
}
