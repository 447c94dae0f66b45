//! `update`: a newer release takes this program's place, if it is signed. `update --check` only looks for one.

use super::{CommandError, arguments::UpdateArguments, check::say};
use crate::{
    settings::Settings,
    update::{Outcome, Update},
};
use std::process::ExitCode;

/// Exit code of `update --check` where there is nothing newer: a timer's condition that does not hold.
const NOTHING_NEWER: u8 = 3;

/// Exits with 0 when the newest release is in place, or with `--check` when a newer one is there.
pub fn update(settings: &Settings, arguments: UpdateArguments) -> Result<ExitCode, CommandError> {
    let update = Update::of_this_program(settings.releases_url()?, settings)?;
    let (line, code) = match update.run(arguments.only_looks)? {
        Outcome::Newest if arguments.only_looks => (newest(), ExitCode::from(NOTHING_NEWER)),
        Outcome::Newest => (newest(), ExitCode::SUCCESS),
        Outcome::Available(version) => (format!("{version} is there"), ExitCode::SUCCESS),
        Outcome::Updated(version) => {
            (format!("updated to {version}; restart the agent to run it"), ExitCode::SUCCESS)
        }
    };
    say(&line);
    Ok(code)
}

fn newest() -> String {
    format!("{} is the newest release", env!("CARGO_PKG_VERSION"))
}
