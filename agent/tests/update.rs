//! `update` against a server of releases: what is signed and newer gets in, everything else leaves the agent as it was.

#![cfg(target_os = "linux")]

use edgewatch_agent::{
    server_url::ServerUrl,
    settings::{Settings, Sources},
    update::{Outcome, PROGRAM_BYTES_MAX, SUMS_BYTES_MAX, Update, UpdateError, Version},
};
use minisign::KeyPair;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Cursor, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Starting a program fails while another thread's child holds it open for writing, so one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A file as the server has it, and how many bytes it claims to have.
#[derive(Clone)]
struct File {
    content: Vec<u8>,
    claimed: usize,
}

/// A key, a server with a release, and an installed agent 1.2.3.
struct World {
    key: KeyPair,
    files: Arc<Mutex<BTreeMap<String, File>>>,
    url: String,
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// A program that says that it is of this version.
fn agent(version: &str) -> Vec<u8> {
    format!("#!/bin/sh\necho 'edgewatch-agent {version} (commit 0123456789ab, 2026-11-21)'\n").into_bytes()
}

fn file_name(version: &str) -> String {
    format!("edgewatch-agent-{version}-linux-{}", std::env::consts::ARCH)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl World {
    fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let files: Arc<Mutex<BTreeMap<String, File>>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/releases", listener.local_addr().unwrap());
        let served = Arc::clone(&files);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Whoever hangs up early, as a bounded reader does, is no failure of the server's.
                let _sent = answer(stream, &served);
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let world =
            Self { key: KeyPair::generate_unencrypted_keypair().unwrap(), files, url, dir, _alone: alone };
        fs::write(world.program(), agent("1.2.3")).unwrap();
        fs::set_permissions(world.program(), fs::Permissions::from_mode(0o755)).unwrap();
        world
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("edgewatch-agent")
    }

    fn serve(&self, name: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        let file = File { claimed: content.len(), content };
        self.files.lock().unwrap().insert(format!("/releases/{name}"), file);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut File)) {
        change(self.files.lock().unwrap().get_mut(&format!("/releases/{name}")).unwrap());
    }

    /// Serves a list under a signature by `key`.
    fn sign(&self, sums: &str, key: &KeyPair) {
        let signature = minisign::sign(None, &key.sk, Cursor::new(sums), Some("release"), None).unwrap();
        self.serve("SHA256SUMS", sums);
        self.serve("SHA256SUMS.minisig", signature.into_string());
    }

    /// A release of this version, signed.
    fn release(&self, version: &str) {
        let (name, content) = (file_name(version), agent(version));
        let other = "0".repeat(64);
        let sums = format!(
            "{}  {name}\n{other}  edgewatch-agent-{version}-linux-other\n{other}  edgewatch-{version}-linux-{}\n",
            hex(&Sha256::digest(&content)),
            std::env::consts::ARCH
        );
        self.sign(&sums, &self.key);
        self.serve(&name, content);
    }

    fn update(&self, only_looks: bool) -> Result<Outcome, UpdateError> {
        let url = ServerUrl::parse(&self.url, false).unwrap();
        let installed = Version::parse("1.2.3").unwrap();
        let key = self.key.pk.to_base64();
        let nothing = BTreeMap::new();
        let sources = Sources { env: &|_| None, flags: &nothing, read: &|_| Ok(None), is_root: true };
        let (settings, _) = Settings::load(&sources).unwrap();
        Update::new(url, &settings, &key, installed, self.program())?.run(only_looks)
    }

    /// That nothing has changed, and nothing is left over.
    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(fs::read(self.program()).unwrap(), agent("1.2.3"));
        assert_eq!(names(self.dir.path()), ["edgewatch-agent"]);
    }

    #[track_caller]
    fn assert_refused(&self, expected: &str) {
        let error = self.update(false).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        self.assert_untouched();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Answers one request: the file, or 404.
fn answer(mut stream: TcpStream, files: &Mutex<BTreeMap<String, File>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let file = files.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let Some(File { content, claimed }) = file else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {claimed}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&content)
}

#[test]
fn a_newer_release_takes_the_place_and_the_old_agent_stays_beside_it() {
    let world = World::new();
    world.release("1.10.0");
    let newer = Version::parse("1.10.0").unwrap();
    assert_eq!(world.update(true).unwrap(), Outcome::Available(newer));
    world.assert_untouched();
    assert_eq!(world.update(false).unwrap(), Outcome::Updated(newer));
    assert_eq!(fs::read(world.program()).unwrap(), agent("1.10.0"));
    assert_eq!(fs::metadata(world.program()).unwrap().permissions().mode() & 0o777, 0o755);
    let old = world.dir.path().join("edgewatch-agent.old");
    assert_eq!(fs::read(&old).unwrap(), agent("1.2.3"));
    assert_eq!(names(world.dir.path()), ["edgewatch-agent", "edgewatch-agent.old"]);
    // And again, with what the first update left there.
    fs::write(world.dir.path().join("edgewatch-agent.new"), "cut off").unwrap();
    world.release("2.0.0");
    assert_eq!(world.update(false).unwrap(), Outcome::Updated(Version::parse("2.0.0").unwrap()));
    assert_eq!(fs::read(&old).unwrap(), agent("1.10.0"));
}

