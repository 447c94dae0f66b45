//! A connection to the system bus, for the few questions that are asked of systemd and nothing else.

use super::message::{Call, Reply, UnitState, encode, read_reply, read_units};
use crate::collectors::linux::patient;
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

/// Bytes of a line while authenticating. Reason: it is a word and an id.
const LINE_BYTES_MAX: u64 = 512;

/// Why the bus has no answer.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The socket is gone, shut or silent.
    #[error("the bus: {0}")]
    Io(#[from] io::Error),
    /// The bus does not let this user in.
    #[error("the bus does not let this user in: {0}")]
    Shut(String),
    /// systemd said no.
    #[error("systemd refuses {0}")]
    Refused(&'static str),
    /// Something that is no message, or none of ours.
    #[error("the bus sends what cannot be read")]
    Malformed,
}

/// The connection.
#[derive(Debug)]
pub struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

impl Bus {
    /// Connects and says hello (D-Bus Specification, "Authentication Protocol").
    pub fn connect(socket: &Path) -> Result<Self, BusError> {
        let mut bus = Self { stream: BufReader::new(patient::connect(socket)?), serial: 0 };
        // The kernel tells the bus who we are; what is said here has to agree, as the digits' own digits in base 16.
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let answer = bus.line()?;
        if !answer.starts_with("OK ") {
            return Err(BusError::Shut(answer.trim().to_owned()));
        }
        bus.send(b"BEGIN\r\n")?;
        bus.call(&Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            texts: None,
        })?;
        Ok(bus)
    }

    /// Calls one of systemd's methods that take a list of texts and return units.
    pub fn units(&mut self, member: &'static str, texts: &[&str]) -> Result<Vec<UnitState>, BusError> {
        let body = self.call(&Call {
            destination: "org.freedesktop.systemd1",
            path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager",
            member,
            texts: Some(texts),
        })?;
        read_units(&body).ok_or(BusError::Malformed)
    }

    /// The body of the reply. Signals and what else arrives meanwhile are passed over.
    fn call(&mut self, call: &Call<'_>) -> Result<Vec<u8>, BusError> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = encode(call, self.serial);
        self.send(&message)?;
        loop {
            match read_reply(&mut self.stream)?.ok_or(BusError::Malformed)? {
                Reply::Returned { to, body } if to == self.serial => return Ok(body),
                Reply::Failed { to } if to == self.serial => return Err(BusError::Refused(call.member)),
                _ => {}
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> Result<String, BusError> {
        let mut line = String::new();
        io::Read::take(&mut self.stream, LINE_BYTES_MAX).read_line(&mut line)?;
        Ok(line)
    }
}
