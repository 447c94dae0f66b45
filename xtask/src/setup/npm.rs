//! Packages from npm: Node, wrangler with workerd, Miniflare, esbuild and binaryen.
//!
//! `package-lock.json` fixes versions and hashes; no package runs code of its own
//! at install (`.npmrc`). Node comes as a package too, because wrangler needs a
//! newer one than many systems have.

use super::{VERB, debian};
use crate::{
    command::{find, output, run, say},
    project,
};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The oldest Node that wrangler runs on.
const NODE_VERSION_MIN: (u32, u32) = (22, 12);

/// Written last into `node_modules`: the hash of what was installed.
const STAMP: &str = ".edgewatch-stamp";

/// Installs the packages unless `node_modules` holds exactly those of the lock file.
pub(super) fn ensure() -> Result<()> {
    let stamp = modules().join(STAMP);
    let wanted = wanted()?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        say(VERB, "npm packages: there");
        return check_node();
    }
    if find("npm").is_none() && !debian::install("npm")? {
        bail!("npm is missing: install Node.js with npm (Debian, Ubuntu: `sudo apt-get install npm`)");
    }
    say(VERB, "npm packages: installing the versions of package-lock.json");
    install()?;
    check_node()?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
}

/// `npm install --no-save` takes versions and hashes from the lock file and leaves it as it is. `npm ci` would
/// refuse it: workerd's packages for macOS and Windows come later than the others, and without an entry.
fn install() -> Result<()> {
    if modules().exists() {
        fs::remove_dir_all(modules()).with_context(|| format!("removing {}", modules().display()))?;
    }
    run(Command::new("npm")
        .args(["install", "--no-save", "--loglevel", "error"])
        .current_dir(project::root()))
}

/// The program `name` of an installed package.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = modules().join(".bin").join(name);
    if !path.exists() {
        bail!("the npm packages are not installed ({} is missing): run `cargo xtask setup`", path.display());
    }
    Ok(path)
}

/// Node: the package's, or the system's on a platform that has no package.
pub fn node() -> Result<PathBuf> {
    let packaged = modules().join(".bin/node");
    if packaged.exists() {
        return Ok(packaged);
    }
    find("node").context("Node.js is missing: run `cargo xtask setup`, or install Node.js 22.12 or later")
}

/// `PATH` with our packages' programs first, so that their `#!/usr/bin/env node` finds our Node.
pub fn search_path() -> Result<OsString> {
    let system = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(modules().join(".bin")).chain(env::split_paths(&system));
    env::join_paths(dirs).context("PATH has a folder with a colon in its name")
}

/// Identifies the packages; a build that used them is stale when it changes.
pub fn fingerprint() -> Result<String> {
    let lock = project::root().join("package-lock.json");
    let bytes = fs::read(&lock).with_context(|| format!("reading {}", lock.display()))?;
    Ok(crate::hex(&Sha256::digest(bytes)))
}

fn modules() -> PathBuf {
    project::root().join("node_modules")
}

/// What the stamp must say: lock file, settings and platform (`node_modules` holds native programs).
fn wanted() -> Result<String> {
    let mut hash = Sha256::new();
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        let path = project::root().join(name);
        hash.update(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    Ok(format!("{} {} {}\n", crate::hex(&hash.finalize()), env::consts::OS, env::consts::ARCH))
}

fn check_node() -> Result<()> {
    let node = node()?;
    let printed = output(Command::new(&node).arg("--version"))?;
    check_version(&node, printed.trim())
}

fn check_version(node: &Path, printed: &str) -> Result<()> {
    let (major, minor) = NODE_VERSION_MIN;
    let mut numbers = printed.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < NODE_VERSION_MIN {
        bail!(
            "{} is {printed}; wrangler needs {major}.{minor} or later: install a newer Node.js",
            node.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_from_22_12_on_will_do() {
        for (printed, will_do) in
            [("v22.12.0", true), ("v22.11.9", false), ("v20.20.2", false), ("v24.0.0", true), ("?", false)]
        {
            assert_eq!(check_version(Path::new("node"), printed).is_ok(), will_do, "{printed}");
        }
    }

    #[test]
    fn the_lock_file_names_no_registry() {
        let lock = fs::read_to_string(project::root().join("package-lock.json")).unwrap();
        assert!(!lock.contains("\"resolved\""), "see omit-lockfile-registry-resolved in .npmrc");
    }
}
