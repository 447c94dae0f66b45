//! A release of the agent that was built last, signed by a key of its own, on a server of its own.

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

/// The version that it says it is.
pub const VERSION: &str = "1.2.3";

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
        let agent = fs::read(Program::Agent.built().expect("the agent is built")).expect("it can be read");
        let sums = format!("{}  {}\n", hex(&Sha256::digest(&agent)), file_name());
        let signature =
            key::sign(sums.as_bytes(), &secret, &public, "test").expect("both halves are of one pair");
        let files = BTreeMap::from([
            ("SHA256SUMS".to_owned(), sums.into_bytes()),
            ("SHA256SUMS.minisig".to_owned(), signature.into_bytes()),
            (file_name(), agent),
        ]);
        let files: Files = Arc::new(Mutex::new(files));
        Self { url: serve(Arc::clone(&files)), files, key: public.to_base64() }
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
