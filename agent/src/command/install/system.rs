//! Where `install` and `uninstall` start programs, on behalf of the operator who types them: `systemctl`, `useradd` and
//! `userdel`. `run` does not reach it, and no server can.

use super::{InstallError, NAME};
use std::{fs, process::Command};

/// The system user that the agent runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Its id.
    pub(super) uid: u32,
    /// Its group's id.
    pub(super) gid: u32,
}

/// Calls a program and waits for it.
pub(super) fn run(program: &'static str, arguments: &[&str]) -> Result<(), InstallError> {
    let fault =
        |why: String| InstallError::Program { command: format!("{program} {}", arguments.join(" ")), why };
    let status = Command::new(program).args(arguments).status().map_err(|error| fault(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(fault(status.to_string())) }
}

/// The agent's user, made if need be.
pub(super) fn user() -> Result<User, InstallError> {
    if let Some(user) = known() {
        return Ok(user);
    }
    let nobodys = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"];
    run("useradd", &[&["--system", "--user-group"], &nobodys[..], &[NAME]].concat())?;
    println!("added the user {NAME}");
    known().ok_or(InstallError::NoUser)
}

/// Removes the agent's user, if there is one.
pub(super) fn remove_user() -> Result<(), InstallError> {
    if known().is_none() {
        return Ok(());
    }
    run("userdel", &[NAME])?;
    println!("removed the user {NAME}");
    Ok(())
}

fn known() -> Option<User> {
    in_passwd(&fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// The agent's user in `/etc/passwd` (`man 5 passwd`).
fn in_passwd(passwd: &str) -> Option<User> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(NAME);
        let mut ids = fields.skip(1).map(|field| field.parse().ok());
        is_it.then_some(User { uid: ids.next()??, gid: ids.next()?? })
    };
    passwd.lines().find_map(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nedgewatch-agent2:x:7:7::/:/bin/sh\n\
                      edgewatch-agent:x:998:997::/nonexistent:/usr/sbin/nologin\n";
        assert_eq!(in_passwd(passwd), Some(User { uid: 998, gid: 997 }));
        assert_eq!(in_passwd("edgewatch-agent:x:none:997\nedgewatch-agent"), None);
    }

    #[test]
    fn a_program_that_fails_or_is_missing_is_named() {
        let told = |program, arguments: &[&str]| run(program, arguments).unwrap_err().to_string();
        assert!(told("false", &["a"]).starts_with("`false a` failed: exit status: 1"));
        assert!(told("edgewatch-no-such-program", &[]).contains("No such file"));
        assert!(run("true", &[]).is_ok());
    }
}
