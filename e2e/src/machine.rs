//! A machine of its own, whose first process is systemd: a container over this machine's files, none of which it changes.
//!
//! systemd comes up as far as `basic.target`, with a journal and a system bus and nothing else that is installed here. The
//! network is this machine's, so that a server on 127.0.0.1 is one for both.

use crate::{deadline::eventually, edgewatch::scratch_dir};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// For systemd to come up, on a machine that is busy with other tests.
const BOOT: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// In control groups of its own, which go when it does: boots it by the other script.
const GROUP_SCRIPT: &str = r#"
set -e
groups=
while IFS=: read -r _ kind path; do
    case $kind in
        name=systemd) root=/sys/fs/cgroup/systemd ;;
        '') if [ -d /sys/fs/cgroup/unified ]; then root=/sys/fs/cgroup/unified; else root=/sys/fs/cgroup; fi ;;
        *) continue ;;
    esac
    groups="$groups $root$path/$0"
done < /proc/self/cgroup
mkdir $groups
trap 'find $groups -depth -type d -exec rmdir {} ";"' EXIT
(
    for group in $groups; do
        echo 0 > "$group/cgroup.procs" || exit
    done
    exec setpriv --pdeathsig KILL \
        unshare --mount --propagation private --pid --mount-proc --fork --kill-child sh -c "$1" "$0"
)
"#;

/// Boots it. The mounts are nobody else's, and go with the last process. What an agent of this machine left, and what is
/// started here, is not there. The filter of system calls lets ask whether the clock is synchronised, as any machine's does.
const BOOT_SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir /run/over /run/root
mount -t tmpfs tmpfs /run/over
mkdir /run/over/upper /run/over/work
mount -t overlay overlay -o lowerdir=/,upperdir=/run/over/upper,workdir=/run/over/work /run/root
cd /run/root
rm -rf etc/machine-id etc/fstab etc/systemd/system etc/edgewatch var/lib/edgewatch-agent usr/local/bin/edgewatch-agent*
units=usr/lib/systemd/system
rm -rf "$units"/*.target.wants "$units"/edgewatch-agent*
mkdir -p etc/systemd/system "$units/sysinit.target.wants" "$units/sockets.target.wants"
ln -s ../systemd-journald.service ../systemd-tmpfiles-setup.service "$units/sysinit.target.wants"
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket ../dbus.socket "$units/sockets.target.wants"
echo 0123456789abcdef0123456789abcdef > etc/machine-id
exec systemd-nspawn --quiet --boot --directory=/run/root --machine="$0" --register=no --keep-unit --link-journal=no \
    --system-call-filter='adjtimex clock_adjtime' --console=pipe systemd.unit=basic.target
"#;

/// A machine that runs until it is dropped.
pub struct Machine {
    container: Child,
    /// Its systemd, as this machine numbers it.
    init: u32,
}

impl Machine {
    /// Boots a machine. `None`, and said, where that cannot be done; what a test does in it has no part in that.
    pub fn boot(name: &str) -> Option<Self> {
        Self::try_boot(name)
            .inspect_err(|why| {
                // Past the harness, which keeps to itself what a test that passes says.
                let _said =
                    writeln!(io::stderr(), "SKIPPED: no machine with systemd can be booted here: {why}");
            })
            .ok()
    }

    fn try_boot(name: &str) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("this takes root".to_owned());
        }
        for (program, package) in [("systemd-nspawn", "systemd-container"), ("dbus-daemon", "dbus")] {
            if xtask::command::find(program).is_none() {
                return Err(format!("{program} is missing (Debian package {package})"));
            }
        }
        let log = scratch_dir(name).join("boot.log");
        let file = File::create(&log).map_err(|error| error.to_string())?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        // All of it ends with this test, however that ends.
        let mut command = Command::new("setpriv");
        let machine = format!("{name}-{}", std::process::id());
        command.args(["--pdeathsig", "KILL", "sh", "-c", GROUP_SCRIPT, &machine, BOOT_SCRIPT]);
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let mut container = command.spawn().map_err(|error| error.to_string())?;
        match Self::came_up(&mut container) {
            Some(init) => Ok(Self { container, init }),
            None => {
                let _killed = container.kill();
                let _ended = container.wait();
                Err(fs::read_to_string(&log).unwrap_or_default())
            }
        }
    }

    /// Its first process, once systemd says that it runs.
    fn came_up(container: &mut Child) -> Option<u32> {
        let start = Instant::now();
        while start.elapsed() < BOOT && container.try_wait().is_ok_and(|ended| ended.is_none()) {
            let is_up = |init: &u32| {
                let state = inside(*init, &["systemctl", "is-system-running"]).output();
                state.is_ok_and(|state| state.stdout == b"running\n")
            };
            // The shell's child is unshare, whose child is the container's manager.
            let managers = children(container.id()).into_iter().flat_map(children);
            if let Some(init) = managers.flat_map(children).find(is_up) {
                return Some(init);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        None
    }

    /// A command in it, not run yet.
    pub fn command(&self, words: &[&str]) -> Command {
        inside(self.init, words)
    }

    /// What a command says in it that has to succeed: its standard output.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("nsenter starts");
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What a command says in it that has to fail.
    #[track_caller]
    pub fn refuse(&self, words: &[&str]) -> String {
        let output = self.command(words).output().expect("nsenter starts");
        assert!(!output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    }

    /// Where one of its files lies, as long as it runs.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init)).join(path.trim_start_matches('/'))
    }

    /// The number of a service's main process in it.
    #[track_caller]
    pub fn main_pid(&self, service: &str) -> String {
        let pid = self.run(&["systemctl", "show", "--property=MainPID", "--value", service]);
        assert_ne!(pid, "0", "{service} does not run: {}", self.journal(service));
        pid
    }

    /// What a service has logged so far.
    pub fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--quiet", "--no-pager", "--output=cat", "--unit", unit])
    }

    /// Waits until a service has logged this.
    #[track_caller]
    pub fn wait_for_line(&self, unit: &str, text: &str, within: Duration) {
        eventually(&format!("{unit} says {text:?}"), within, || {
            self.journal(unit).contains(text).then_some(())
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() {
            let journal = self.command(&["journalctl", "--quiet", "--no-pager"]).output();
            eprintln!("the machine's journal:\n{}", journal.map(|output| said(&output)).unwrap_or_default());
        }
        // With its first process all others end, then the container's manager, and then who removes the control groups.
        let init = i32::try_from(self.init).ok().and_then(Pid::from_raw);
        let _killed = init.map(|init| kill_process(init, Signal::KILL));
        let _ended = self.container.wait();
    }
}

/// The processes that a process has started and that run.
fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Everything that a command said.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// A command in the namespaces of a process, with nothing of our environment.
fn inside(init: u32, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--all", "--target", &init.to_string(), "--"]).args(words);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}
