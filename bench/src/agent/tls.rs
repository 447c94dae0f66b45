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
    sync::{Arc, Mutex, PoisonError},
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

/// One connection: this thread carries what the client says, another one what the server answers.
fn serve(config: Arc<ServerConfig>, mut client: TcpStream, to: u16) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let tls = Mutex::new(ServerConnection::new(config).map_err(io::Error::other)?);
    let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Whatever breaks here ends the connection, which the other direction sees.
            let _ = encrypt(&tls, &mut answers, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let result = decrypt(&tls, &mut client, &mut server);
        let _ = server.shutdown(Shutdown::Both);
        result
    })
}

/// Carries what the client says until it hangs up.
fn decrypt(tls: &Mutex<ServerConnection>, client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let length = client.read(&mut piece)?;
        let mut said = piece.get(..length).unwrap_or_default();
        if said.is_empty() {
            return Ok(());
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
        drop(tls);
        server.write_all(&plain)?;
    }
}

/// Carries what the server answers until it hangs up.
fn encrypt(tls: &Mutex<ServerConnection>, answers: &mut TcpStream, back: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; PIECE_BYTES];
    loop {
        let length = answers.read(&mut piece)?;
        let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
        match piece.get(..length) {
            Some(answered) if length > 0 => tls.writer().write_all(answered)?,
            _ => tls.send_close_notify(),
        }
        while tls.wants_write() {
            tls.write_tls(back)?;
        }
        if length == 0 {
            return Ok(());
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

    #[test]
    fn what_is_said_passes_both_ways_and_the_end_too() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let front = TlsFront::start(listener.local_addr().unwrap().port()).unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 100_000];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&asked[..70_000]).unwrap();
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
        stream.write_all(&[7; 100_000]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answering.join().unwrap();
        assert_eq!(answer, [7; 70_000]);
    }
}
