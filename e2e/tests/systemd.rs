//! The agent as a service, under a systemd that runs: installed by the script and by the package, in its sandbox, and gone.

use edgewatch_e2e::{
    client::{Client, Request},
    deadline::eventually,
    edgewatch::{Edgewatch, scratch_dir},
    machine::{Machine, said},
    releases::Releases,
};
use edgewatch_shared::{
    limits::{HOUR_MS, MINUTE_MS},
    token::Scope,
};
use serde_json::Value;
use std::{collections::BTreeSet, fs, time::Duration};
use xtask::{
    build::Program,
    release::{deb, target::Target},
};

/// For an agent to start, read and push, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
const SERVICE: &str = "edgewatch-agent.service";
const CONFIG: &str = "/etc/edgewatch/agent.toml";

/// An enrolment token for one host.
fn enrolment_token(api: &Client, jti: &str) -> String {
    let mut claims = api.mint().claims(Scope::Enroll);
    claims.jti = jti.to_owned();
    api.mint().minted(&claims)
}

/// The newest value of a metric, where there is one.
fn newest(api: &Client, host: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let span = (api.now().plus_ms(-HOUR_MS), api.now().plus_ms(MINUTE_MS));
    let points = api.points(host, name, span, &[labels, &[("agg", "last")]].concat());
    points.last().map(|(_, value)| *value)
}

/// Waits until the service that runs now says that a push of its own was taken.
#[track_caller]
fn wait_for_push(machine: &Machine) {
    let pid = machine.main_pid(SERVICE);
    eventually("a push is taken", SOON, || {
        let output = machine.command(&["edgewatch-agent", "status", "--json"]).output().expect("it starts");
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let is_its_own = status["process"]["pid"].as_u64() == pid.parse().ok();
        (output.status.success() && is_its_own && status["is_well"] == true).then_some(())
    });
}

/// Its own user, without a privilege, and of all files only its state to write to.
#[track_caller]
fn assert_is_confined(machine: &Machine) {
    let pid = machine.main_pid(SERVICE);
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")]);
    let uid = machine.run(&["id", "-u", "edgewatch-agent"]);
    assert_ne!(uid, "0");
    for line in [
        format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"),
        format!("CapEff:\t{:016x}", 0),
        format!("CapBnd:\t{:016x}", 0),
        "NoNewPrivs:\t1".to_owned(),
        "Seccomp:\t2".to_owned(),
    ] {
        assert!(status.lines().any(|found| found == line), "{line}: {status}");
    }
    for (path, options) in [("/", "ro,"), ("/var/lib/edgewatch-agent", "rw,")] {
        let found = machine.run(&["findmnt", "--task", &pid, "-no", "OPTIONS", path]);
        assert!(found.starts_with(options), "{path}: {found}");
    }
    // In its view of the files not even root can execute anything but the agent.
    let said = machine.refuse(&["nsenter", "--mount", "--target", &pid, "/usr/bin/true"]);
    assert!(said.contains("/usr/bin/true: Permission denied"), "{said}");
}

/// What root reads without the sandbox arrives from inside it, and no collector has ever failed.
#[track_caller]
fn assert_everything_arrives(api: &Client, machine: &Machine, host: &str) {
    let checked = machine.run(&["edgewatch-agent", "check"]);
    let table = checked.lines().take_while(|line| !line.contains(" series every "));
    let expected: BTreeSet<&str> = table.filter_map(|line| line.split_whitespace().next()).collect();
    for of_a_collector in
        ["cpu_usage_pct", "disk_total_bytes", "systemd_units_failed", "process_count", "time_synchronized"]
    {
        assert!(expected.contains(of_a_collector), "{of_a_collector}: {checked}");
    }
    for name in expected {
        eventually(&format!("{name} arrives"), SOON, || newest(api, host, name, &[]));
    }
    assert_eq!(newest(api, host, "agent_collector_failures_total", &[]), None);
}

/// Whatever has the agent's name, below where things are installed.
fn left(machine: &Machine) -> Vec<String> {
    let places =
        ["/etc", "/usr/local", "/usr/bin", "/usr/lib/systemd", "/usr/share/doc", "/var/lib", "/var/cache"];
    let found = machine.run(&[&["find"], &places[..], &["-name", "*edgewatch*"]].concat());
    let users = machine.command(&["getent", "passwd", "edgewatch-agent"]).output().expect("it starts");
    found.lines().map(str::to_owned).chain(users.status.success().then(|| "the user".to_owned())).collect()
}

/// No process of the agent's is left.
#[track_caller]
fn assert_is_gone(machine: &Machine) {
    machine.refuse(&["systemctl", "is-active", SERVICE, "edgewatch-agent-update.timer"]);
    machine.refuse(&["sh", "-c", "grep -lx edgewatch-agent /proc/[0-9]*/comm"]);
}

