//! The bytes of messages, as far as they are needed (D-Bus Specification, "Message Protocol" and "Type System"), in the
//! byte order of little-endian machines.

use std::io::{self, Read};

/// Bytes of a message. Reason: a few hundred a unit; the specification's own limit is 128 MiB.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
/// Header fields: what they hold is text of the signature beside them.
const PATH: (u8, &str) = (1, "o");
const INTERFACE: (u8, &str) = (2, "s");
const MEMBER: (u8, &str) = (3, "s");
const REPLY_SERIAL: u8 = 5;
const DESTINATION: (u8, &str) = (6, "s");
const SIGNATURE: (u8, &str) = (8, "g");

/// A method to call.
#[derive(Debug)]
pub struct Call<'a> {
    /// Whose.
    pub destination: &'static str,
    /// Of which object.
    pub path: &'static str,
    /// Of which interface.
    pub interface: &'static str,
    /// Which.
    pub member: &'static str,
    /// Its one argument, a list of texts, if it has one.
    pub texts: Option<&'a [&'a str]>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A method's result.
    Returned {
        /// The call's number.
        to: u32,
        /// What it returned.
        body: Vec<u8>,
    },
    /// A method's refusal.
    Failed {
        /// The call's number.
        to: u32,
    },
    /// Something that nobody asked for.
    Other,
}

/// A unit and its state: `active`, `failed`, `inactive` …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    /// Its full name.
    pub name: String,
    /// Its state.
    pub active: String,
}

/// Writes values where the specification wants them.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: usize) {
        self.align(4);
        // Everything written here is far shorter.
        self.0.extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, (code, kind): (u8, &str), text: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        if kind == SIGNATURE.1 { self.signature(text) } else { self.text(text) }
    }
}

/// A call as it travels.
pub fn encode(call: &Call<'_>, serial: u32) -> Vec<u8> {
    let mut body = Writer::default();
    if let Some(texts) = call.texts {
        let mut list = Writer::default();
        texts.iter().for_each(|text| list.text(text));
        body.number(list.0.len());
        body.0.extend(list.0);
    }
    let mut fields = Writer::default();
    fields.field(PATH, call.path);
    fields.field(INTERFACE, call.interface);
    fields.field(MEMBER, call.member);
    fields.field(DESTINATION, call.destination);
    if call.texts.is_some() {
        fields.field(SIGNATURE, "as");
    }
    // Sixteen bytes stand before the fields, so that they lie as they were written.
    let mut message = Writer(vec![b'l', METHOD_CALL, 0, 1]);
    message.number(body.0.len());
    message.0.extend(serial.to_le_bytes());
    message.number(fields.0.len());
    message.0.extend(fields.0);
    message.align(8);
    message.0.extend(body.0);
    message.0
}

/// Reads values where the specification has them.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn signature(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?);
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }
}

/// Reads the next message; `None` if it is malformed or too long.
pub fn read_reply(stream: &mut impl Read) -> io::Result<Option<Reply>> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let Some((kind, body_bytes, field_bytes)) = parse_head(&head) else { return Ok(None) };
    let mut fields = vec![0; field_bytes];
    stream.read_exact(&mut fields)?;
    let mut padding = [0; 8];
    let padding_bytes = field_bytes.next_multiple_of(8) - field_bytes;
    stream.read_exact(padding.get_mut(..padding_bytes).unwrap_or_default())?;
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body)?;
    Ok(match (kind, reply_serial(&fields)) {
        (METHOD_RETURN, Some(to)) => Some(Reply::Returned { to, body }),
        (ERROR, Some(to)) => Some(Reply::Failed { to }),
        _ => Some(Reply::Other),
    })
}

