//! The command line.

use crate::settings::registry::{self, SETTINGS};
use edgewatch_shared::catalogue::nearest_of;
use lexopt::{Arg, Parser, ValueExt};
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Collect and push until told to stop.
    Run,
    /// Print one collection and whether the server answers.
    Check {
        /// Whether to push it to a server built in instead.
        stub: bool,
    },
    /// Become one of the server's hosts.
    Enroll(EnrollArguments),
    /// Print how the agent of this host is.
    Status {
        /// Whether programs shall read it.
        json: bool,
    },
    /// Become a service of this host.
    Install(InstallArguments),
    /// Be one no more.
    Uninstall(InstallArguments),
    /// Put a newer release in place.
    Update(UpdateArguments),
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// What `enroll` is told beside the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnrollArguments {
    /// The server; a setting can say it as well.
    pub url: Option<String>,
    /// The enrolment token; a setting can say it as well.
    pub token: Option<String>,
    /// Tags for the host.
    pub tags: Vec<String>,
    /// Whether to replace what an earlier enrolment left.
    pub force: bool,
}

/// What `install` and `uninstall` are told beside the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallArguments {
    /// Another root than the running system's, where only files are laid out.
    pub root: Option<PathBuf>,
    /// Whether `uninstall` removes configuration, state and user, too.
    pub purge: bool,
    /// What `install` is told of the enrolment.
    pub enroll: EnrollArguments,
}

/// What `update` is told beside the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateArguments {
    /// Whether it only looks for a newer release.
    pub only_looks: bool,
}

/// A command line, read.
#[derive(Debug)]
pub struct Arguments {
    /// What to do.
    pub command: Command,
    /// Settings by flag.
    pub flags: BTreeMap<&'static str, String>,
}

/// Why a command line makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Nothing to do.
    #[error("no command; try edgewatch-agent --help")]
    NoCommand,
    /// Something that is no command.
    #[error("unknown command {command:?}; did you mean {nearest:?}?")]
    UnknownCommand {
        /// As said.
        command: String,
        /// What it may have meant.
        nearest: &'static str,
    },
    /// Something that is no flag of this command.
    #[error("unknown flag --{flag}; did you mean --{nearest}?")]
    UnknownFlag {
        /// As said.
        flag: String,
        /// What it may have meant.
        nearest: &'static str,
    },
    /// A flag of other commands than this one, which comes after its command.
    #[error("--{flag} belongs to {commands}, and comes after it")]
    MisplacedFlag {
        /// As said.
        flag: String,
        /// Who knows it.
        commands: &'static str,
    },
    /// A value too many, a value missing, a value that is no text.
    #[error(transparent)]
    Value(#[from] lexopt::Error),
}

/// Flags that are no settings, and the commands that each belongs to.
const OWN_FLAGS: [(&str, &str); 7] = [
    ("tag", "enroll"),
    ("force", "enroll"),
    ("stub", "check"),
    ("json", "status"),
    ("root", "install or uninstall"),
    ("purge", "uninstall"),
    ("check", "update"),
];

const COMMANDS: [&str; 7] = ["run", "check", "status", "enroll", "install", "uninstall", "update"];

/// Reads a command line, without the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut command = None;
    let mut flags = BTreeMap::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Short('h') | Arg::Long("help") => command = Some(Command::Help),
            Arg::Short('V') | Arg::Long("version") => command = Some(Command::Version),
            Arg::Long(flag) => {
                let flag = flag.to_owned();
                read_flag(&flag, &mut parser, command.as_mut(), &mut flags)?;
            }
            Arg::Value(value) => read_value(value.string()?, &mut command)?,
            Arg::Short(_) => return Err(argument.unexpected().into()),
        }
        if matches!(command, Some(Command::Help | Command::Version)) {
            break;
        }
    }
    Ok(Arguments { command: command.ok_or(UsageError::NoCommand)?, flags })
}

fn read_flag(
    flag: &str,
    parser: &mut Parser,
    command: Option<&mut Command>,
    flags: &mut BTreeMap<&'static str, String>,
) -> Result<(), UsageError> {
    match (command, flag) {
        (Some(Command::Enroll(enroll) | Command::Install(InstallArguments { enroll, .. })), "tag") => {
            enroll.tags.push(parser.value()?.string()?);
            return Ok(());
        }
        (Some(Command::Enroll(enroll) | Command::Install(InstallArguments { enroll, .. })), "force") => {
            enroll.force = true;
            return Ok(());
        }
        (Some(Command::Check { stub }), "stub") => {
            *stub = true;
            return Ok(());
        }
        (Some(Command::Status { json }), "json") => {
            *json = true;
            return Ok(());
        }
        (Some(Command::Install(install) | Command::Uninstall(install)), "root") => {
            install.root = Some(parser.value()?.into());
            return Ok(());
        }
        (Some(Command::Uninstall(install)), "purge") => {
            install.purge = true;
            return Ok(());
        }
        (Some(Command::Update(update)), "check") => {
            update.only_looks = true;
            return Ok(());
        }
        _ => {}
    }
    let Some(setting) = registry::by_flag(flag) else {
        if let Some((_, commands)) = OWN_FLAGS.into_iter().find(|(own, _)| *own == flag) {
            return Err(UsageError::MisplacedFlag { flag: flag.to_owned(), commands });
        }
        let own = OWN_FLAGS.into_iter().map(|(flag, _)| flag);
        let known = SETTINGS.iter().map(|setting| setting.flag).chain(own);
        return Err(UsageError::UnknownFlag { flag: flag.to_owned(), nearest: nearest_of(flag, known) });
    };
    let text = if setting.value.is_empty() {
        parser.optional_value().map_or_else(|| Ok("true".to_owned()), ValueExt::string)?
    } else {
        parser.value()?.string()?
    };
    flags.insert(setting.flag, text);
    Ok(())
}

