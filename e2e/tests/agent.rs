//! The real agent against the real Worker: what it reads arrives, whatever happens to the server in between.

use edgewatch_e2e::{
    agent::AgentSettings,
    client::Client,
    deadline::eventually,
    edgewatch::{Edgewatch, scratch_dir},
    hooks::Faults,
};
use edgewatch_shared::{
    TimestampMs,
    limits::{HOUR_MS, MINUTE_MS},
    token::Scope,
    wire::HostStatus,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Command},
    sync::LazyLock,
    thread::available_parallelism,
    time::Duration,
};

/// For an agent to start, read and push, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);
/// For a record of processes to come: one a minute, and on a machine that is busy the next one may be the first that has it.
const RECORDED: Duration = Duration::from_secs(150);
/// For an agent to end that was told to: what it promises is 5 s.
const END: Duration = Duration::from_secs(6);

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("agent"));
    SERVER.client()
}

/// An agent that reads and pushes every second, and has been enrolled under `name`.
fn enrolled(api: &Client, name: &str) -> AgentSettings {
    let settings = AgentSettings::new(&scratch_dir(&format!("{name}-state")))
        .with("EDGEWATCH_COLLECT_INTERVAL", "1s")
        .with("EDGEWATCH_PUSH_INTERVAL", "1s");
    let token = api.mint().scoped(Scope::Admin);
    let output = settings.output(&["enroll", api.url(), &token, "--name", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    settings
}

/// Samples of `load_1m` between two instants.
fn counted(api: &Client, host: &str, from: TimestampMs, to: TimestampMs) -> f64 {
    let counts = api.points(host, "load_1m", (from, to), &[("agg", "count"), ("bucket", "1d")]);
    counts.into_iter().map(|(_, count)| count).sum()
}

/// Samples of `load_1m` in the hour around now.
fn counted_now(api: &Client, host: &str) -> f64 {
    counted(api, host, api.now().plus_ms(-HOUR_MS), api.now().plus_ms(MINUTE_MS))
}

fn wait_for_samples(api: &Client, host: &str, count: f64) {
    eventually(&format!("{count} samples of {host} arrive"), SOON, || {
        (counted_now(api, host) >= count).then_some(())
    });
}

/// The newest value of a metric, where there is one.
fn newest(api: &Client, host: &str, name: &str, label: &[(&str, &str)]) -> Option<f64> {
    let span = (api.now().plus_ms(-HOUR_MS), api.now().plus_ms(MINUTE_MS));
    let points = api.points(host, name, span, &[label, &[("agg", "last")]].concat());
    points.last().map(|(_, value)| *value)
}

/// A number from Linux's /proc: the first one in the line that starts with `key`.
fn proc_number(path: &str, key: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn what_an_agent_reads_is_queried_back_and_makes_sense() {
    let name = "agent-reads";
    let mut agent = enrolled(api(), name).run();
    // Processors can be compared from the second reading on.
    eventually("shares of processors arrive", SOON, || newest(api(), name, "cpu.usage_pct", &[]));
    let value = |name_of: &str, label: &[(&str, &str)]| {
        newest(api(), name, name_of, label).unwrap_or_else(|| panic!("{name_of} {label:?} did not arrive"))
    };
    let cpus = available_parallelism().unwrap().get() as f64;
    assert!(value("cpu_count", &[]) >= cpus, "a process may use fewer processors than there are");
    // Where the operating system does not say it, any machine's will do.
    let memory =
        proc_number("/proc/meminfo", "MemTotal:").map_or((1e8, 1e15), |kib| (kib * 1024.0, kib * 1024.0));
    let uptime = proc_number("/proc/uptime", "").map_or((0.0, 1e10), |s| (s - 60.0, s + 1.0));
    for (metric, label, least, most) in [
        ("cpu.usage_pct", &[("label.core", "total")][..], 0.0, 100.0),
        ("cpu.usage_pct", &[("label.core", "0")], 0.0, 100.0),
        ("mem.used_pct", &[], 1.0, 100.0),
        ("mem.total_bytes", &[], memory.0, memory.1),
        ("mem.used_bytes", &[], 1e6, memory.1),
        ("mem.available_bytes", &[], 1e6, memory.1),
        ("load_1m", &[], 0.0, 1_000.0),
        ("uptime_seconds", &[], uptime.0, uptime.1),
        ("boot_time_seconds", &[], 1.5e9, api().now().seconds() as f64),
        ("disk.used_pct", &[("label.mount", "/")], 0.0, 100.0),
        ("disk.total_bytes", &[("label.mount", "/")], 1e8, 1e18),
        ("agent_resident_bytes", &[], 1e6, 2e8),
        ("agent_dropped_batches_total", &[], 0.0, 0.0),
        ("agent_push_failures_total", &[], 0.0, 0.0),
        ("agent_queue_batches", &[], 0.0, 60.0),
    ] {
        let value = value(metric, label);
        assert!((least..=most).contains(&value), "{metric} {label:?} is {value}, not {least} to {most}");
    }
    assert_traffic_is_counted(name);
    let host = api().host(name);
    assert_eq!((host.status, host.revoked), (HostStatus::Ok, false));
    assert_eq!(host.facts.arch, std::env::consts::ARCH);
    assert_eq!(Some(host.facts.memory_bytes as f64), newest(api(), name, "mem.total_bytes", &[]));
    assert!(host.facts.agent_version.starts_with(env!("CARGO_PKG_VERSION")), "{:?}", host.facts);
    assert!(!host.facts.os.is_empty() && host.facts.cpus as f64 >= cpus, "{:?}", host.facts);
    assert!(agent.terminate(END).success());
}

/// Counters arrive where the machine has an interface, and are answered under MiniObserv's names as well.
fn assert_traffic_is_counted(host: &str) {
    let Some(total) = newest(api(), host, "net_receive_bytes_total", &[]) else { return };
    let bytes_in = eventually("two readings arrive", SOON, || newest(api(), host, "net.bytes_in", &[]));
    assert!((0.0..=total.max(1e12)).contains(&bytes_in), "{bytes_in} of {total}");
}

#[test]
fn a_host_may_send_node_exporters_names() {
    let name = "agent-node-names";
    let mut agent = enrolled(api(), name).with("EDGEWATCH_NAMES", "node_exporter").run();
    eventually("its load arrives", SOON, || newest(api(), name, "node_load1", &[]));
    let memory = newest(api(), name, "node_memory_MemTotal_bytes", &[]);
    assert!(memory.is_some() && memory == newest(api(), name, "mem.total_bytes", &[]), "{memory:?}");
    let idle = [("label.cpu", "0"), ("label.mode", "idle")];
    assert!(newest(api(), name, "node_cpu_seconds_total", &idle).is_some());
    assert_eq!(newest(api(), name, "load_5m", &[]), None);
    assert!(agent.terminate(END).success());
}

#[test]
fn what_was_read_while_the_server_was_away_arrives_later() {
    let name = "agent-away";
    let mut server = Edgewatch::start("agent-away");
    let settings = enrolled(server.client(), name);
    let mut agent = settings.run();
    let started = server.client().now();
    wait_for_samples(server.client(), name, 2.0);
    server.kill();
    agent.wait_for_line("push failed, the batch is kept and tried again", SOON);
    let away = server.client().now();
    eventually("the server is away for a while", SOON, || {
        (server.client().now() > away.plus_ms(4_000)).then_some(())
    });
    server.resume();
    agent.wait_for_line("pushes are taken again", SOON);
    let stopped = server.client().now();
    assert!(agent.terminate(END).success());
    assert!(agent.log().contains("stopped, nothing is left behind"), "{}", agent.log());
    assert_no_gap(server.client(), name, started.plus_ms(2_000), stopped);
    assert_eq!(newest(server.client(), name, "agent_dropped_batches_total", &[]), Some(0.0));
}

/// That a host that reads every second has samples in any three seconds. A single reading may come late on a busy
/// machine; a batch that was lost would leave more.
fn assert_no_gap(api: &Client, host: &str, from: TimestampMs, to: TimestampMs) {
    let mut start = from;
    while start.plus_ms(3_000) <= to {
        let count = counted(api, host, start, start.plus_ms(2_999));
        assert!(count >= 1.0, "nothing {} ms after {from:?}", start.ms_since(from));
        start = start.plus_ms(1_000);
    }
    assert!(to.ms_since(from) > 6_000, "too short to tell");
}

#[test]
fn an_agent_that_is_told_to_stop_sends_what_it_has() {
    let name = "agent-stops";
    let mut agent = enrolled(api(), name).with("EDGEWATCH_PUSH_INTERVAL", "1h").run();
    // The first push goes at once, the next one in an hour.
    wait_for_samples(api(), name, 1.0);
    let pushed = counted_now(api(), name);
    let first = api().now();
    eventually("more is read", SOON, || (api().now() > first.plus_ms(3_000)).then_some(()));
    assert_eq!(counted_now(api(), name), pushed, "nothing is pushed in between");
    let status = agent.terminate(END);
    assert!(status.success(), "{status}");
    assert!(agent.log().contains("stopped, nothing is left behind"), "{}", agent.log());
    assert!(counted_now(api(), name) >= pushed + 2.0);
}

#[test]
fn a_revoked_agent_keeps_its_batches_and_says_so() {
    let name = "agent-revoked";
    let mut agent = enrolled(api(), name).run();
    wait_for_samples(api(), name, 1.0);
    api().revoke(name);
    let pushed = counted_now(api(), name);
    agent.wait_for_line("does not let this host in, batches are kept: revoked_host", SOON);
    assert!(agent.is_running());
    assert_eq!(counted_now(api(), name), pushed);
    let status = agent.terminate(END);
    assert!(status.success(), "{status}");
    assert!(agent.log().contains("wait for the next start"), "{}", agent.log());
    assert_eq!(counted_now(api(), name), pushed);
}

#[test]
fn an_agent_with_a_push_token_needs_no_enrolment() {
    let name = "agent-token";
    let mut agent = AgentSettings::new(&scratch_dir(name))
        .with("SERVER_URL", api().url())
        .with("AGENT_TOKEN", api().mint().scoped(Scope::Push))
        .with("EDGEWATCH_NAME", name)
        .with("COLLECT_INTERVAL", "1s")
        .with("EDGEWATCH_PUSH_INTERVAL", "1s")
        .run();
    wait_for_samples(api(), name, 2.0);
    assert!(agent.terminate(END).success());
}

#[test]
fn a_check_succeeds_only_if_the_server_is_well() {
    let name = "agent-check";
    let mut server = Edgewatch::start("agent-check");
    let api = server.client().clone();
    let check = |settings: &AgentSettings| {
        let output = settings.output(&["check"]);
        let told = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&told).into_owned())
    };
    let (code, told) = check(&AgentSettings::new(&scratch_dir("agent-check-none")));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("EDGEWATCH_URL") || told.contains("EDGEWATCH_TOKEN"), "{told}");

    let settings = enrolled(&api, name);
    let (code, told) = check(&settings);
    assert_eq!(code, Some(0), "{told}");
    for expected in
        ["mem_used_pct", "cpu_usage_pct", "core=total", &format!("as {name}"), "/readyz: HTTP 200"]
    {
        assert!(told.contains(expected), "{expected} in {told}");
    }
    assert_eq!(counted_now(&api, name), 0.0, "a check pushes nothing");
    api.set_faults(Faults { d1: true, ..Faults::default() });
    api.set_clock(MINUTE_MS);
    let (code, told) = check(&settings);
    assert_eq!(code, Some(1), "{told}");
    server.stop();
    let (code, told) = check(&settings);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("no answer"), "{told}");
}