/// Kind, bytes of the body and bytes of the fields.
fn parse_head(head: &[u8]) -> Option<(u8, usize, usize)> {
    let mut reader = Reader::new(head);
    let (order, kind) = (reader.byte()?, reader.byte()?);
    let body_bytes = reader.length()?;
    let _serial = reader.number()?;
    let field_bytes = reader.length()?;
    let fits = body_bytes <= MESSAGE_BYTES_MAX && field_bytes <= MESSAGE_BYTES_MAX;
    (order == b'l' && fits).then_some((kind, body_bytes, field_bytes))
}

/// Which call a message answers. Fields of other kinds than a reply has end the search.
fn reply_serial(fields: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(fields);
    loop {
        reader.align(8);
        let code = reader.byte()?;
        match (code, reader.signature()?) {
            (REPLY_SERIAL, b"u") => return reader.number(),
            (_, b"u") => drop(reader.number()?),
            (_, b"s" | b"o") => drop(reader.text()?),
            (_, b"g") => drop(reader.signature()?),
            _ => return None,
        }
    }
}

/// Reads `a(ssssssouso)`: name, description, load state, active state, and six more, of which the first four count.
pub fn read_units(body: &[u8]) -> Option<Vec<UnitState>> {
    let mut reader = Reader::new(body);
    let list_bytes = reader.length()?;
    reader.align(8);
    let end = reader.at.checked_add(list_bytes)?;
    let mut units = Vec::new();
    while reader.at < end {
        reader.align(8);
        let name = reader.text()?.to_owned();
        let (_description, _load) = (reader.text()?, reader.text()?);
        let active = reader.text()?.to_owned();
        let (_sub, _following, _object) = (reader.text()?, reader.text()?, reader.text()?);
        let _job = reader.number()?;
        let (_job_kind, _job_object) = (reader.text()?, reader.text()?);
        units.push(UnitState { name, active });
    }
    Some(units)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::net::{UnixListener, UnixStream},
        path::Path,
        thread::{self, JoinHandle},
    };

    /// A message with these fields, as the bus sends it.
    fn message(kind: u8, reply_to: u32, body: &[u8]) -> Vec<u8> {
        let mut fields = Writer::default();
        fields.field(DESTINATION, ":1.7");
        fields.align(8);
        fields.0.push(REPLY_SERIAL);
        fields.signature("u");
        fields.number(reply_to as usize);
        fields.field(SIGNATURE, "a(ssssssouso)");
        let mut message = Writer(vec![b'l', kind, 1, 1]);
        message.number(body.len());
        message.number(99);
        message.number(fields.0.len());
        message.0.extend(fields.0);
        message.align(8);
        message.0.extend(body);
        message.0
    }

    fn units_body(units: &[(&str, &str)]) -> Vec<u8> {
        let mut list = Writer(vec![0; 8]);
        for (name, active) in units {
            list.align(8);
            for text in [name, "What it is", "loaded", active, "sub", "", "/object"] {
                list.text(text);
            }
            list.number(0);
            list.text("");
            list.text("/");
        }
        let length = u32::try_from(list.0.len() - 8).unwrap();
        list.0[..4].copy_from_slice(&length.to_le_bytes());
        list.0
    }

    /// Answers a call of a method, with a list of that many bytes, by units or not at all.
    type Answering = fn(&str, usize) -> Option<Vec<(&'static str, &'static str)>>;

    /// A bus that ends after so many connections, and tells which methods were called.
    pub fn fake_bus(socket: &Path, connections: usize, answer: Answering) -> JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(socket).unwrap();
        thread::spawn(move || {
            let mut called = Vec::new();
            for _ in 0..connections {
                serve(listener.accept().unwrap().0, answer, &mut called);
            }
            called
        })
    }

    fn serve(stream: UnixStream, answer: Answering, called: &mut Vec<String>) {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("\0AUTH EXTERNAL 3"), "{line:?}");
        stream.get_mut().write_all(b"OK 1234deadbeef\r\n").unwrap();
        line.clear();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "BEGIN\r\n");
        while let Some((serial, member, list_bytes)) = read_call(&mut stream) {
            // A signal that nobody asked for comes first.
            stream.get_mut().write_all(&message(4, serial, &[])).unwrap();
            let reply = match answer(&member, list_bytes) {
                Some(units) => message(METHOD_RETURN, serial, &units_body(&units)),
                None => message(ERROR, serial, &[]),
            };
            stream.get_mut().write_all(&reply).unwrap();
            called.push(member);
        }
    }

    /// Serial and member of the next call, and the bytes of its list; `None` at the end.
    fn read_call(stream: &mut impl Read) -> Option<(u32, String, usize)> {
        let mut head = [0; 16];
        stream.read_exact(&mut head).ok()?;
        let (_, body_bytes, field_bytes) = parse_head(&head).unwrap();
        let mut rest = vec![0; field_bytes.next_multiple_of(8) + body_bytes];
        stream.read_exact(&mut rest).unwrap();
        let mut reader = Reader::new(&rest);
        loop {
            reader.align(8);
            let code = reader.byte().unwrap();
            reader.signature().unwrap();
            let text = reader.text().unwrap();
            if code == MEMBER.0 {
                let serial = u32::from_le_bytes(head[8..12].try_into().unwrap());
                return Some((serial, text.to_owned(), body_bytes.saturating_sub(4)));
            }
        }
    }

    #[test]
    fn a_call_is_as_the_specification_has_it() {
        let call =
            Call { destination: "d", path: "/p", interface: "i.f", member: "M", texts: Some(&["failed"]) };
        let expected = b"l\x01\0\x01\x0f\0\0\0\x07\0\0\0\x48\0\0\0\
            \x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0\x02\x01s\0\x03\0\0\0i.f\0\0\0\0\0\
            \x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0\x06\x01s\0\x01\0\0\0d\0\0\0\0\0\0\0\x08\x01g\0\x02as\0\
            \x0b\0\0\0\x06\0\0\0failed\0";
        assert_eq!(encode(&call, 7), expected);
    }

    #[test]
    fn a_reply_is_read_with_its_units() {
        let body = units_body(&[("a.service", "failed"), ("b.timer", "active")]);
        let bytes = message(METHOD_RETURN, 5, &body);
        let reply = read_reply(&mut bytes.as_slice()).unwrap();
        assert_eq!(reply, Some(Reply::Returned { to: 5, body: body.clone() }));
        let unit = |name: &str, active: &str| UnitState { name: name.into(), active: active.into() };
        assert_eq!(read_units(&body), Some(vec![unit("a.service", "failed"), unit("b.timer", "active")]));
        assert_eq!(read_units(&units_body(&[])), Some(Vec::new()));
        let refused = read_reply(&mut message(ERROR, 5, &[]).as_slice()).unwrap();
        assert_eq!(refused, Some(Reply::Failed { to: 5 }));
    }

    #[test]
    fn damage_is_no_panic_and_no_unit() {
        let body = units_body(&[("a.service", "failed")]);
        for length in 0..body.len() {
            assert_eq!(read_units(&body[..length]), None, "{length}");
        }
        let bytes = message(METHOD_RETURN, 5, &body);
        for (at, value) in [(0, b'B'), (7, 0xff), (15, 0xff)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert_eq!(read_reply(&mut bytes.as_slice()).unwrap(), None, "{at}");
        }
        assert!(read_reply(&mut &bytes[..20]).is_err());
    }

    #[test]
    fn a_message_at_the_limit_is_read_and_one_byte_more_is_not() {
        let head = |body: usize| {
            let mut writer = Writer(vec![b'l', METHOD_RETURN, 0, 1]);
            writer.number(body);
            writer.number(1);
            writer.number(0);
            writer.0
        };
        assert_eq!(parse_head(&head(MESSAGE_BYTES_MAX)), Some((METHOD_RETURN, MESSAGE_BYTES_MAX, 0)));
        assert_eq!(parse_head(&head(MESSAGE_BYTES_MAX + 1)), None);
    }
}
