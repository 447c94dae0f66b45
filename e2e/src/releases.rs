//! A release of the agent that was built last, on a server of its own: signed by a key of its own, which is put into the
//! program as well, with a version higher than the one that it was built as.

use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};
use xtask::{build::Program, release::key};

/// The version that it says it is, and that it is updated to: it still takes itself for what it was built as.
pub const VERSION: &str = "1.2.3";
const BUILT: &str = env!("CARGO_PKG_VERSION");

/// The files of a release by their names, changed by a test as it likes.
pub type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A release, as long as the process lives.
pub struct Releases {
    /// What is served.
    pub files: Files,
    /// Where.
    pub url: String,
    /// Whose signature it has.
    pub key: String,
}

/// The agent's name in it.
pub fn file_name() -> String {
    format!("edgewatch-agent-{VERSION}-linux-{}", env::consts::ARCH)
}

impl Releases {
    /// Signed by a key that is kept in `dir`.
    pub fn signed_in(dir: &Path) -> Self {
        let public = key::generate(&dir.join("key")).expect("a fresh folder takes a key");
        let secret = key::secret(&dir.join("key")).expect("it was just made");
        let mut agent =
            fs::read(Program::Agent.built().expect("the agent is built")).expect("it can be read");
        let built_with = key::public().expect("the repository has a key").to_base64();
        let ours = public.to_base64();
        // Compilers keep a text in pieces of 8 bytes, too.
        for (from, to) in built_with.as_bytes().chunks(8).zip(ours.as_bytes().chunks(8)) {
            replace(&mut agent, from, to);
        }
        let says = |version| format!("edgewatch-agent {version} ");
        replace(&mut agent, says(BUILT).as_bytes(), says(VERSION).as_bytes());
        let sums = format!("{}  {}\n", hex(&Sha256::digest(&agent)), file_name());
        let signature =
            key::sign(sums.as_bytes(), &secret, &public, "test").expect("both halves are of one pair");
        let files = BTreeMap::from([
            ("SHA256SUMS".to_owned(), sums.into_bytes()),
            ("SHA256SUMS.minisig".to_owned(), signature.into_bytes()),
            (file_name(), agent),
        ]);
        let files: Files = Arc::new(Mutex::new(files));
        Self { url: serve(Arc::clone(&files)), files, key: ours }
    }
}

/// Puts a text of the same length in the place of another wherever a program has it.
fn replace(program: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let is_there = |(_, window): &(usize, &[u8])| *window == from;
    let found: Vec<usize> =
        program.windows(from.len()).enumerate().filter(is_there).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "{} is not in the program", String::from_utf8_lossy(from));
    for at in found {
        program[at..at + to.len()].copy_from_slice(to);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves files over HTTP on this machine; the URL that they lie below.
fn serve(files: Files) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/releases", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that hangs up early is no failure of the server's.
            let _sent = answer(stream, &files);
        }
    });
    url
}

fn answer(mut stream: TcpStream, files: &Files) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let name = request.split(' ').nth(1).and_then(|path| path.strip_prefix("/releases/"));
    let file = name.and_then(|name| files.lock().expect("no test panics with it").get(name).cloned());
    let (status, body) = file.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