fn read_value(text: String, command: &mut Option<Command>) -> Result<(), UsageError> {
    match command {
        Some(Command::Enroll(enroll)) if enroll.url.is_none() => enroll.url = Some(text),
        Some(Command::Enroll(enroll)) if enroll.token.is_none() => enroll.token = Some(text),
        Some(_) => return Err(lexopt::Error::UnexpectedArgument(text.into()).into()),
        None => {
            *command = Some(match text.as_str() {
                "run" => Command::Run,
                "check" => Command::Check { stub: false },
                "enroll" => Command::Enroll(EnrollArguments::default()),
                "status" => Command::Status { json: false },
                "install" => Command::Install(InstallArguments::default()),
                "uninstall" => Command::Uninstall(InstallArguments::default()),
                "update" => Command::Update(UpdateArguments::default()),
                "help" => Command::Help,
                "version" => Command::Version,
                _ => {
                    return Err(UsageError::UnknownCommand {
                        nearest: nearest_of(&text, COMMANDS.into_iter()),
                        command: text,
                    });
                }
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn each_command_is_known() {
        for (line, command) in [
            ("run", Command::Run),
            ("check", Command::Check { stub: false }),
            ("check --stub", Command::Check { stub: true }),
            ("status", Command::Status { json: false }),
            ("status --json", Command::Status { json: true }),
            ("update", Command::Update(UpdateArguments::default())),
            ("update --check", Command::Update(UpdateArguments { only_looks: true })),
            ("--help", Command::Help),
            ("run -h", Command::Help),
            ("--version", Command::Version),
            ("-V", Command::Version),
        ] {
            assert_eq!(read(line).unwrap().command, command, "{line}");
        }
    }

    #[test]
    fn enrolment_takes_server_token_tags_and_force() {
        let line = "enroll https://watch.example t0k3n --tag eu --name web-01 --tag web --force";
        let arguments = read(line).unwrap();
        let expected = EnrollArguments {
            url: Some("https://watch.example".into()),
            token: Some("t0k3n".into()),
            tags: vec!["eu".into(), "web".into()],
            force: true,
        };
        assert_eq!(arguments.command, Command::Enroll(expected));
        assert_eq!(arguments.flags, BTreeMap::from([("name", "web-01".to_owned())]));
    }

    #[test]
    fn installing_takes_a_root_and_tags_and_removing_also_a_purge() {
        let line = "install --root /image --url https://watch.example --tag eu --tag web --force";
        let arguments = read(line).unwrap();
        let root = Some(PathBuf::from("/image"));
        let tags = vec!["eu".into(), "web".into()];
        let enroll = EnrollArguments { tags, force: true, ..EnrollArguments::default() };
        let expected = InstallArguments { root: root.clone(), purge: false, enroll };
        assert_eq!(arguments.command, Command::Install(expected));
        assert_eq!(arguments.flags["url"], "https://watch.example");
        let expected = InstallArguments { root, purge: true, ..InstallArguments::default() };
        assert_eq!(read("uninstall --purge --root /image").unwrap().command, Command::Uninstall(expected));
    }

    #[test]
    fn every_setting_has_a_flag_and_switches_need_no_value() {
        for setting in SETTINGS {
            let value = if setting.value.is_empty() { "" } else { " x" };
            let arguments = read(&format!("run --{}{value}", setting.flag)).unwrap();
            let text = if setting.value.is_empty() { "true" } else { "x" };
            assert_eq!(arguments.flags[setting.flag], text, "{}", setting.flag);
        }
        let off = read("run --allow-plain-http=false").unwrap();
        assert_eq!(off.flags["allow-plain-http"], "false");
    }

    #[test]
    fn mistakes_are_told_the_nearest() {
        for (line, message) in [
            ("", "no command"),
            ("rum", r#"did you mean "run"?"#),
            ("run --push-intervall 1s", "did you mean --push-interval?"),
            ("run --tagg eu", "did you mean --tag?"),
            ("run --tag eu", "--tag belongs to enroll, and comes after it"),
            ("--force enroll", "--force belongs to enroll, and comes after it"),
            ("run --stub", "--stub belongs to check"),
            ("install --purge", "--purge belongs to uninstall"),
            ("run --check", "--check belongs to update"),
            ("run extra", "unexpected argument"),
            ("enroll a b c", "unexpected argument"),
            ("run --url", "missing argument"),
            ("run -x", "invalid option"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(message), "{line}: {error}");
        }
    }
}
