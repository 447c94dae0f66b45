//! Processes that are measured: started, ended with their owner, and what they have used, out of `/proc`.

use anyhow::{Context, Result, bail};
use nix::{time::clock_getcpuclockid, unistd::Pid};
use std::{
    fs,
    ops::Add,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A process; dropping it ends it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Runs a program that says nothing on standard output.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self { child: child.with_context(|| format!("starting {name}"))?, name })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} has ended by itself: {status}", self.name),
        }
    }

    /// Its number, as long as it runs.
    pub fn running(&mut self) -> Result<u32> {
        self.check().map(|()| self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    /// Of that, what belongs to no file: heap and stacks. The rest is the program and its libraries.
    pub anonymous: u64,
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { resident: self.resident + other.resident, anonymous: self.anonymous + other.anonymous }
    }
}

/// What a process has in memory now.
pub fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/status");
    memory_of(&fs::read_to_string(&path).with_context(|| format!("reading {path}"))?)
}

fn memory_of(status: &str) -> Result<Memory> {
    let bytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let number = line.with_context(|| format!("no {key}"))?.trim().trim_end_matches(" kB");
        Ok::<_, anyhow::Error>(number.parse::<u64>().with_context(|| key.to_owned())? * 1_024)
    };
    Ok(Memory { resident: bytes("VmRSS")?, anonymous: bytes("RssAnon")? })
}

/// Processor time of a process, user and system, in seconds: of all its threads, those that have ended included.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let pid = Pid::from_raw(i32::try_from(pid).context("a process' number")?);
    // `/proc/PID/stat` tells the same in hundredths of a second: too coarse for who needs less than that in a minute.
    let used = clock_getcpuclockid(pid).and_then(|clock| clock.now());
    Ok(Duration::from(used.with_context(|| format!("the clock of process {pid}"))?).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_by_kind() {
        // Linux 6.18, 2026-11-21, shortened.
        let status = "Name:\tx\nVmHWM:\t    9999 kB\nVmRSS:\t    6232 kB\nRssAnon:\t    2584 kB\n\
            RssFile:\t    3648 kB\nRssShmem:\t       0 kB\n";
        let expected = Memory { resident: 6_232 << 10, anonymous: 2_584 << 10 };
        assert_eq!(memory_of(status).unwrap(), expected);
        assert!(memory_of("VmRSS:\t1 kB\n").is_err());
    }

    #[test]
    fn a_process_has_memory_and_has_used_time() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap().resident > 0);
        assert!(cpu_seconds(pid).unwrap() > 0.0);
    }

    #[test]
    fn who_has_ended_is_named() {
        let mut process = Process::start(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        process.child.wait().unwrap();
        let error = process.check().unwrap_err().to_string();
        assert_eq!(error, "sh has ended by itself: exit status: 3");
    }
}