/// The script as this server has it, in the machine.
fn fetch_script(api: &Client, machine: &Machine) {
    let script = api.send(Request::get("/install.sh")).expect(200).text();
    fs::write(machine.path("/root/install.sh"), script).expect("it is root's folder");
}

/// A server that names a release, and a machine on which its script has just installed an agent that is called `host`.
fn scripted(name: &str, host: &str) -> Option<(Machine, Edgewatch, Releases)> {
    let machine = Machine::boot(&format!("{name}-machine"))?;
    let releases = Releases::signed_in(&scratch_dir(&format!("{name}-releases")));
    let server = Edgewatch::start_with(name, |options| {
        options.vars.insert("RELEASES_URL".to_owned(), releases.url.clone());
        options.vars.insert("RELEASE_KEY".to_owned(), releases.key.clone());
    });
    let api = server.client();
    fetch_script(api, &machine);
    assert_eq!(left(&machine), [""; 0]);
    // In a shell that gives nothing away, and what its environment knows goes on to the service.
    let line = format!("umask 077; sh /root/install.sh --name {host} --tag 'eu west'");
    let mut shell = machine.command(&["sh", "-c", &line]);
    shell.env("EDGEWATCH_TOKEN", enrolment_token(api, host));
    shell.env("EDGEWATCH_COLLECT_INTERVAL", "1s").env("EDGEWATCH_PUSH_INTERVAL", "1s");
    let output = shell.output().expect("a shell starts");
    assert!(output.status.success(), "{}", said(&output));
    wait_for_push(&machine);
    Some((machine, server, releases))
}

#[test]
fn the_script_makes_a_confined_service_that_sees_everything_and_is_reloaded_upgraded_and_updated() {
    let host = "scripted";
    let Some((machine, server, releases)) = scripted("systemd-script", host) else { return };
    let api = server.client();
    assert_eq!(api.host(host).tags, ["eu west"]);
    assert_is_confined(&machine);
    assert_everything_arrives(api, &machine, host);

    let config = fs::read_to_string(machine.path(CONFIG)).expect("it is there");
    let update_url = format!("\nupdate_url = \"{}\"\n", releases.url);
    assert!(config.contains(&update_url) && !config.contains("\nurl ="), "{config}");
    let pid = machine.main_pid(SERVICE);
    fs::write(machine.path(CONFIG), format!("{config}units = \"dbus.service\"\n")).expect("it is there");
    machine.run(&["systemctl", "reload", SERVICE]);
    let unit = [("label.unit", "dbus.service")];
    eventually("a unit that is watched now arrives", SOON, || {
        newest(api, host, "systemd_unit_active", &unit)
    });
    assert_eq!(machine.main_pid(SERVICE), pid, "a reload restarts nothing");

    // Again, without a token: a new process of the same host, under the same configuration.
    machine.run(&["sh", "/root/install.sh"]);
    assert_ne!(machine.main_pid(SERVICE), pid);
    wait_for_push(&machine);
    assert_eq!(api.hosts().hosts.len(), 1);

    // From inside its own sandbox a signed release is put in place, and run.
    let (update, pid) = ("edgewatch-agent-update.service", machine.main_pid(SERVICE));
    machine.run(&["systemctl", "start", update]);
    machine.wait_for_line(update, "updated to 1.2.3", SOON);
    assert_ne!(machine.main_pid(SERVICE), pid);
    wait_for_push(&machine);
    assert!(machine.path("/usr/local/bin/edgewatch-agent.old").exists());

    // One that another has signed is not.
    releases.files.lock().expect("no server thread panics").get_mut("SHA256SUMS").expect("it is served")
        [3] ^= 1;
    let pid = machine.main_pid(SERVICE);
    machine.refuse(&["systemctl", "start", update]);
    machine.wait_for_line(update, "not signed by the key that this agent trusts", SOON);
    assert_eq!(machine.main_pid(SERVICE), pid);
}

