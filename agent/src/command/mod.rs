//! The commands: what the binary does once it knows what it was told.

pub mod arguments;
mod check;
mod enroll;
mod help;
#[cfg(target_os = "linux")]
mod install;
#[cfg(not(target_os = "linux"))]
#[path = "install_elsewhere.rs"]
mod install;
mod run;
mod status;
mod stub;
mod update;

use crate::{
    credentials::{Credentials, CredentialsError},
    facts, logger,
    push::{
        client::{Client, NoAnswer},
        identity::Identity,
        transport::{Transport, TransportError},
    },
    server_url::ServerUrl,
    settings::{Said, Settings, SettingsError, Sources},
    spool::LockError,
    update::UpdateError,
};
use arguments::{Arguments, Command, UsageError};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// Exit code of whoever was called wrongly or is configured wrongly.
const MISUSED: u8 = 2;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line makes no sense.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The server cannot be reached as the settings say.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The host's credentials cannot be read or kept.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Another agent runs on this host.
    #[error(transparent)]
    Spool(#[from] LockError),
    /// The agent cannot be made a service of this host, or removed.
    #[error(transparent)]
    Install(#[from] install::InstallError),
    /// Enrolment needs a token.
    #[error("no enrolment token: edgewatch-agent enroll URL TOKEN, or set EDGEWATCH_TOKEN")]
    NoEnrollmentToken,
    /// The host has credentials already.
    #[error("this host is enrolled already, as {name} at {url} ({path}); --force enrols it anew")]
    AlreadyEnrolled {
        /// Its name.
        name: String,
        /// Its server.
        url: String,
        /// Where its credentials lie.
        path: String,
    },
    /// The configuration file names another server than the one to enrol at.
    #[error(
        "{origin} is {url}, which goes before the server of an enrolment: change it, or take it out of the file"
    )]
    OtherServer {
        /// Where it stands.
        origin: String,
        /// The file's server.
        url: String,
    },
    /// The server did not answer.
    #[error("{url} does not answer: {error}")]
    NoAnswer {
        /// The server.
        url: String,
        /// What happened.
        error: NoAnswer,
    },
    /// The server said no.
    #[error("{url} refused: {why}")]
    Refused {
        /// The server.
        url: String,
        /// What it said.
        why: String,
    },
    /// There was no update.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The operating system refuses what the agent cannot do without.
    #[error("{what}: {error}")]
    Os {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

/// Runs the command line. What went wrong is said on standard error.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match arguments::parse(arguments).map_err(CommandError::from).and_then(obey) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            match error {
                CommandError::Usage(_) | CommandError::Settings(_) | CommandError::Transport(_) => {
                    ExitCode::from(MISUSED)
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// Says on standard error what went wrong. Who does not listen need not hear it.
fn complain(error: &CommandError) {
    let _heard = writeln!(io::stderr().lock(), "edgewatch-agent: {error}");
}

fn obey(arguments: Arguments) -> Result<ExitCode, CommandError> {
    match arguments.command {
        Command::Help => check::say(&help::text()),
        Command::Version => check::say(help::version()),
        Command::Run => run::run(&load(&arguments.flags)?, &arguments.flags)?,
        Command::Check { stub: false } => return check::check(&load(&arguments.flags)?),
        Command::Check { stub: true } => return stub::stub(&load(&arguments.flags)?),
        Command::Update(update) => return update::update(&load(&arguments.flags)?, update),
        Command::Enroll(enroll) => enroll::enroll(&load(&arguments.flags)?, enroll)?,
        Command::Status { json } => return status::status(&load_for_status(&arguments.flags)?, json),
        Command::Install(install) => install::install(&load(&arguments.flags)?, &install)?,
        Command::Uninstall(install) => install::uninstall(&install)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Gathers the settings, starts the log, and says what could not be used.
fn load(flags: &BTreeMap<&'static str, String>) -> Result<Settings, CommandError> {
    let (settings, warnings) = read_settings(flags)?;
    logger::start(settings.log_level);
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(settings)
}

/// The settings as far as `status` needs them: a faulty file is said and passed over, since the agent may well run on.
fn load_for_status(flags: &BTreeMap<&'static str, String>) -> Result<Settings, CommandError> {
    load(flags).or_else(|error| {
        complain(&error);
        let (settings, _) = read_settings_from(flags, &|_| Ok(Some(String::new())))?;
        Ok(settings)
    })
}

/// The settings of this moment, and what of them could not be used.
fn read_settings(flags: &BTreeMap<&'static str, String>) -> Result<(Settings, Vec<String>), SettingsError> {
    read_settings_from(flags, &read_if_there)
}

fn read_settings_from(
    flags: &BTreeMap<&'static str, String>,
    read: &dyn Fn(&Path) -> io::Result<Option<String>>,
) -> Result<(Settings, Vec<String>), SettingsError> {
    Settings::load(&Sources {
        env: &|name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()),
        flags,
        read,
        is_root: crate::platform::is_root(),
    })
}

fn os(what: &'static str) -> impl FnOnce(io::Error) -> CommandError {
    move |error| CommandError::Os { what, error }
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A client of the server, reached as the settings say.
fn client(settings: &Settings, url: ServerUrl) -> Result<Client, TransportError> {
    let transport = Transport::to(&url, settings)?;
    Ok(Client::new(url, &transport))
}

/// The server, and who this host is to it: enrolled, or the bearer of a push token.
fn server_and_identity(settings: &Settings) -> Result<(ServerUrl, Identity), CommandError> {
    let path = Credentials::path(&settings.state_dir);
    let Some(credentials) = Credentials::load(&settings.state_dir)? else {
        let url = settings.server_url(None)?;
        let token = settings.token.clone();
        let token = token.ok_or_else(|| SettingsError::NoIdentity(path.display().to_string()))?;
        let name = settings.host_name(facts::own_name)?;
        return Ok((url, Identity::PushToken { token, name }));
    };
    let enrolled_at = Said { text: credentials.url.clone(), origin: path.display().to_string() };
    let key = credentials.key().map_err(|error| CredentialsError::Damaged {
        path: path.display().to_string(),
        why: error.to_string(),
    })?;
    let identity = Identity::Enrolled { id: credentials.host_id, key, name: credentials.name };
    Ok((settings.server_url(Some(enrolled_at))?, identity))
}
