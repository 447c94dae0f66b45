//! `install` and `uninstall`: what an operator types as root, once. Binary, user, configuration, state, unit.
//!
//! Every step looks first and says what it did, so that a second run changes no file and one that broke off can be
//! repeated. Under another root (`--root`, for those who build images and packages) only files are laid out.

mod files;
mod system;

use super::{CommandError, arguments::InstallArguments, enroll, server_and_identity};
use crate::{credentials::Credentials, platform, push::transport, settings::Settings};
use files::{Written, lay_out};
use rustix::fs::Mode;
use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};
use system::{User, run};

/// The units, as they are installed. The agent's is enabled; the update's only where somebody asks for it.
const UNITS: [(&str, &str); 3] = [
    (SERVICE, include_str!("../../../packaging/edgewatch-agent.service")),
    ("edgewatch-agent-update.service", include_str!("../../../packaging/edgewatch-agent-update.service")),
    (UPDATE_TIMER, include_str!("../../../packaging/edgewatch-agent-update.timer")),
];
const SERVICE: &str = "edgewatch-agent.service";
/// All of them, as far as systemd has them loaded.
const ALL_UNITS: &str = "edgewatch-agent*";
const UPDATE_TIMER: &str = "edgewatch-agent-update.timer";
/// Every setting at its default, as a configuration to start from.
const EXAMPLE: &str = include_str!("../../../agent.example.toml");
/// What the user is called.
const NAME: &str = "edgewatch-agent";

const BINARY: &str = "usr/local/bin/edgewatch-agent";
/// What an update leaves beside it, and what one that is killed does.
const BINARY_OLD: &str = "usr/local/bin/edgewatch-agent.old";
const BINARY_NEW: &str = "usr/local/bin/edgewatch-agent.new";
const UNIT_DIR: &str = "etc/systemd/system";
/// The unit of the Debian package.
const PACKAGED_UNIT: &str = "usr/lib/systemd/system/edgewatch-agent.service";
/// When systemd last started the timer's service.
const UPDATE_STAMP: &str = "var/lib/systemd/timers/stamp-edgewatch-agent-update.timer";
const CONFIG_DIR: &str = "etc/edgewatch";
const CONFIG_FILE: &str = "etc/edgewatch/agent.toml";
const STATE_DIR: &str = "var/lib/edgewatch-agent";
/// What stays unless it is purged.
const OPERATORS: [&str; 2] = [CONFIG_FILE, STATE_DIR];
/// There wherever systemd is in charge (`man 3 sd_booted`).
const SYSTEMD: &str = "/run/systemd/system";

/// Settings that are for the enrolment, or that the unit says itself.
const NOT_IN_FILE: [&str; 4] = ["token", "name", "config", "state_dir"];

/// Why the agent could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not root.
    #[error("this takes root: sudo edgewatch-agent {0} (or --root DIR, to lay out files elsewhere)")]
    NotRoot(&'static str),
    /// Another init system.
    #[error(
        "this host is not run by systemd: copy the binary to /usr/local/bin, and have whatever starts services here run \
         `edgewatch-agent run` as a user of its own, with EDGEWATCH_STATE_DIR set to a directory that is that user's"
    )]
    NoSystemd,
    /// A package brought the agent.
    #[error(
        "a package brought the agent ({}): the package manager installs and removes it, `edgewatch-agent enroll` enrols it",
        .0.display()
    )]
    Packaged(PathBuf),
    /// The state is to lie where the service cannot write.
    #[error(
        "the service keeps its state in /{STATE_DIR}, the one place that it may write to, and not in {}: take back state_dir \
         (EDGEWATCH_STATE_DIR)",
        .0.display()
    )]
    OtherStateDir(PathBuf),
    /// The file system says no.
    #[error("{}: {error}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// A program of the system says no; it has said why itself.
    #[error("`{command}` failed: {why}")]
    Program {
        /// What was called.
        command: String,
        /// Its exit status, or why it could not be called.
        why: String,
    },
    /// useradd succeeded, and there is no user.
    #[error("there is no user {NAME} in /etc/passwd")]
    NoUser,
}