#[test]
fn the_same_version_changes_nothing_and_an_older_one_is_refused() {
    let world = World::new();
    world.release("1.2.3");
    assert_eq!(world.update(false).unwrap(), Outcome::Newest);
    world.assert_untouched();
    world.release("1.2.2");
    world.assert_refused("older than this agent (1.2.3)");
    // The version is that of the signed list: an old release under a new name is no new one.
    world.serve(&file_name("9.9.9"), agent("9.9.9"));
    world.assert_refused("older than this agent");
}

#[test]
fn what_the_key_did_not_sign_is_refused() {
    let world = World::new();
    world.release("2.0.0");
    world.change("SHA256SUMS", |file| file.content[0] ^= 1);
    world.assert_refused("not signed by the key");

    let sums = format!("{}  {}\n", hex(&Sha256::digest(agent("2.0.0"))), file_name("2.0.0"));
    world.sign(&sums, &KeyPair::generate_unencrypted_keypair().unwrap());
    world.assert_refused("not signed by the key");

    world.sign(&sums, &world.key);
    world.change("SHA256SUMS.minisig", |file| file.content.clear());
    world.change("SHA256SUMS.minisig", |file| file.claimed = 0);
    world.assert_refused("not signed by the key");
}

#[test]
fn a_program_that_is_not_the_signed_one_is_refused() {
    let world = World::new();
    world.release("2.0.0");
    world.change(&file_name("2.0.0"), |file| file.content[20] ^= 1);
    world.assert_refused("is not what the release's list says");

    world.release("2.0.0");
    world.change(&file_name("2.0.0"), |file| file.content.truncate(10));
    world.assert_refused(&file_name("2.0.0"));

    world.release("2.0.0");
    world.change(&file_name("2.0.0"), |file| (file.content, file.claimed) = (b"#!/bin/sh".to_vec(), 9));
    world.assert_refused("is not what the release's list says");
}

#[test]
fn files_beyond_their_limit_are_not_read() {
    let world = World::new();
    let too_large = |bytes_max: u64| vec![b'\n'; usize::try_from(bytes_max).unwrap() + 1];
    world.release("2.0.0");
    world.serve(&file_name("2.0.0"), too_large(PROGRAM_BYTES_MAX));
    world.assert_refused(&format!("more than {PROGRAM_BYTES_MAX} bytes"));
    // At the limit it is read, and is not the right one.
    let mut at_limit = too_large(PROGRAM_BYTES_MAX);
    at_limit.pop();
    world.serve(&file_name("2.0.0"), at_limit);
    world.assert_refused("is not what the release's list says");
    world.serve("SHA256SUMS", too_large(SUMS_BYTES_MAX));
    world.assert_refused(&format!("more than {SUMS_BYTES_MAX} bytes"));
}

#[test]
fn a_program_that_does_not_start_or_is_of_another_version_is_refused() {
    for (content, why) in [
        (agent("2.0.1"), "it says \"edgewatch-agent 2.0.1"),
        (b"#!/bin/sh\necho 'edgewatch-agent 2.0.0'\nexit 1\n".to_vec(), "does not start"),
        (b"#!/no/such/program\n".to_vec(), "does not start"),
    ] {
        let world = World::new();
        let name = file_name("2.0.0");
        world.sign(&format!("{}  {name}\n", hex(&Sha256::digest(&content))), &world.key);
        world.serve(&name, content);
        world.assert_refused(why);
    }
}

#[test]
fn a_list_without_this_machine_or_with_two_versions_is_refused() {
    let world = World::new();
    let hash = "0".repeat(64);
    world.sign(&format!("{hash}  edgewatch-agent-2.0.0-linux-other\n"), &world.key);
    world.assert_refused("no program for linux-");
    let (one, two) = (file_name("2.0.0"), file_name("2.0.1"));
    world.sign(&format!("{hash}  {one}\n{hash}  {two}\n"), &world.key);
    world.assert_refused("cannot be read");
}

#[test]
fn without_an_answer_nothing_happens() {
    let world = World::new();
    world.assert_refused("/releases/SHA256SUMS");
}

#[test]
fn systemd_finds_no_fault_with_the_timer_and_its_service() {
    let dir = tempfile::tempdir().unwrap();
    let units = [
        ("edgewatch-agent-update.service", include_str!("../packaging/edgewatch-agent-update.service")),
        ("edgewatch-agent-update.timer", include_str!("../packaging/edgewatch-agent-update.timer")),
    ];
    let mut command = std::process::Command::new("systemd-analyze");
    command.arg("verify");
    for (name, text) in units {
        let path = dir.path().join(name);
        let installed = "/usr/local/bin/edgewatch-agent";
        assert!(name.ends_with(".timer") || text.contains(installed));
        fs::write(&path, text.replace(installed, env!("CARGO_BIN_EXE_edgewatch-agent"))).unwrap();
        command.arg(path);
    }
    let Ok(output) = command.output() else {
        eprintln!("SKIPPED: systemd-analyze is missing (Debian package systemd)");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // Faults of this machine's other units are its own.
    assert!(output.status.success() && !said.contains("edgewatch-agent-update"), "{said}");
}
