//! TLS in front of a local server, as Cloudflare's edge ends it in front of the Worker.

use anyhow::{Context, Result};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tempfile::TempDir;

/// Bytes that are passed on at once: a TLS record.
const PIECE_BYTES: usize = 16 << 10;

/// A listener that passes what it decrypts on to another port of this machine. Its threads end with the program.
pub struct TlsFront {
    url: String,
    ca_file: PathBuf,
    _folder: TempDir,
}

impl TlsFront {
    /// Listens on a free port in front of `to`, with a certificate for `localhost` that is made for it.
    pub fn start(to: u16) -> Result<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        let folder = tempfile::tempdir()?;
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, cert.pem()).context("writing the certificate")?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let config = Arc::clone(&config);
                thread::spawn(move || {
                    if let Err(error) = serve(config, client, to) {
                        eprintln!("the TLS front: {error}");
                    }
                });
            }
        });
        Ok(Self { url, ca_file, _folder: folder })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate to believe.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }
}

/// One connection of a client: this thread carries what it says, another one what the server answers. workerd hangs up after
/// seconds of silence, Cloudflare's edge after minutes: whom workerd has left is connected anew when the client speaks.
fn serve(config: Arc<ServerConfig>, mut client: TcpStream, to: u16) -> io::Result<()> {
    client.set_nodelay(true)?;
    let tls = Mutex::new(ServerConnection::new(config).map_err(io::Error::other)?);
    let is_connected = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut server: Option<TcpStream> = None;
        while let Some(said) = decrypt(&tls, &mut client)? {
            if said.is_empty() {
                continue;
            }
            let stream = match server.take() {
                Some(stream) if is_connected.load(Ordering::SeqCst) => stream,
                _ => {
                    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
                    stream.set_nodelay(true)?;
                    let (mut answers, mut back) = (stream.try_clone()?, client.try_clone()?);
                    is_connected.store(true, Ordering::SeqCst);
                    let (tls, is_connected) = (&tls, &is_connected);
                    scope.spawn(move || {
                        // Whatever breaks here breaks the next time that the client speaks, too.
                        let _ = encrypt(tls, &mut answers, &mut back);
                        is_connected.store(false, Ordering::SeqCst);
                        let _ = answers.shutdown(Shutdown::Both);
                    });
                    stream
                }
            };
            (&stream).write_all(&said)?;
            server = Some(stream);
        }
        if let Some(server) = server {
            // It may have hung up first.
            let _ = server.shutdown(Shutdown::Both);
        }
        Ok(())
    })
}

/// What the client says next; `None` once it has hung up.
fn decrypt(tls: &Mutex<ServerConnection>, client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut piece = [0; PIECE_BYTES];
    let length = client.read(&mut piece)?;
    let mut said = piece.get(..length).unwrap_or_default();
    if said.is_empty() {
        return Ok(None);
    }
    let mut plain = Vec::new();
    let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
    while !said.is_empty() {
        tls.read_tls(&mut said)?;
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let mut decrypted = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut decrypted)?;
        plain.append(&mut decrypted);
    }
    while tls.wants_write() {
        tls.write_tls(client)?;
    }
    Ok(Some(plain))
}

/// Carries what the server answers until it hangs up.
fn encrypt(tls: &Mutex<ServerConnection>, answers: &mut TcpStream, back: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let length = answers.read(&mut piece)?;
        let answered = piece.get(..length).unwrap_or_default();
        if answered.is_empty() {
            return Ok(());
        }
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        tls.writer().write_all(answered)?;
        while tls.wants_write() {
            tls.write_tls(back)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        pki_types::{CertificateDer, pem::PemObject},
    };
    use std::sync::mpsc;

    #[test]
    fn what_is_said_passes_both_ways_and_a_server_that_hangs_up_is_called_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let front = TlsFront::start(listener.local_addr().unwrap().port()).unwrap();
        let (hung_up, seen) = mpsc::channel();
        let answering = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 100_000];
                stream.read_exact(&mut asked).unwrap();
                stream.write_all(&asked[..70_000]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                // The front has seen that we hang up when it does so, too.
                assert_eq!(stream.read(&mut asked).unwrap(), 0);
                hung_up.send(()).unwrap();
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(front.ca_file()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let port = front.url().rsplit_once(':').unwrap().1.parse().unwrap();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut ask = |byte: u8| {
            stream.write_all(&[byte; 100_000]).unwrap();
            let mut answer = [0; 70_000];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.iter().all(|told| *told == byte));
        };
        ask(7);
        seen.recv().unwrap();
        ask(8);
        answering.join().unwrap();
    }
}
