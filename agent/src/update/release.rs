//! What a release says of itself: `SHA256SUMS`, believed once its signature is by the release key.

use super::UpdateError;
use minisign_verify::{PublicKey, Signature};
use std::fmt;

/// The list of a release's files, and its signature.
pub const SUMS: &str = "SHA256SUMS";
/// The signature, in minisign's format.
pub const SIGNATURE: &str = "SHA256SUMS.minisig";

/// A version: major, minor and patch, as semantic versioning orders them. There are no pre-releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    /// Reads `1.2.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| {
            let is_plain =
                part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            part.parse().ok().filter(|_| is_plain)
        };
        let mut parts = text.split('.').map(number);
        let version = Self([parts.next()??, parts.next()??, parts.next()??]);
        parts.next().is_none().then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// The agent of a release for one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Of the signed list, not of where it was found.
    pub version: Version,
    /// The file's name.
    pub file: String,
    /// SHA-256 of the file, in lowercase hexadecimal.
    pub sha256: String,
}

/// Checks the signature of `sums` and finds the agent for `machine` (such as `linux-x86_64`) in it.
pub fn program(sums: &[u8], signature: &[u8], key: &str, machine: &str) -> Result<Program, UpdateError> {
    let signature = std::str::from_utf8(signature).map_err(|_| UpdateError::Signature)?;
    let signature = Signature::decode(signature).map_err(|_| UpdateError::Signature)?;
    let key = PublicKey::from_base64(key).map_err(|_| UpdateError::Key)?;
    key.verify(sums, &signature, false).map_err(|_| UpdateError::Signature)?;
    let sums = std::str::from_utf8(sums).map_err(|_| UpdateError::Sums)?;
    let mut programs = sums.lines().filter_map(|line| read_line(line, machine));
    match (programs.next(), programs.next()) {
        (Some(program), None) => Ok(program),
        (None, _) => Err(UpdateError::NoProgram(machine.to_owned())),
        (Some(_), Some(_)) => Err(UpdateError::Sums),
    }
}

/// A line that names the agent for `machine`.
fn read_line(line: &str, machine: &str) -> Option<Program> {
    let (sha256, file) = line.split_once("  ")?;
    let version = file.strip_prefix("edgewatch-agent-")?.strip_suffix(machine)?.strip_suffix('-')?;
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let version = Version::parse(version).filter(|_| is_hash)?;
    Some(Program { version, file: file.to_owned(), sha256: sha256.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_number() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("0.10.0") > version("0.9.12"));
        assert!(version("1.0.0") > version("0.99.99"));
        assert_eq!(version("1.2.3").to_string(), "1.2.3");
        for bad in
            ["", "1", "1.2", "1.2.3.4", "1.2.x", "+1.2.3", "01.2.3", "1.2.3-rc1", "1..3", "4294967296.0.0"]
        {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_is_taken_for_this_machine_only() {
        let hash = "ab".repeat(32);
        let line = format!("{hash}  edgewatch-agent-1.2.3-linux-x86_64");
        let program = read_line(&line, "linux-x86_64").unwrap();
        assert_eq!((program.version.to_string().as_str(), program.sha256.as_str()), ("1.2.3", hash.as_str()));
        for (line, machine) in [
            (line.clone(), "linux-aarch64"),
            (line.to_uppercase(), "linux-x86_64"),
            (line.replace("ab", "a"), "linux-x86_64"),
            (line.replace("1.2.3", "1.2.3/../.."), "linux-x86_64"),
            (line.replace("agent-", ""), "linux-x86_64"),
        ] {
            assert_eq!(read_line(&line, machine), None, "{line}");
        }
    }
}
