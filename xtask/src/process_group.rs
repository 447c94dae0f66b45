//! Ending a child together with whatever it has started. The child leads a process
//! group of its own (`Command::process_group(0)`), so that one signal reaches all.

use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Child;

/// Kills `leader`'s group and waits for `leader`. All may be gone already.
pub(crate) fn end(leader: &mut Child) {
    if matches!(leader.try_wait(), Ok(Some(_))) {
        return;
    }
    kill(leader);
    let _ = leader.wait();
}

/// Kills `leader`'s group. Called before `leader` has been waited for, or right after, while those whom it
/// left behind keep the group's id from being given away.
pub(crate) fn kill(leader: &Child) {
    if let Some(group) = i32::try_from(leader.id()).ok().and_then(Pid::from_raw) {
        // It fails only when the whole group has ended, which is what we want.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Read,
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    #[test]
    fn grandchildren_end_too() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]).stdout(Stdio::piped()).process_group(0);
        let mut leader = command.spawn().unwrap();
        end(&mut leader);
        // The pipe ends when the last process that holds it has ended.
        let mut output = String::new();
        leader.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    }
}