#[test]
fn an_enrolment_is_kept_for_its_owner_and_made_once() {
    let name = "agent-enrols";
    let settings = enrolled(api(), name);
    let file = settings.state_dir().join("credentials.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read_to_string(&file).unwrap();
    let refused = |arguments: &[&str]| {
        let output = settings.output(arguments);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let token = api().mint().scoped(Scope::Admin);
    let told = refused(&["enroll", api().url(), &token, "--name", "agent-enrols-again"]);
    assert!(told.contains("enrolled already"), "{told}");
    let told = refused(&["enroll", api().url(), &token, "--name", name, "--force"]);
    assert!(told.contains("host_exists"), "{told}");
    let told = refused(&["enroll", api().url(), "garbage", "--name", "agent-garbage", "--force"]);
    assert!(told.contains("invalid_token"), "{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), kept, "what does not work out changes nothing");
    assert!(!api().host_names().contains(&"agent-enrols-again".to_owned()));
}

#[test]
fn an_agent_says_its_version() {
    let output = AgentSettings::new(&scratch_dir("agent-version")).output(&["--version"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains(env!("CARGO_PKG_VERSION")), "{told}");
}

/// A process that does nothing but compute, until it is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("there is a shell"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_record_of_processes_names_a_busy_one_and_survives_eviction_and_restart() {
    let mut server = Edgewatch::start("agent-processes");
    let api = server.client().clone();
    let busy = Busy::start();
    let name = "processes";
    let mut agent = enrolled(&api, name).run();
    let record = eventually("a record with the busy process arrives", RECORDED, || {
        let record = api.processes(name);
        record.by_cpu.iter().any(|process| process.pid == busy.0.id()).then_some(record)
    });
    let found = record.by_cpu.iter().find(|process| process.pid == busy.0.id());
    let found = found.unwrap_or_else(|| panic!("{record:?}"));
    assert_eq!(found.name, "sh");
    let user = rustix::process::geteuid().as_raw();
    assert!(user != 0 || found.user == "root", "{found:?}");
    assert!(found.cpu_pct > 0.0 && record.count >= record.by_cpu.len() as u64, "{record:?}");
    assert!(!record.by_memory.is_empty());
    assert!(record.by_memory.is_sorted_by(|a, b| a.resident_bytes >= b.resident_bytes), "{record:?}");
    assert!(agent.terminate(END).success());
    // Another may have come until then.
    let last = api.processes(name);
    assert!(last.time >= record.time);
    api.evict(0);
    assert_eq!(api.processes(name), last, "after an eviction");
    server.stop();
    server.resume();
    assert_eq!(server.client().processes(name), last, "after a restart");
}