/// Installs this very binary as a service of this host.
pub fn install(settings: &Settings, arguments: &InstallArguments) -> Result<(), CommandError> {
    let root = start("install", arguments)?;
    let is_live = arguments.root.is_none();
    if is_live && settings.state_dir != root.join(STATE_DIR) {
        return Err(InstallError::OtherStateDir(settings.state_dir.clone()).into());
    }
    let has_token = settings.said("token").is_some();
    let known = if is_live { enroll::known(settings, arguments.enroll.force && has_token)? } else { None };
    if let Some(known) = known.as_ref().filter(|known| is_to_go_elsewhere(known, settings)) {
        return Err(enroll::already(known, settings));
    }
    let enrols = is_live && has_token && known.is_none();
    // What is laid out is for everybody to read, unless it says otherwise itself.
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let own = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let binary = fs::read(&own).map_err(at(&own))?;
    tell(lay_out(&root.join(BINARY), &binary, 0o755)?);
    let user = if is_live { Some(system::user()?) } else { None };
    configure(&root, settings, enrols || known.is_some(), user)?;
    let state_dir = root.join(STATE_DIR);
    platform::create_private_dir(&state_dir).map_err(at(&state_dir))?;
    give(&state_dir, user.map(|user| (user.uid, user.gid)))?;
    for (name, text) in UNITS {
        tell(lay_out(&root.join(UNIT_DIR).join(name), text.as_bytes(), 0o644)?);
    }
    if !is_live {
        println!("files are laid out; the user, the enrolment and the start are left to the running system");
        return Ok(());
    }
    if let Some(known) = known {
        println!("enrolled already, as {} at {}", known.name, known.url);
    } else if enrols {
        enroll::enroll(settings, arguments.enroll.clone())?;
    }
    run("systemctl", &["daemon-reload"])?;
    run("systemctl", &["enable", "--quiet", SERVICE])?;
    if server_and_identity(settings).is_err() {
        println!(
            "enabled, not started: this host is not enrolled yet. Then: edgewatch-agent install --url URL --token TOKEN"
        );
        return Ok(());
    }
    // Also where nothing here was new: the binary may have been put in its place before, the configuration been changed.
    run("systemctl", &["restart", SERVICE])?;
    println!("enabled and started; edgewatch-agent status tells how it is");
    Ok(())
}

/// Removes service and binary; with `purge` also configuration, state and user.
pub fn uninstall(arguments: &InstallArguments) -> Result<(), CommandError> {
    let root = start("uninstall", arguments)?;
    let is_live = arguments.root.is_none();
    for (unit, _) in UNITS {
        let path = root.join(UNIT_DIR).join(unit);
        // Of a unit that is not there systemctl would complain.
        if is_live && path.exists() {
            run("systemctl", &["disable", "--quiet", "--now", unit])?;
        }
        remove(&path)?;
    }
    let also = if arguments.purge { &OPERATORS[..] } else { &[] };
    for path in [BINARY, BINARY_OLD, BINARY_NEW, UPDATE_STAMP].iter().chain(also) {
        remove(&root.join(path))?;
    }
    if is_live {
        run("systemctl", &["daemon-reload"])?;
        // One that has failed would be told of until the next boot.
        run("systemctl", &["reset-failed", ALL_UNITS])?;
    }
    if arguments.purge {
        // Whoever keeps something else there keeps the directory.
        let _kept_if_not_empty = fs::remove_dir(root.join(CONFIG_DIR));
        if is_live {
            system::remove_user()?;
        }
    } else {
        println!("kept: /{CONFIG_FILE} and /{STATE_DIR}; --purge removes them too");
    }
    Ok(())
}

/// Whether this command line says another server than the one that an enrolled host goes to.
fn is_to_go_elsewhere(known: &Credentials, settings: &Settings) -> bool {
    let goes_to = settings.url_in_file.as_ref().map_or(&known.url, |said| &said.text);
    let said = settings.said("url").map(|said| said.trim_end_matches('/'));
    said.is_some_and(|said| said != goes_to.trim_end_matches('/'))
}

/// Where to, if it may be begun at all.
fn start(verb: &'static str, arguments: &InstallArguments) -> Result<PathBuf, InstallError> {
    let root = arguments.root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let packaged = root.join(PACKAGED_UNIT);
    if packaged.exists() {
        return Err(InstallError::Packaged(packaged));
    }
    if arguments.root.is_none() {
        if !platform::is_root() {
            return Err(InstallError::NotRoot(verb));
        }
        if !Path::new(SYSTEMD).is_dir() {
            return Err(InstallError::NoSystemd);
        }
    }
    Ok(root)
}

/// A configuration, unless there is one: the example, with what this command line and its environment say. It may get a
/// token, so that only root and the agent may read it.
fn configure(
    root: &Path,
    settings: &Settings,
    is_enrolled: bool,
    user: Option<User>,
) -> Result<(), InstallError> {
    let path = root.join(CONFIG_FILE);
    if path.exists() {
        println!("{} is there, and stays as it is", path.display());
        return Ok(());
    }
    tell(lay_out(&path, configuration(settings, is_enrolled).as_bytes(), 0o640)?);
    give(&path, user.map(|user| (0, user.gid)))
}

/// The URL is left out where the enrolment knows it: the file's would go before that of every later one.
fn configuration(settings: &Settings, is_enrolled: bool) -> String {
    let said = settings.said.iter().map(|(key, text)| (*key, text.as_str()));
    let is_for_file = |key: &str| !(NOT_IN_FILE.contains(&key) || is_enrolled && key == "url");
    // The service does not see the variables that every program goes by.
    let url = settings.server_url(None).ok().filter(|_| settings.said("proxy").is_none());
    let proxy = url.and_then(|url| transport::proxy_said(&url, &settings.proxies).cloned());
    let proxy = proxy.as_ref().map(|said| ("proxy", said.text.as_str()));
    let mut text = EXAMPLE.to_owned();
    for (key, value) in said.chain(proxy).filter(|(key, _)| is_for_file(key)) {
        // A text of JSON is one of TOML, and every setting may be a text.
        text.push_str(&format!("\n{key} = {}\n", serde_json::Value::from(value)));
    }
    text
}

