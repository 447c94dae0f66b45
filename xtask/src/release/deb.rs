//! The agent as a Debian package: a program, its unit, a configuration file, and a user made at installation.
//!
//! Format: deb(5): an `ar` archive of a version, what the package manager has to know, and the files.

use super::{
    VERB,
    archive::{Entry, tar_gz},
    target::Target,
};
use crate::{command::say, project};
use anyhow::{Context, Result, bail};
use std::fs;

/// Where the package has the program; `/usr/local` belongs to who installs by hand.
const PROGRAM: &str = "usr/bin/edgewatch-agent";
/// The path in the unit that the repository has.
const PROGRAM_BY_HAND: &str = "/usr/local/bin/edgewatch-agent";
/// The configuration file, which is the administrator's once it is installed.
const CONFIGURATION: &str = "etc/edgewatch/agent.toml";

/// What the package manager runs, in the order in which it does.
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// The package's file name.
pub fn name(version: &str, target: &Target) -> String {
    format!("edgewatch-agent_{version}_{}.deb", target.debian)
}

/// The package. `time`: seconds since 1970, of all that is in it.
pub fn package(version: &str, target: &Target, program: &[u8], time: u64) -> Result<Vec<u8>> {
    let files = files(program)?;
    let bytes: usize = files.iter().filter_map(|file| file.content.as_ref()).map(Vec::len).sum();
    let control = [
        Entry::file("control", 0o644, control(version, target, bytes.div_ceil(1024))),
        Entry::file("conffiles", 0o644, format!("/{CONFIGURATION}\n")),
    ];
    let scripts =
        SCRIPTS.map(|name| Ok(Entry::file(name, 0o755, read(&format!("agent/packaging/debian/{name}"))?)));
    let control = control.into_iter().map(Ok).chain(scripts).collect::<Result<Vec<Entry>>>()?;
    let mut archive = ar::Builder::new(Vec::new());
    for (name, content) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", tar_gz(&control, time)?),
        ("data.tar.gz", tar_gz(&files, time)?),
    ] {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(time);
        archive.append(&header, content.as_slice()).with_context(|| format!("packing {name}"))?;
    }
    let package = archive.into_inner().context("closing the package")?;
    say(VERB, format!("{}: {} bytes", name(version, target), package.len()));
    Ok(package)
}

fn files(program: &[u8]) -> Result<Vec<Entry>> {
    let unit = read("agent/packaging/edgewatch-agent.service")?;
    if !unit.contains(PROGRAM_BY_HAND) {
        bail!("agent/packaging/edgewatch-agent.service does not start {PROGRAM_BY_HAND}");
    }
    let unit = unit.replace(PROGRAM_BY_HAND, &format!("/{PROGRAM}"));
    let documents = "usr/share/doc/edgewatch-agent";
    let dirs = [
        "etc",
        "etc/edgewatch",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/lib/systemd",
        "usr/lib/systemd/system",
        "usr/share",
        "usr/share/doc",
        documents,
    ];
    let mut files: Vec<Entry> = dirs.iter().map(|dir| Entry::dir(dir)).collect();
    files.extend([
        Entry::file(CONFIGURATION, 0o640, read("agent/agent.example.toml")?),
        Entry::file(PROGRAM, 0o755, program),
        Entry::file("usr/lib/systemd/system/edgewatch-agent.service", 0o644, unit),
        Entry::file(&format!("{documents}/copyright"), 0o644, read("LICENSE")?),
        Entry::file(&format!("{documents}/agent.md"), 0o644, read("docs/agent.md")?),
    ]);
    Ok(files)
}

fn control(version: &str, target: &Target, installed_kib: usize) -> String {
    format!(
        "Package: edgewatch-agent\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: The Edgewatch project <noreply@edgewatch.invalid>\n\
         Homepage: {}\n\
         Installed-Size: {installed_kib}\n\
         Depends: passwd\n\
         Section: admin\n\
         Priority: optional\n\
         Description: host agent of Edgewatch\n \
         Collects this host's metrics and pushes them to an Edgewatch server. It opens\n \
         no port, needs no privileges, and executes nothing that a server sends.\n",
        target.debian,
        env!("CARGO_PKG_REPOSITORY"),
    )
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(project::root().join(path)).with_context(|| format!("reading {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        command::{find, output},
        release::target::TARGETS,
    };
    use std::process::Command;

    const TIME: u64 = 1_795_248_000;

    /// Debian's own tool reads the package.
    #[test]
    fn dpkg_reads_the_package_and_unpacks_what_was_put_in() {
        if find("dpkg-deb").is_none() {
            eprintln!("not checked: there is no dpkg-deb here");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.deb");
        fs::write(&path, package("1.2.3", &TARGETS[1], b"\x7fELF", TIME).unwrap()).unwrap();
        let dpkg = |arguments: &[&str]| {
            output(Command::new("dpkg-deb").args(arguments).arg(&path).env("TZ", "UTC")).unwrap()
        };
        let fields = dpkg(&["--field"]);
        for field in ["Package: edgewatch-agent", "Version: 1.2.3", "Architecture: arm64"] {
            assert!(fields.lines().any(|line| line == field), "{fields}");
        }
        let listed = dpkg(&["--contents"]);
        let listed: Vec<String> = listed.lines().map(squeezed).collect();
        for line in [
            "-rwxr-xr-x 0/0 4 2026-11-21 08:00 usr/bin/edgewatch-agent",
            "drwxr-xr-x 0/0 0 2026-11-21 08:00 usr/lib/systemd/system/",
        ] {
            assert!(listed.iter().any(|found| found == line), "{listed:?}");
        }
        let control = dir.path().join("control");
        output(Command::new("dpkg-deb").arg("--control").arg(&path).arg(&control)).unwrap();
        assert_eq!(fs::read_to_string(control.join("conffiles")).unwrap(), "/etc/edgewatch/agent.toml\n");
        let root = dir.path().join("root");
        output(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&root)).unwrap();
        assert_eq!(fs::read(root.join(PROGRAM)).unwrap(), b"\x7fELF");
        let unit = fs::read_to_string(root.join("usr/lib/systemd/system/edgewatch-agent.service")).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/edgewatch-agent run"), "{unit}");
        assert!(!unit.contains("/usr/local"), "{unit}");
    }

    fn squeezed(line: &str) -> String {
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_scripts_are_plain_shell() {
        for script in SCRIPTS {
            let path = project::root().join("agent/packaging/debian").join(script);
            output(Command::new("sh").arg("-n").arg(path)).unwrap();
        }
    }
}
