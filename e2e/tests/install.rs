//! `/install.sh` as a person uses it: from the Worker into a shell, with releases on a server of their own.

use edgewatch_e2e::{
    client::Request,
    edgewatch::{Edgewatch, scratch_dir},
    releases::{Releases, file_name},
};
use edgewatch_shared::{ErrorCode, token::Scope};
use std::{
    fs::{self, Permissions},
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use xtask::{command, release::key};

const PATH: &str = "/install.sh";

/// What the script calls, beside what fetches and what verifies.
const TOOLS: [&str; 17] = [
    "chmod",
    "cp",
    "cat",
    "cut",
    "grep",
    "head",
    "id",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sort",
    "tail",
    "uname",
    "wc",
];

/// A release, signed, and a Worker that serves the script for it.
struct World {
    dir: PathBuf,
    releases: Releases,
    server: Edgewatch,
}

impl World {
    fn new(name: &str) -> Self {
        let dir = scratch_dir(&format!("{name}-host"));
        let releases = Releases::signed_in(&dir);
        let server = Edgewatch::start_with(name, |options| {
            options.vars.insert("RELEASES_URL".to_owned(), releases.url.clone());
            options.vars.insert("RELEASE_KEY".to_owned(), releases.key.clone());
        });
        for folder in ["bin", "state"] {
            fs::create_dir(dir.join(folder)).expect("the folder is empty");
        }
        Self { dir, releases, server }
    }

    fn script(&self) -> String {
        self.server.client().send(Request::get(PATH)).expect(200).text()
    }

    fn enrolment_token(&self, jti: &str) -> String {
        let mint = self.server.client().mint();
        let mut claims = mint.claims(Scope::Enroll);
        claims.jti = jti.to_owned();
        mint.minted(&claims)
    }

    /// Pipes a script into a shell that finds these programs and no others.
    fn run(&self, script: &str, verifier: Option<&str>, arguments: &[&str]) -> Output {
        let path = self.dir.join(format!("path-{}", verifier.unwrap_or("none")));
        if !path.exists() {
            fs::create_dir(&path).expect("it is not there");
            let fetches = if command::find("curl").is_some() { "curl" } else { "wget" };
            for tool in TOOLS.into_iter().chain([fetches]).chain(verifier) {
                let found = command::find(tool).unwrap_or_else(|| panic!("{tool} is missing"));
                symlink(found, path.join(tool)).expect("each tool is named once");
            }
        }
        let mut shell = Command::new(path.join("sh"));
        shell.args(["-s", "--"]).args(arguments).arg("--dir").arg(self.dir.join("bin"));
        shell.env_clear().env("PATH", &path).env("EDGEWATCH_STATE_DIR", self.dir.join("state"));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(&self.dir);
        let mut child = shell.spawn().expect("a shell starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(script.as_bytes()).expect("the shell reads all of it");
        drop(stdin);
        let output = child.wait_with_output().expect("the shell ends");
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn installed(&self) -> PathBuf {
        self.dir.join("bin/edgewatch-agent")
    }

    /// That the script says why it does nothing, and does nothing.
    #[track_caller]
    fn assert_refused(&self, script: &str, verifier: Option<&str>, why: &str) {
        let output = self.run(script, verifier, &["TOKEN", "--no-service"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert!(is_empty(&self.dir.join("bin")) && is_empty(&self.dir.join("state")));
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(
            self.releases.files.lock().expect("no server thread panics").get_mut(name).expect("it is served"),
        );
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).expect("it is a folder").next().is_none()
}

#[test]
fn one_line_installs_verifies_and_enrols() {
    let world = World::new("install");
    let script = world.script();
    let token = world.enrolment_token("install");
    let arguments = [token.as_str(), "--no-service", "--name", "installed", "--tag", "eu west"];
    let output = world.run(&script, Some("openssl"), &arguments);
    assert!(output.status.success());
    let agent = |arguments: &[&str]| {
        let mut command = Command::new(world.installed());
        let command = command.args(arguments).env_clear().env("EDGEWATCH_STATE_DIR", world.dir.join("state"));
        command.output().expect("the agent starts")
    };
    assert!(String::from_utf8_lossy(&agent(&["--version"]).stdout).starts_with("edgewatch-agent "));
    let checked = agent(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let api = world.server.client();
    assert_eq!(api.host("installed").tags, ["eu west"]);

    // Without a token the program is replaced, and the host stays who it is. A strict shell's files are for everybody, too.
    let output = world.run(&format!("umask 077\n{script}"), Some("openssl"), &["--no-service"]);
    assert!(output.status.success());
    let mode = fs::metadata(world.installed()).expect("it is installed").permissions().mode() & 0o777;
    assert_eq!(mode, 0o755);
    assert!(agent(&["check"]).status.success());
}

#[test]
fn an_older_release_is_refused_unless_it_is_asked_for() {
    let world = World::new("install-older");
    let script = world.script();
    let newer = "#!/bin/sh\necho 'edgewatch-agent 1.10.0 (commit 0)'\n";
    fs::write(world.installed(), newer).expect("the folder is there");
    fs::set_permissions(world.installed(), Permissions::from_mode(0o755)).expect("it is ours");
    let output = world.run(&script, Some("openssl"), &["--no-service"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("older than the agent that is here (1.10.0)"),
        "{said}"
    );
    assert_eq!(fs::read(world.installed()).expect("it is installed"), newer.as_bytes());
    assert!(world.run(&script, Some("openssl"), &["--no-service", "--downgrade"]).status.success());
    assert_ne!(fs::read(world.installed()).expect("it is installed"), newer.as_bytes());
}

#[test]
fn what_is_not_signed_is_not_installed() {
    let world = World::new("install-refused");
    let script = world.script();
    world.assert_refused(&script, None, "nothing here can verify a signature");
    // A script that was cut off on its way does nothing at all.
    let half = script.split_at(script.rfind("main \"$@\"").expect("it ends with the call")).0;
    assert!(world.run(half, Some("openssl"), &["TOKEN"]).status.success());
    assert!(is_empty(&world.dir.join("bin")));

    let verifiers = ["openssl", "minisign"].into_iter().filter(|verifier| command::find(verifier).is_some());
    for verifier in verifiers {
        let flip = |name: &str, at: usize| world.change(name, |content| content[at] ^= 1);
        for (name, at, why) in [
            (file_name(), 1_000, "is not what the signed list says"),
            ("SHA256SUMS".to_owned(), 3, "is not signed by the key"),
            // In the middle of the signature itself, which begins in the second line.
            ("SHA256SUMS.minisig".to_owned(), 100, "is not signed by the key"),
        ] {
            flip(&name, at);
            world.assert_refused(&script, Some(verifier), why);
            flip(&name, at);
        }
        let other = key::generate(&world.dir.join(format!("other-{verifier}"))).expect("it is another file");
        let of_others = script.lines().map(|line| match line.strip_prefix("KEY=") {
            Some(_) => format!("KEY='{}'\n", other.to_base64()),
            None => format!("{line}\n"),
        });
        world.assert_refused(&of_others.collect::<String>(), Some(verifier), "is not signed by the key");
        let output = world.run(&script, Some(verifier), &["--no-service"]);
        assert!(output.status.success(), "unchanged, {verifier} finds it good");
        fs::remove_file(world.installed()).expect("it was installed");
    }
}

#[test]
fn the_script_is_served_like_every_page_and_carries_the_servers_url() {
    let server = Edgewatch::start("install-page");
    let api = server.client();
    let answer = api.send(Request::get(PATH)).expect(200);
    for (header, value) in [
        ("Content-Type", "text/x-shellscript; charset=utf-8"),
        ("Cache-Control", "public, max-age=300"),
        ("X-Content-Type-Options", "nosniff"),
    ] {
        assert_eq!(answer.header(header), value, "{header}");
    }
    let script = answer.text();
    assert!(script.contains(&format!("\nSERVER='{}'\n", api.url())), "{script}");
    assert!(script.contains("\nRELEASES='https://"), "{script}");
    let head = api.send(Request::new("HEAD", PATH)).expect(200);
    assert!(head.body.is_empty());
    assert_eq!(api.send(Request::post(PATH, "")).refusal(), (405, ErrorCode::MethodNotAllowed));
}

/// The host of a request is whatever the client says.
#[test]
fn a_hosts_name_does_not_become_shell() {
    let server = Edgewatch::start("install-host");
    let address = server.client().url().strip_prefix("http://").expect("it is plain HTTP");
    for host in ["a$(id).example", "a'b.example", "`id`", "a;id", "a\"b", "a&id", "a|id", "{a,b}", "a'\\''b"]
    {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        write!(stream, "GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it answers in text");
        let status = reply.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('4') && !reply.contains("SERVER="), "{host}: {reply}");
    }
}

#[test]
fn a_setting_that_is_no_plain_url_or_key_is_told() {
    for (name, variable, value) in [
        ("install-url", "RELEASES_URL", "https://example.org/$(id)"),
        ("install-key", "RELEASE_KEY", "';id;'"),
    ] {
        let server = Edgewatch::start_with(name, |options| {
            options.vars.insert(variable.to_owned(), value.to_owned());
        });
        let answer = server.client().send(Request::get(PATH));
        assert_eq!(answer.refusal(), (500, ErrorCode::Misconfigured));
    }
}
