//! The systemd unit: that systemd reads it, and how much it leaves open.

use std::{
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

const UNIT: &str = include_str!("../../packaging/edgewatch-agent.service");
/// Where the unit says that the binary is.
const INSTALLED: &str = "/usr/local/bin/edgewatch-agent";
/// What `systemd-analyze security` may say at the most, in tenths: the agent has to read /proc and to reach a server.
const EXPOSURE_TENTHS_MAX: &str = "20";

/// The unit of the binary under test, as a file.
fn unit(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("edgewatch-agent.service");
    std::fs::write(&path, UNIT.replace(INSTALLED, env!("CARGO_BIN_EXE_edgewatch-agent"))).unwrap();
    path
}

/// What systemd thinks of the unit; `None`, and said so, where there is no systemd to ask.
fn analyzed(arguments: &[&str]) -> Option<(Output, String)> {
    let dir = TempDir::new().unwrap();
    let output = Command::new("systemd-analyze").args(arguments).arg(unit(&dir)).output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: systemd-analyze is missing (Debian package systemd)");
        return None;
    };
    let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    Some((output, text))
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let Some((output, text)) = analyzed(&["verify"]) else { return };
    // Faults of this machine's other units are its own.
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("edgewatch-agent")).collect();
    assert!(output.status.success() && ours.is_empty(), "{text}");
}

#[test]
fn the_unit_leaves_little_open() {
    let threshold = format!("--threshold={EXPOSURE_TENTHS_MAX}");
    let Some((output, text)) = analyzed(&["security", "--offline=true", "--no-pager", &threshold]) else {
        return;
    };
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Overall exposure level for edgewatch-agent.service"), "{text}");
}
