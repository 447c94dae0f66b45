//! Tells the binary which commit it was built from (outside git it says "unknown"), and which key signs its releases.

use std::{env, fs, process::Command};

/// Goes before the repository's key, for who makes releases of their own.
const RELEASE_KEY: &str = "EDGEWATCH_RELEASE_KEY";
/// minisign's public key file: a comment, then the key.
const RELEASE_KEY_FILE: &str = "packaging/release.pub";

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let date = git(&["log", "-1", "--format=%cs"]);
    println!("cargo::rustc-env=EDGEWATCH_COMMIT={}", or_unknown(commit));
    println!("cargo::rustc-env=EDGEWATCH_COMMIT_DATE={}", or_unknown(date));
    println!("cargo::rerun-if-changed=build.rs");
    // The log of HEAD grows with every commit, checkout and reset.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rustc-env={RELEASE_KEY}={}", release_key());
    println!("cargo::rerun-if-env-changed={RELEASE_KEY}");
    println!("cargo::rerun-if-changed={RELEASE_KEY_FILE}");
}

fn release_key() -> String {
    match env::var(RELEASE_KEY) {
        Ok(key) if !key.is_empty() => key,
        _ => {
            let file = fs::read_to_string(RELEASE_KEY_FILE).unwrap_or_default();
            file.lines().nth(1).unwrap_or_default().to_owned()
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| "unknown".to_owned())
}
