//! What the system's package manager has to bring: a C compiler that knows WebAssembly, and programs that tests ask.

use super::VERB;
use crate::command::{find, output, run, say};
use anyhow::{Result, bail};
use std::{env, process::Command};

/// `clang`, which compiles zstd's C for the Worker, wherever it comes from.
pub(super) fn clang() -> Result<()> {
    let compiler = crate::build::wasm_c_compiler();
    if targets_wasm(&compiler) {
        say(VERB, format!("{compiler} with a WebAssembly target: there"));
        return Ok(());
    }
    if env::var_os(crate::build::WASM_C_COMPILER_VARIABLE).is_some() || !install("clang")? {
        bail!(
            "no C compiler that can target WebAssembly ({compiler}). Install one (Debian, Ubuntu: \
             `sudo apt-get install clang`; macOS: `brew install llvm`), or name one in {}",
            crate::build::WASM_C_COMPILER_VARIABLE
        );
    }
    Ok(())
}

/// Programs that tests ask about the agent, its unit and its release, with their packages. Those of `dbus` and
/// `systemd-container` are for a machine with a systemd of its own. A test that does not find its own says so.
const WITNESSES: [(&str, &str); 6] = [
    ("systemd-analyze", "systemd"),
    ("systemd-nspawn", "systemd-container"),
    ("dbus-daemon", "dbus"),
    ("strace", "strace"),
    ("openssl", "openssl"),
    ("minisign", "minisign"),
];

/// Installs what tests ask, where that is possible; elsewhere those tests are skipped.
pub(super) fn witnesses() -> Result<()> {
    for (program, package) in WITNESSES {
        if find(program).is_some() {
            say(VERB, format!("{program}: there"));
        } else if !install(package)? {
            say(VERB, format!("{program} is missing (Debian package {package}): its tests will be skipped"));
        }
    }
    Ok(())
}

/// Installs a Debian package. `false` when this is not Debian, or not root: then a person has to.
pub(super) fn install(package: &str) -> Result<bool> {
    if find("apt-get").is_none() || !rustix::process::geteuid().is_root() {
        return Ok(false);
    }
    say(VERB, format!("Debian package {package}: installing"));
    if apt_get(&["install", "-y", "--no-install-recommends", package]).is_err() {
        // On a new machine the lists of packages may be empty.
        apt_get(&["update"])?;
        apt_get(&["install", "-y", "--no-install-recommends", package])?;
    }
    Ok(true)
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get").arg("-q").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn targets_wasm(compiler: &str) -> bool {
    output(Command::new(compiler).arg("--print-targets")).is_ok_and(|targets| targets.contains("wasm32"))
}
