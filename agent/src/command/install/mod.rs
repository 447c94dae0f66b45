//! `install` and `uninstall`: what an operator types as root, once. Binary, user, configuration, state, unit.
//!
//! Every step looks first and says what it did, so that a second run changes nothing and one that broke off can be
//! repeated. Under another root (`--root`, for those who build images and packages) only files are laid out.

mod files;
mod system;

use super::{
    CommandError,
    arguments::{EnrollArguments, InstallArguments},
    enroll, server_and_identity,
};
use crate::{credentials::Credentials, platform, settings::Settings};
use files::{Written, lay_out};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};
use system::{User, run};

/// The unit, as it is installed.
const UNIT: &str = include_str!("../../../packaging/edgewatch-agent.service");
/// Every setting at its default, as a configuration to start from.
const EXAMPLE: &str = include_str!("../../../agent.example.toml");
/// What unit and user are called.
const NAME: &str = "edgewatch-agent";

const BINARY: &str = "usr/local/bin/edgewatch-agent";
const UNIT_FILE: &str = "etc/systemd/system/edgewatch-agent.service";
const CONFIG_DIR: &str = "etc/edgewatch";
const CONFIG_FILE: &str = "etc/edgewatch/agent.toml";
const STATE_DIR: &str = "var/lib/edgewatch-agent";
/// There wherever systemd is in charge (`man 3 sd_booted`).
const SYSTEMD: &str = "/run/systemd/system";

/// Settings that are for the enrolment, or that the unit says itself.
const NOT_IN_FILE: [&str; 4] = ["token", "name", "config", "state-dir"];

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
pub fn install(
    settings: &Settings,
    flags: &BTreeMap<&'static str, String>,
    arguments: &InstallArguments,
) -> Result<(), CommandError> {
    let root = start("install", arguments)?;
    let is_live = arguments.root.is_none();
    let own = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let binary = fs::read(&own).map_err(at(&own))?;
    let mut is_new = tell(lay_out(&root.join(BINARY), &binary, 0o755)?);
    let user = if is_live { Some(system::user()?) } else { None };
    configure(&root, flags, user)?;
    let state_dir = root.join(STATE_DIR);
    platform::create_private_dir(&state_dir).map_err(at(&state_dir))?;
    give(&state_dir, user.map(|user| (user.uid, user.gid)))?;
    is_new |= tell(lay_out(&root.join(UNIT_FILE), UNIT.as_bytes(), 0o644)?);
    if !is_live {
        println!("files are laid out; the user, the enrolment and the start are left to the running system");
        return Ok(());
    }
    let settings = Settings { state_dir, ..settings.clone() };
    enroll_if_told(&settings)?;
    run("systemctl", &["daemon-reload"])?;
    run("systemctl", &["enable", "--quiet", NAME])?;
    if server_and_identity(&settings).is_err() {
        println!(
            "enabled, not started: this host is not enrolled yet. Then: edgewatch-agent install --url URL --token TOKEN"
        );
        return Ok(());
    }
    // A new binary or unit takes a new start; `restart` starts what does not run.
    run("systemctl", &[if is_new { "restart" } else { "start" }, NAME])?;
    println!("enabled and started; edgewatch-agent status tells how it is");
    Ok(())
}

/// Removes service and binary; with `purge` also configuration, state and user.
pub fn uninstall(arguments: &InstallArguments) -> Result<(), CommandError> {
    let root = start("uninstall", arguments)?;
    let is_live = arguments.root.is_none();
    let unit = root.join(UNIT_FILE);
    if is_live && unit.exists() {
        run("systemctl", &["disable", "--quiet", "--now", NAME])?;
    }
    let mut gone = vec![unit, root.join(BINARY)];
    if arguments.purge {
        gone.extend([root.join(CONFIG_FILE), root.join(STATE_DIR)]);
    }
    for path in &gone {
        remove(path)?;
    }
    if is_live {
        run("systemctl", &["daemon-reload"])?;
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

/// Where to, if it may be begun at all.
fn start(verb: &'static str, arguments: &InstallArguments) -> Result<PathBuf, InstallError> {
    if let Some(root) = &arguments.root {
        return Ok(root.clone());
    }
    if !platform::is_root() {
        return Err(InstallError::NotRoot(verb));
    }
    if !Path::new(SYSTEMD).is_dir() {
        return Err(InstallError::NoSystemd);
    }
    Ok(PathBuf::from("/"))
}

/// A configuration, unless there is one: the example, with what this command line says. It may get a token, so that only
/// root and the agent may read it.
fn configure(
    root: &Path,
    flags: &BTreeMap<&'static str, String>,
    user: Option<User>,
) -> Result<(), InstallError> {
    let path = root.join(CONFIG_FILE);
    if path.exists() {
        println!("{} is there, and stays as it is", path.display());
        return Ok(());
    }
    tell(lay_out(&path, configuration(flags).as_bytes(), 0o640)?);
    give(&path, user.map(|user| (0, user.gid)))
}

fn configuration(flags: &BTreeMap<&'static str, String>) -> String {
    let mut text = EXAMPLE.to_owned();
    let said = flags.iter().filter(|(flag, _)| !NOT_IN_FILE.contains(flag));
    for (flag, value) in said {
        // A text of JSON is one of TOML, and every setting may be a text.
        text.push_str(&format!(
            "\n{} = {}\n",
            flag.replace('-', "_"),
            serde_json::Value::from(value.as_str())
        ));
    }
    text
}

fn enroll_if_told(settings: &Settings) -> Result<(), CommandError> {
    if settings.url.is_none() || settings.token.is_none() {
        return Ok(());
    }
    if let Some(known) = Credentials::load(&settings.state_dir)? {
        println!("enrolled already, as {} at {}", known.name, known.url);
        return Ok(());
    }
    enroll::enroll(settings, EnrollArguments::default())
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

/// Says what became of a file; returns whether it is news.
fn tell((path, written): (&Path, Written)) -> bool {
    match written {
        Written::New => println!("wrote {}", path.display()),
        Written::Same => println!("{} is there, and the same", path.display()),
    }
    written == Written::New
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    |error| InstallError::File { path, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::registry;

    #[test]
    fn what_the_command_line_says_is_in_the_first_configuration() {
        let flags = [("ca-file", "/etc/\"ca\".pem"), ("token", "secret"), ("allow-plain-http", "true")];
        let flags = flags.into_iter().map(|(flag, text)| (flag, text.to_owned())).collect();
        let text = configuration(&flags);
        let table: toml::Table = text.parse().unwrap();
        let said: Vec<(&str, &str)> =
            table.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap())).collect();
        assert_eq!(said, [("allow_plain_http", "true"), ("ca_file", "/etc/\"ca\".pem")]);
        assert!(text.starts_with(EXAMPLE) && !text.contains("secret"));
    }

    #[test]
    fn a_flag_is_its_key_with_dashes() {
        for setting in registry::SETTINGS {
            assert_eq!(setting.flag.replace('-', "_"), setting.key);
        }
        for flag in NOT_IN_FILE {
            assert!(registry::by_flag(flag).is_some(), "{flag}");
        }
    }

    #[test]
    fn the_unit_says_what_is_installed() {
        for said in [
            format!("User={NAME}\n"),
            format!("ExecStart=/{BINARY} run\n"),
            format!("Environment=EDGEWATCH_STATE_DIR=/{STATE_DIR}\n"),
            format!("StateDirectory={NAME}\n"),
            format!("ExecPaths=/{BINARY} "),
        ] {
            assert!(UNIT.contains(&said), "{said}");
        }
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
