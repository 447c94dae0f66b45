//! The real agent's spool against the real Worker: what was frozen arrives, over kills, a full disk and damaged files.

use edgewatch_e2e::{
    agent::{AgentProcess, AgentSettings},
    client::Client,
    deadline::eventually,
    edgewatch::{Edgewatch, scratch_dir},
};
use edgewatch_shared::{
    limits::{HOUR_MS, MINUTE_MS},
    token::Scope,
};
use serde_json::Value;
use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// For an agent to start, read, and freeze some batches of 10 s, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(90);

/// An agent that reads and pushes every second, tells what it freezes, and has been enrolled under `name`.
fn enrolled(api: &Client, name: &str, state_dir: &Path) -> AgentSettings {
    let settings = AgentSettings::new(state_dir)
        .with("EDGEWATCH_COLLECT_INTERVAL", "1s")
        .with("EDGEWATCH_PUSH_INTERVAL", "1s")
        .with("EDGEWATCH_LOG_LEVEL", "debug");
    let token = api.mint().scoped(Scope::Admin);
    let output = settings.output(&["enroll", api.url(), &token, "--name", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    settings
}

/// Readings of a host that the server has.
fn stored(api: &Client, host: &str) -> u64 {
    let span = (api.now().plus_ms(-HOUR_MS), api.now().plus_ms(MINUTE_MS));
    let counts = api.points(host, "load_1m", span, &[("agg", "count"), ("bucket", "1d")]);
    counts.into_iter().map(|(_, count)| count as u64).sum()
}

fn wait_until_stored(api: &Client, host: &str, readings: u64) {
    eventually(&format!("{readings} readings of {host} arrive"), SOON, || {
        (stored(api, host) >= readings).then_some(())
    });
}

/// Waits until an agent has delivered the past: what of it waits when it is told to stop waits for the next start.
fn wait_until_nothing_waits(settings: &AgentSettings) {
    eventually("the past is delivered", SOON, || {
        let status: Value = serde_json::from_slice(&settings.output(&["status", "--json"]).stdout).ok()?;
        (status["waiting"]["batches"] == 0).then_some(())
    });
}

/// Waits until an agent has frozen so many batches.
fn wait_for_batches(agent: &AgentProcess, batches: usize) {
    eventually(&format!("{batches} batches are frozen"), SOON, || {
        (agent.log().matches(" are frozen").count() >= batches).then_some(())
    });
}

#[test]
fn what_three_killed_agents_froze_without_a_server_arrives_once() {
    let name = "spool-kills";
    let mut server = Edgewatch::start(name);
    let settings = enrolled(server.client(), name, &scratch_dir("spool-kills-state"));
    let agent = settings.run();
    wait_until_stored(server.client(), name, 1);
    server.kill();
    agent.wait_for_line("push failed", SOON);
    let mut frozen = agent.kill();
    for _ in 0..3 {
        let agent = settings.run();
        wait_for_batches(&agent, 2);
        frozen += agent.kill();
    }
    server.resume();
    let mut agent = settings.run();
    agent.wait_for_line("batches are left from before", SOON);
    wait_until_stored(server.client(), name, frozen + 1);
    wait_until_nothing_waits(&settings);
    assert!(agent.terminate(SOON).success());
    assert!(agent.log().contains("stopped, nothing is left behind"), "{}", agent.log());
    frozen += agent.frozen();
    // No kill came between freezing a batch and telling so.
    assert_eq!(stored(server.client(), name), frozen);
    assert_eq!(settings.run().kill(), 0, "nothing is sent again");
}

#[test]
fn a_damaged_segment_costs_what_is_damaged() {
    let name = "spool-damage";
    let mut server = Edgewatch::start(name);
    let state_dir = scratch_dir("spool-damage-state");
    let settings = enrolled(server.client(), name, &state_dir);
    server.kill();
    let mut frozen = Vec::new();
    for _ in 0..4 {
        let agent = settings.run();
        wait_for_batches(&agent, 1);
        frozen.push(agent.kill());
    }
    let segment = state_dir.join("spool/00000001.segment");
    let mut bytes = fs::read(&segment).expect("the agent has a spool");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&segment, bytes).expect("the segment is ours");
    server.resume();
    let mut agent = settings.run();
    agent.wait_for_line("1 places cannot be read, the rest is delivered", SOON);
    let (all, largest) = (frozen.iter().sum::<u64>(), frozen.iter().max().copied().unwrap_or_default());
    wait_until_nothing_waits(&settings);
    eventually("it tells of the damage", SOON, || {
        let span = (server.client().now().plus_ms(-HOUR_MS), server.client().now().plus_ms(MINUTE_MS));
        let told = server.client().points(name, "agent_spool_damaged_total", span, &[("agg", "max")]);
        told.iter().any(|(_, value)| *value == 1.0).then_some(())
    });
    assert!(agent.terminate(SOON).success());
    assert!(agent.log().contains("stopped, nothing is left behind"), "{}", agent.log());
    let stored = stored(server.client(), name);
    let told = all + agent.frozen();
    assert!((told - largest..=told).contains(&stored), "{stored} of {told}");
}

/// A file system of 1 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one; `None` if this user may not.
    fn mount(dir: &Path) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(dir).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(dir.to_owned()))
    }

    /// Takes all room that is left.
    fn fill(&self) {
        let ballast = OpenOptions::new().append(true).create(true).open(self.ballast());
        let mut ballast = ballast.expect("a file without bytes has room");
        for block in [64 << 10, 1] {
            while ballast.write_all(&vec![7; block]).is_ok() {}
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Makes room again.
    fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may be busy for a moment; a lazy one is gone once it is not.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The name of the test that needs to mount something, for whoever runs it again where it may.
const FULL_DISK: &str = "a_full_disk_costs_nothing_and_is_written_again_once_it_has_room";
const IN_A_NAMESPACE: &str = "EDGEWATCH_TEST_IN_A_NAMESPACE";

#[test]
fn a_full_disk_costs_nothing_and_is_written_again_once_it_has_room() {
    let state_dir = scratch_dir("spool-full-state");
    if let Some(disk) = SmallDisk::mount(&state_dir) {
        return a_full_disk_costs_nothing(&disk);
    }
    // Whoever may not mount here may do so in a namespace of its own, unless the kernel says no to that, too.
    let this = env::current_exe().expect("a test has a file");
    let can = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if env::var_os(IN_A_NAMESPACE).is_some() || !can(Command::new("unshare").args(["-rm", "true"])) {
        eprintln!(
            "SKIPPED {FULL_DISK}: neither this user nor a namespace of its own may mount a small file system"
        );
        return;
    }
    let mut again = Command::new("unshare");
    again.arg("-rm").arg(this).args(["--exact", FULL_DISK, "--nocapture"]).env(IN_A_NAMESPACE, "yes");
    assert!(can(&mut again), "it fails in a namespace of its own");
}

fn a_full_disk_costs_nothing(disk: &SmallDisk) {
    let name = "spool-full";
    let mut server = Edgewatch::start(name);
    let settings = enrolled(server.client(), name, &disk.0);
    let agent = settings.run();
    wait_until_stored(server.client(), name, 1);
    disk.fill();
    agent.wait_for_line("the spool cannot be written, batches are kept in memory", SOON);
    let before = stored(server.client(), name);
    wait_until_stored(server.client(), name, before + 2);
    server.kill();
    agent.wait_for_line("push failed", SOON);
    let frozen = agent.log().matches(" are frozen").count();
    wait_for_batches(&agent, frozen + 1);
    disk.free();
    agent.wait_for_line("the spool is written again", SOON);
    assert_eq!(agent.log().matches("the spool cannot be written").count(), 1, "{}", agent.log());
    let frozen = agent.log().matches(" are frozen").count();
    wait_for_batches(&agent, frozen + 1);
    // It has written all by now, so the kill costs nothing.
    let frozen = agent.kill();
    server.resume();
    let mut agent = settings.run();
    wait_until_stored(server.client(), name, frozen + 1);
    wait_until_nothing_waits(&settings);
    assert!(agent.terminate(SOON).success());
    assert_eq!(stored(server.client(), name), frozen + agent.frozen());
}
