//! `install` and `uninstall` where there is no systemd.

use super::{CommandError, arguments::InstallArguments};
use crate::settings::Settings;

/// Why the agent could not be installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Another operating system.
    #[error("only for Linux with systemd: have whatever starts services here run `edgewatch-agent run`")]
    NotHere,
}

/// Not here.
pub fn install(_settings: &Settings, _arguments: &InstallArguments) -> Result<(), CommandError> {
    Err(InstallError::NotHere.into())
}

/// Not here.
pub fn uninstall(_arguments: &InstallArguments) -> Result<(), CommandError> {
    Err(InstallError::NotHere.into())
}
