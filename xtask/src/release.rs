//! `cargo xtask release`: what people install. Static programs, packages and an image, with checksums and a signature.
//!
//! Everything lies in one folder, as it is published. `SHA256SUMS` names every file with its version, and is what is
//! signed: who has verified it knows which version each file is of, wherever it was fetched from.

pub mod archive;
pub mod deb;
pub mod elf;
pub mod key;
pub mod oci;
pub mod target;

use crate::{
    build::Program,
    command::{output, say},
    hex, project,
    setup::{self, zig},
};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};
use target::{TARGETS, Target};

const VERB: &str = "release";

/// The version that is released: the workspace's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes of the agent for x86-64. Reason: it is to be the lightest there is.
pub const AGENT_BYTES_MAX: usize = 3_000_000;

/// The list of checksums, which is what is signed.
const SUMS: &str = "SHA256SUMS";

/// What to release, and where to.
#[derive(Debug)]
pub struct Options {
    /// The folder; the files of an earlier release in it are removed.
    pub out_dir: PathBuf,
    /// Where the secret key lies, unless it is in the environment.
    pub key: PathBuf,
}

/// Makes a pair of keys, and says which half belongs where.
pub fn generate_key(path: &Path) -> Result<()> {
    let public = key::generate(path)?;
    say(VERB, format!("the secret key is in {}: keep it, and keep it to yourself", path.display()));
    say(VERB, format!("the public key, for agent/packaging/release.pub or {}:", key::PUBLIC_VARIABLE));
    println!("{}", public.to_base64());
    Ok(())
}

/// Builds, packs, sums up and signs.
pub fn run_release(options: &Options) -> Result<()> {
    // First, so that nobody waits for compilers to hear that there is no key.
    let (secret, public) = (key::secret(&options.key)?, key::public()?);
    key::sign(b"", &secret, &public, "trial")?;
    setup::rust_targets(&TARGETS.map(|target| target.triple))?;
    let zig = zig::ensure()?;
    let mut release = Release { time: source_date()?, files: Vec::new() };
    let mut agents = Vec::new();
    for target in &TARGETS {
        agents.push((target, release.build(Program::Agent, target, &zig)?));
        release.build(Program::Cli, target, &zig)?;
    }
    for (target, agent) in &agents {
        release.add(deb::name(VERSION, target), deb::package(VERSION, target, agent, release.time)?);
    }
    let image = oci::image(VERSION, &agents, release.time)?;
    release.add(format!("edgewatch-agent-{VERSION}-oci.tar"), image);
    let sums = release.sums();
    let signature = key::sign(sums.as_bytes(), &secret, &public, &format!("edgewatch {VERSION}"))?;
    release.add(format!("{SUMS}.minisig"), signature);
    release.add(SUMS.to_owned(), sums);
    release.write(&options.out_dir)
}

/// Files on their way into the folder.
struct Release {
    time: u64,
    files: Vec<(String, Vec<u8>)>,
}

impl Release {
    fn add(&mut self, name: String, content: impl Into<Vec<u8>>) {
        self.files.push((name, content.into()));
    }

    /// A program for one kind of machine; its bytes.
    fn build(&mut self, program: Program, target: &Target, zig: &Path) -> Result<Vec<u8>> {
        let path = target.build(program, zig)?;
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        if program == Program::Agent && target.machine == "x86_64" && bytes.len() > AGENT_BYTES_MAX {
            bail!("the agent has {} bytes, more than {AGENT_BYTES_MAX}", bytes.len());
        }
        self.add(format!("{}-{VERSION}-linux-{}", program.package(), target.machine), bytes.clone());
        Ok(bytes)
    }

    /// As `sha256sum` prints them, sorted by name.
    fn sums(&self) -> String {
        let mut lines: Vec<(&str, String)> = self
            .files
            .iter()
            .map(|(name, content)| (name.as_str(), format!("{}  {name}\n", hex(&Sha256::digest(content)))))
            .collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// All of it, in place of the release that was there.
    fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let old = old_files(dir)?;
        if old.is_empty() && fs::read_dir(dir)?.next().is_some() {
            bail!("{} is there and holds no release: name another folder", dir.display());
        }
        for path in old.iter().filter(|path| path.is_file()) {
            fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        }
        for (name, content) in &self.files {
            let path = dir.join(name);
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        say(VERB, format!("{} files of {VERSION} in {}, signed", self.files.len(), dir.display()));
        Ok(())
    }
}

/// What an earlier release left in a folder, by its list: all that may be removed there. None if the list is not ours.
fn old_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let sums = dir.join(SUMS);
    if !sums.is_file() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&sums).with_context(|| format!("reading {}", sums.display()))?;
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    if !names.iter().any(|name| name.starts_with("edgewatch-agent-")) {
        return Ok(Vec::new());
    }
    let signature = format!("{SUMS}.minisig");
    let own = names.into_iter().filter(|name| !name.contains('/')).chain([SUMS, &signature]);
    Ok(own.map(|name| dir.join(name)).collect())
}

/// Seconds since 1970 that everything in a release is dated: `SOURCE_DATE_EPOCH`, or when the commit was made.
fn source_date() -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let mut git = Command::new("git");
            git.args(["log", "-1", "--format=%ct"]).current_dir(project::root());
            output(&mut git).context("no SOURCE_DATE_EPOCH, and no commit to take the time from")?
        }
    };
    text.trim().parse().with_context(|| format!("{text:?} is no number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_sorted_and_as_sha256sum_has_them() {
        let mut release = Release { time: 0, files: Vec::new() };
        release.add("b-1.2.3".to_owned(), "");
        release.add("a-1.2.3".to_owned(), "abc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a-1.2.3\n\
                        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b-1.2.3\n";
        assert_eq!(release.sums(), expected);
    }

    /// A release of one file, with its list.
    fn release(name: &str) -> Release {
        let mut release = Release { time: 0, files: vec![(name.to_owned(), Vec::new())] };
        release.add(SUMS.to_owned(), release.sums());
        release
    }

    #[test]
    fn a_release_replaces_another_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("release");
        release("edgewatch-agent-1.0.0-linux").write(&out).unwrap();
        fs::write(out.join("notes"), "").unwrap();
        release("edgewatch-agent-1.0.1-linux").write(&out).unwrap();
        let mut left: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [SUMS, "edgewatch-agent-1.0.1-linux", "notes"]);
    }

    #[test]
    fn a_folder_of_something_else_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis"), "").unwrap();
        for list in [None, Some("00  thesis\n"), Some("00  ../edgewatch-agent-1.0.0-linux\n")] {
            if let Some(list) = list {
                fs::write(dir.path().join(SUMS), list).unwrap();
            }
            assert!(release("edgewatch-agent-1.0.0-linux").write(dir.path()).is_err());
            assert!(dir.path().join("thesis").is_file());
        }
    }
}
