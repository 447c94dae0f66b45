//! `update`: a newer release takes the agent's place, if the release key has signed it.
//!
//! This is the one way by which a program that came over the network is ever started, and no server has a part in it:
//! what counts is the key that is part of this program, whoever keeps the files. It is off unless the host's owner turns
//! its timer on or calls it; `run` never does.

mod download;
mod place;
mod release;

pub use release::Version;

use crate::{push::transport::TransportError, server_url::ServerUrl, settings::Settings};
use download::Downloads;
use release::{SIGNATURE, SUMS};
use sha2::{Digest, Sha256};
use std::{io, path::PathBuf};

/// Where releases are, unless the settings say otherwise: beside the sources.
pub const RELEASES_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/releases/latest/download");
/// The public key that releases are signed with, in minisign's base64.
pub const RELEASE_KEY: &str = env!("EDGEWATCH_RELEASE_KEY");

/// Bytes of the list of files. Reason: a line has about 110, a release a dozen.
pub const SUMS_BYTES_MAX: u64 = 64 << 10;
/// Bytes of the signature. Reason: it has about 300.
const SIGNATURE_BYTES_MAX: u64 = 4 << 10;
/// Bytes of the program. Reason: five times what it has.
pub const PROGRAM_BYTES_MAX: u64 = 16 << 20;
/// Where package managers put programs, and want to be the only ones who do.
const PACKAGED: &str = "/usr/bin";

/// Why there was no update. The agent is what it was.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The place of the releases cannot be reached as the settings say.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A file could not be fetched.
    #[error("{url}: {why}")]
    Download {
        /// The file.
        url: String,
        /// What happened.
        why: String,
    },
    /// The list is not signed by the release key.
    #[error("the release is not signed by the key that this agent trusts: nothing was changed")]
    Signature,
    /// The key that is built in is none.
    #[error("this agent was built with an unusable release key")]
    Key,
    /// The list is signed and yet makes no sense.
    #[error("the release's list of files cannot be read")]
    Sums,
    /// Nothing for this machine.
    #[error("the release has no program for {0}")]
    NoProgram(String),
    /// An older release than what is installed.
    #[error("the release is {there}, older than this agent ({installed}): nothing was changed")]
    Older {
        /// Of the release.
        there: Version,
        /// Of this agent.
        installed: Version,
    },
    /// The program is not the one that was signed.
    #[error("{0} is not what the release's list says: nothing was changed")]
    Checksum(String),
    /// The program does not start.
    #[error("the new program does not start: {0}; nothing was changed")]
    Trial(String),
    /// The file cannot be replaced.
    #[error("{what}: {error}")]
    Place {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// It is unknown which file this program is.
    #[error("it is not known which file this program was started from")]
    NoPlace,
    /// The program belongs to somebody else.
    #[error("{0} belongs to a package: update the package")]
    Packaged(String),
}

/// What an update is made of.
#[derive(Debug)]
pub struct Update {
    downloads: Downloads,
    key: String,
    machine: String,
    installed: Version,
    program: PathBuf,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What is installed is of the newest release.
    Newest,
    /// There is a newer one, and nothing was changed.
    Available(Version),
    /// The newer one is in place.
    Updated(Version),
}

impl Update {
    /// Of the program at `program`, of the version `installed`, to what lies below `url` and is signed by `key`.
    pub fn new(
        url: ServerUrl,
        settings: &Settings,
        key: &str,
        installed: Version,
        program: PathBuf,
    ) -> Result<Self, UpdateError> {
        Ok(Self {
            downloads: Downloads::new(url, settings)?,
            key: key.to_owned(),
            machine: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            installed,
            program,
        })
    }

    /// Of this very program, as its settings say.
    pub fn of_this_program(url: ServerUrl, settings: &Settings) -> Result<Self, UpdateError> {
        let program = std::env::current_exe().map_err(|_| UpdateError::NoPlace)?;
        if program.parent().is_some_and(|dir| dir == PACKAGED) {
            return Err(UpdateError::Packaged(program.display().to_string()));
        }
        let installed = Version::parse(env!("CARGO_PKG_VERSION")).ok_or(UpdateError::NoPlace)?;
        Self::new(url, settings, RELEASE_KEY, installed, program)
    }

    /// Looks for a newer release, and unless it `only_looks` puts it in place.
    pub fn run(&self, only_looks: bool) -> Result<Outcome, UpdateError> {
        let sums = self.downloads.get(SUMS, SUMS_BYTES_MAX)?;
        let signature = self.downloads.get(SIGNATURE, SIGNATURE_BYTES_MAX)?;
        let there = release::program(&sums, &signature, &self.key, &self.machine)?;
        if there.version < self.installed {
            return Err(UpdateError::Older { there: there.version, installed: self.installed });
        }
        if there.version == self.installed {
            return Ok(Outcome::Newest);
        }
        if only_looks {
            return Ok(Outcome::Available(there.version));
        }
        let program = self.downloads.get(&there.file, PROGRAM_BYTES_MAX)?;
        if hex(&Sha256::digest(&program)) != there.sha256 {
            return Err(UpdateError::Checksum(there.file));
        }
        place::replace(&self.program, &program, there.version)?;
        Ok(Outcome::Updated(there.version))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
