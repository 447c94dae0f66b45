//! Zig's C compiler, out of PyPI: one package with musl's headers for every processor.
//!
//! The agent's C (ring, zstd) is compiled with it, so that no cross compiler has to be installed. Linking is Rust's own.

use super::{VERB, debian};
use crate::{
    command::{output, run, say},
    project,
};
use anyhow::{Context, Result, bail};
use std::{fs, path::PathBuf, process::Command};

/// The version, with the hashes of its packages for Linux and macOS on x86-64 and ARM.
const REQUIREMENT: &str = "ziglang==0.15.2 \
    --hash=sha256:806316453d1ede7174ed3fefb8e5348154629089c3bb5fe812dfd0e172fac130 \
    --hash=sha256:edc0aa60ec964a4cf462d40f68d7de242ddf37fd9a80f2afaee6397059463230 \
    --hash=sha256:47af4f85e3e59bd672126cc026d3a01b516cad24b9a9ea075abfe8532f4c6bc1 \
    --hash=sha256:acae2a9ce67ed249ad68d42c21bc73b5f9d51a33ba5ea42f609f78683e8d9bb7\n";

/// The folder of this version.
const FOLDER: &str = "ziglang-0.15.2";

/// Zig's path; installed unless it is there.
pub fn ensure() -> Result<PathBuf> {
    let tools = project::tools_dir()?;
    let _lock = super::lock(&tools.join(".lock"))?;
    let whole = tools.join(FOLDER);
    let program = whole.join("ziglang/zig");
    if program.is_file() {
        say(VERB, format!("{FOLDER}: there"));
        return Ok(program);
    }
    if output(&mut pip(&["--version"])).is_err() && !debian::install("python3-pip")? {
        bail!("pip is missing, which brings {FOLDER} (Debian, Ubuntu: `sudo apt-get install python3-pip`)");
    }
    say(VERB, format!("{FOLDER}: installing from PyPI"));
    let partial = tools.join(format!(".partial-{FOLDER}"));
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    let requirements = partial.join("requirements.txt");
    fs::write(&requirements, REQUIREMENT).with_context(|| format!("writing {}", requirements.display()))?;
    let arguments = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"];
    let mut install = pip(&arguments);
    run(install.arg("--target").arg(&partial).arg("--requirement").arg(&requirements))?;
    fs::rename(&partial, &whole)
        .with_context(|| format!("renaming {} to {}", partial.display(), whole.display()))?;
    Ok(program)
}

fn pip(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]).args(arguments);
    command
}