fn give(path: &Path, to: Option<(u32, u32)>) -> Result<(), InstallError> {
    let Some((uid, gid)) = to else { return Ok(()) };
    chown(path, Some(uid), Some(gid)).map_err(at(path))
}

fn remove(path: &Path) -> Result<(), InstallError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
        Ok(()) => {
            println!("removed {}", path.display());
            Ok(())
        }
    }
}

/// Says what became of a file.
fn tell((path, written): (&Path, Written)) {
    match written {
        Written::New => println!("wrote {}", path.display()),
        Written::Same => println!("{} is there, and the same", path.display()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    |error| InstallError::File { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, registry};

    /// What of the configuration is said, and not commented out.
    fn configured(env: &[(&str, &str)], flags: &[(&'static str, &str)], is_enrolled: bool) -> toml::Table {
        let flags = flags.iter().map(|(flag, text)| (*flag, (*text).to_owned())).collect();
        let sources = Sources {
            env: &|name| env.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()),
            flags: &flags,
            read: &|_| Ok(None),
            is_root: true,
        };
        let text = configuration(&Settings::load(&sources).unwrap().0, is_enrolled);
        assert!(text.starts_with(EXAMPLE) && !text.contains("secret"));
        text.parse().unwrap()
    }

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn what_command_line_and_environment_say_is_in_the_first_configuration() {
        let flags = [("ca-file", "/etc/\"ca\".pem"), ("token", "secret"), ("allow-plain-http", "true")];
        let said = configured(&[("EDGEWATCH_UNITS", "a.service, b.service")], &flags, false);
        let expected =
            "allow_plain_http = 'true'\nca_file = '/etc/\"ca\".pem'\nunits = 'a.service, b.service'";
        assert_eq!(said, table(expected));
    }

    #[test]
    fn a_server_is_in_the_file_only_where_no_enrolment_knows_it() {
        let flags = [("url", "https://watch.example"), ("name", "web-01"), ("state-dir", "/secret")];
        assert_eq!(configured(&[], &flags, false), table("url = 'https://watch.example'"));
        assert_eq!(configured(&[], &flags, true), table(""));
    }

    #[test]
    fn a_proxy_of_the_environment_is_written_down_if_it_is_the_way_to_the_server() {
        let flags = [("url", "https://watch.example")];
        let proxy = |env: &[(&str, &str)]| {
            let said = configured(env, &flags, true).remove("proxy");
            said.map(|proxy| proxy.as_str().unwrap().to_owned())
        };
        let https = ("HTTPS_PROXY", "http://proxy.example:3128");
        assert_eq!(proxy(&[https]).as_deref(), Some("http://proxy.example:3128"));
        assert_eq!(proxy(&[https, ("NO_PROXY", "watch.example")]), None);
        assert_eq!(proxy(&[https, ("EDGEWATCH_PROXY", "none")]).as_deref(), Some("none"));
    }

    #[test]
    fn what_is_left_out_of_the_file_are_settings() {
        for setting in registry::SETTINGS {
            assert_eq!(setting.flag.replace('-', "_"), setting.key);
        }
        for key in NOT_IN_FILE {
            assert!(registry::SETTINGS.iter().any(|setting| setting.key == key), "{key}");
        }
    }

    #[test]
    fn the_units_say_what_is_installed() {
        for said in [
            format!("User={NAME}\n"),
            format!("ExecStart=/{BINARY} run\n"),
            format!("Environment=EDGEWATCH_STATE_DIR=/{STATE_DIR}\n"),
            format!("StateDirectory={NAME}\n"),
            format!("ExecPaths=/{BINARY} "),
        ] {
            assert!(UNITS[0].1.contains(&said), "{said}");
        }
        assert!(UNITS[1].1.contains(&format!("ExecStart=/{BINARY} update\n")));
        assert!(UNITS[1].1.contains(&format!("try-restart {SERVICE}\n")));
    }

    /// The promise that a running agent starts no program, as far as a text can tell.
    #[test]
    fn programs_are_started_by_install_and_update_alone() {
        let mut callers = Vec::new();
        let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if String::from_utf8_lossy(&fs::read(&path).unwrap())
                    .contains(concat!("Command::", "new("))
                {
                    callers.push(path.file_name().unwrap().to_owned());
                }
            }
        }
        callers.sort();
        // The first tries a newer agent, which the release key has signed.
        assert_eq!(callers, ["place.rs", "system.rs"]);
    }
}