#[test]
fn what_was_installed_is_removed_and_comes_back_as_the_host_that_it_was_unless_it_is_purged() {
    let Some((machine, server, releases)) = scripted("systemd-removal", "removed") else { return };
    let told = machine.refuse(&["edgewatch-agent", "install", "--url", "https://watch.example"]);
    assert!(told.contains("enrolled already, as removed at"), "{told}");
    let told = machine.refuse(&["edgewatch-agent", "install", "--state-dir", "/srv/agent"]);
    assert!(told.contains("keeps its state in /var/lib/edgewatch-agent"), "{told}");

    // With what an update has left, and units that were enabled since or have failed.
    machine.run(&["systemctl", "enable", "--now", "edgewatch-agent-update.timer"]);
    machine.run(&["systemctl", "start", "edgewatch-agent-update.service"]);
    releases.files.lock().expect("no server thread panics").remove("SHA256SUMS");
    machine.refuse(&["systemctl", "start", "edgewatch-agent-update.service"]);
    machine.run(&["cp", "/usr/local/bin/edgewatch-agent", "/root/agent"]);
    machine.run(&["edgewatch-agent", "uninstall"]);
    assert_is_gone(&machine);
    assert_eq!(left(&machine), ["/etc/edgewatch", "/var/lib/edgewatch-agent", "the user"]);

    machine.run(&["/root/agent", "install"]);
    wait_for_push(&machine);
    assert_eq!(server.client().hosts().hosts.len(), 1);
    machine.run(&["edgewatch-agent", "uninstall", "--purge"]);
    assert_is_gone(&machine);
    assert_eq!(left(&machine), [""; 0]);
    assert_eq!(machine.run(&["systemctl", "is-system-running"]), "running");
}

/// The package of the agent that was built last, as this version, in the machine.
fn package(machine: &Machine, version: &str) -> String {
    let target = Target::of_this_machine().expect("it runs Linux");
    let agent = fs::read(Program::Agent.built().expect("the agent is built")).expect("it can be read");
    let path = format!("/root/{}", deb::name(version, &target));
    let package = deb::package(version, &target, &agent, 1_795_248_000).expect("it can be packed");
    fs::write(machine.path(&path), package).expect("it is root's folder");
    path
}

#[test]
fn the_package_is_enrolled_upgraded_and_purged_and_leaves_what_is_the_administrators() {
    let Some(machine) = Machine::boot("systemd-package-machine") else { return };
    if machine.command(&["dpkg", "--version"]).output().is_ok_and(|output| !output.status.success()) {
        eprintln!("SKIPPED: this is not Debian");
        return;
    }
    let server = Edgewatch::start("systemd-package");
    let (api, host) = (server.client(), "packaged");
    let (first, second, third) =
        (package(&machine, "1.2.3"), package(&machine, "1.2.4"), package(&machine, "1.2.5"));
    let by_hand = "/etc/systemd/system/edgewatch-agent.service";
    fs::write(machine.path(by_hand), "ExecStart=/usr/local/bin/edgewatch-agent run\n").expect("it is root's");
    assert!(machine.refuse(&["dpkg", "--install", &first]).contains("is installed without the package"));
    fs::remove_file(machine.path(by_hand)).expect("it was just written");

    machine.run(&["dpkg", "--install", &first]);
    machine.refuse(&["systemctl", "is-active", SERVICE]);
    fetch_script(api, &machine);
    for other in [&["edgewatch-agent", "install"][..], &["sh", "/root/install.sh"]] {
        assert!(machine.refuse(other).contains("a package brought the agent"));
    }
    let token = enrolment_token(api, host);
    machine.run(&["edgewatch-agent", "enroll", api.url(), &token, "--name", host]);
    let stat = |format| machine.run(&["stat", "-c", format, CONFIG]);
    assert_eq!(stat("%U:%G %a"), "root:edgewatch-agent 640");
    let config = "collect_interval = \"1s\"\npush_interval = \"1s\"\n";
    fs::write(machine.path(CONFIG), config).expect("it is there");
    machine.run(&["systemctl", "enable", "--now", SERVICE]);
    wait_for_push(&machine);
    assert_is_confined(&machine);
    assert_everything_arrives(api, &machine, host);

    // What the administrator has changed stays: text and group of the file, and later that there is none.
    machine.run(&["chgrp", "adm", CONFIG]);
    machine.run(&["chmod", "644", CONFIG]);
    let pid = machine.main_pid(SERVICE);
    machine.run(&["dpkg", "--install", &second]);
    assert_eq!(fs::read_to_string(machine.path(CONFIG)).expect("it is there"), config);
    assert_eq!(stat("%U:%G %a"), "root:adm 644");
    assert_ne!(machine.main_pid(SERVICE), pid, "the new program runs");
    wait_for_push(&machine);
    fs::remove_file(machine.path(CONFIG)).expect("it is there");
    machine.run(&["dpkg", "--install", &third]);
    machine.main_pid(SERVICE);

    machine.run(&["dpkg", "--remove", "edgewatch-agent"]);
    assert_is_gone(&machine);
    assert!(left(&machine).contains(&"/var/lib/edgewatch-agent".to_owned()), "its credentials are kept");
    machine.run(&["dpkg", "--purge", "edgewatch-agent"]);
    assert_eq!(left(&machine), ["the user"]);
}
