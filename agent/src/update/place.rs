//! A new program takes the place of the old one: tried first, then in one step.

use super::{UpdateError, release::Version};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{self, Child, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Seconds that the new program has to say its version. Reason: it takes milliseconds.
const TRIAL_S_MAX: u64 = 10;
/// Milliseconds between two looks at whether it has.
const TRIAL_LOOK_MS: u64 = 20;
/// Bytes of what it says that are read.
const TRIAL_BYTES_MAX: u64 = 1_024;

/// Puts `content` in the place of `program`, which stays beside it as `….old`. If it does not start or is of another
/// version, everything stays as it was.
pub fn replace(program: &Path, content: &[u8], version: Version) -> Result<(), UpdateError> {
    let failed = |what: &'static str| move |error: io::Error| UpdateError::Place { what, error };
    let dir = program.parent().ok_or(UpdateError::NoPlace)?;
    // Two at once would write into one file.
    let lock = File::open(dir).map_err(failed("opening its folder"))?;
    lock.try_lock().map_err(|error| failed("another update is at work")(error.into()))?;
    let new = beside(program, ".new");
    write(&new, program, content).map_err(failed("writing the new program beside the old"))?;
    let tried = try_program(&new, version);
    let replaced = tried.and_then(|()| {
        fs::copy(program, beside(program, ".old")).map_err(failed("keeping the old program"))?;
        fs::rename(&new, program).map_err(failed("putting the new program in its place"))?;
        lock.sync_all().map_err(failed("making it durable"))
    });
    if replaced.is_err() {
        // What failed is told; that a file is left over beside it would hide that.
        let _removed = fs::remove_file(&new);
    }
    replaced
}

/// The program's path with something at its end.
fn beside(program: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(program);
    name.push(ending);
    name.into()
}

/// Writes the new program, with the old one's permissions.
fn write(path: &Path, old: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::metadata(old)?.permissions())?;
    file.sync_all()
}

/// Whether it starts and says that it is of this version.
fn try_program(path: &Path, version: Version) -> Result<(), UpdateError> {
    let failed = |why: String| UpdateError::Trial(why);
    let mut child = process::Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let succeeded = wait(&mut child).map_err(|error| failed(error.to_string()))?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(TRIAL_BYTES_MAX).read_to_string(&mut said).map_err(|error| failed(error.to_string()))?;
    }
    let mut words = said.split_whitespace();
    let is_it = words.next() == Some("edgewatch-agent") && words.next() == Some(version.to_string().as_str());
    if succeeded && is_it { Ok(()) } else { Err(failed(format!("it says {:?}", said.trim()))) }
}

/// Whether it ended well. It is killed when its time is over.
fn wait(child: &mut Child) -> io::Result<bool> {
    let end = Instant::now() + Duration::from_secs(TRIAL_S_MAX);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it does not end within {TRIAL_S_MAX} s"),
            ));
        }
        thread::sleep(Duration::from_millis(TRIAL_LOOK_MS));
    }
}
