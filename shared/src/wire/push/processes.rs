//! The record of a host's processes, which a push may bring once a minute: how many there are, and which use the most.
//! `docs/wire-format.md` has it byte by byte.

use super::PushError;
use crate::{
    codec::{
        CodecError,
        bits::{Reader, put_signed, put_varint},
    },
    limits::{PROCESS_TEXT_BYTES_MAX, PROCESSES_NAMED_MAX},
    time::TimestampMs,
};

/// A host's processes at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// When they were looked at.
    pub time: TimestampMs,
    /// How many there were.
    pub count: u64,
    /// Those that used the most processor time since they were last looked at, in hundredths of a percent of one
    /// processor; the greediest first, at most [`PROCESSES_NAMED_MAX`].
    pub by_cpu: Vec<Process>,
    /// The same by resident memory, in bytes.
    pub by_memory: Vec<Process>,
}

/// A process that uses much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What it calls itself, at most [`PROCESS_TEXT_BYTES_MAX`].
    pub name: String,
    /// Whose it is, at most [`PROCESS_TEXT_BYTES_MAX`]; the number where the user has no name.
    pub user: String,
    /// What it uses.
    pub uses: u64,
}

/// Encodes a record.
pub fn encode_processes(processes: &Processes) -> Vec<u8> {
    let mut out = Vec::new();
    put_signed(&mut out, processes.time.0);
    put_varint(&mut out, processes.count);
    for list in [&processes.by_cpu, &processes.by_memory] {
        put_varint(&mut out, list.len() as u64);
        for process in list {
            put_varint(&mut out, process.pid.into());
            put_text(&mut out, &process.name);
            put_text(&mut out, &process.user);
            put_varint(&mut out, process.uses);
        }
    }
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// Decodes a record, within its limits.
pub fn decode_processes(bytes: &[u8]) -> Result<Processes, PushError> {
    let mut reader = Reader::new(bytes);
    let time = TimestampMs(reader.signed().map_err(whole)?);
    let count = reader.varint().map_err(whole)?;
    let by_cpu = decode_list(&mut reader)?;
    let by_memory = decode_list(&mut reader)?;
    if !reader.is_empty() {
        return Err(PushError::Malformed("bytes after the record of processes"));
    }
    Ok(Processes { time, count, by_cpu, by_memory })
}

fn decode_list(reader: &mut Reader<'_>) -> Result<Vec<Process>, PushError> {
    let named = |error| PushError::of_codec(error, "processes", PROCESSES_NAMED_MAX);
    let count = reader.length(PROCESSES_NAMED_MAX).map_err(named)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        let pid = u32::try_from(reader.varint().map_err(whole)?);
        list.push(Process {
            pid: pid.map_err(|_| PushError::Malformed("a process of a number beyond all numbers"))?,
            name: decode_text(reader)?,
            user: decode_text(reader)?,
            uses: reader.varint().map_err(whole)?,
        });
    }
    Ok(list)
}

fn decode_text(reader: &mut Reader<'_>) -> Result<String, PushError> {
    let within =
        |error| PushError::of_codec(error, "bytes of a process's name or user", PROCESS_TEXT_BYTES_MAX);
    let length = reader.length(PROCESS_TEXT_BYTES_MAX).map_err(within)?;
    let text = reader.bytes(length).map_err(whole)?.to_vec();
    String::from_utf8(text).map_err(|_| PushError::Malformed("a process's name or user that is not UTF-8"))
}

fn whole(error: CodecError) -> PushError {
    PushError::of_codec(error, "bytes", usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{code::ErrorCode, limits::PROCESSES_RECORD_BYTES_MAX};
    use proptest::prelude::*;

    fn process(text_bytes: usize) -> Process {
        Process { pid: u32::MAX, name: "n".repeat(text_bytes), user: "u".repeat(text_bytes), uses: u64::MAX }
    }

    fn record(named: usize, text_bytes: usize) -> Processes {
        let list = vec![process(text_bytes); named];
        Processes { time: TimestampMs(i64::MIN), count: u64::MAX, by_cpu: list.clone(), by_memory: list }
    }

    #[test]
    fn a_record_holds_so_many_processes_and_bytes_and_not_one_more() {
        let largest = record(PROCESSES_NAMED_MAX, PROCESS_TEXT_BYTES_MAX);
        let bytes = encode_processes(&largest);
        assert_eq!(bytes.len(), PROCESSES_RECORD_BYTES_MAX);
        assert_eq!(decode_processes(&bytes), Ok(largest.clone()));
        let refused = |record: &Processes| decode_processes(&encode_processes(record)).unwrap_err();
        let more = |list: &[Process]| [list, &[process(1)]].concat();
        let by_cpu = Processes { by_cpu: more(&largest.by_cpu), ..largest.clone() };
        let by_memory = Processes { by_memory: more(&largest.by_memory), ..largest.clone() };
        let longer = "x".repeat(PROCESS_TEXT_BYTES_MAX + 1);
        let name = Processes {
            by_cpu: vec![Process { name: longer.clone(), ..process(1) }],
            ..Processes::default()
        };
        let user =
            Processes { by_memory: vec![Process { user: longer, ..process(1) }], ..Processes::default() };
        for over in [by_cpu, by_memory, name, user] {
            assert_eq!(refused(&over).code(), ErrorCode::BodyTooLarge, "{over:?}");
        }
    }

    #[test]
    fn what_no_encoder_writes_is_malformed() {
        let bytes = encode_processes(&record(1, 1));
        for cut in 0..bytes.len() {
            assert_eq!(decode_processes(&bytes[..cut]), Err(PushError::Truncated), "{cut}");
        }
        let codes = |bytes: &[u8]| decode_processes(bytes).unwrap_err().code();
        assert_eq!(codes(&[bytes.as_slice(), &[0]].concat()), ErrorCode::MalformedBody);
        // One process: its number is beyond 32 bits; its name is not UTF-8.
        assert_eq!(codes(&[0, 0, 1, 0x80, 0x80, 0x80, 0x80, 0x10, 0, 0, 0, 0]), ErrorCode::MalformedBody);
        assert_eq!(codes(&[0, 0, 1, 1, 1, 0xff, 0, 0, 0]), ErrorCode::MalformedBody);
    }

    fn any_list() -> impl Strategy<Value = Vec<Process>> {
        let process = (any::<u32>(), ".{0,16}", ".{0,16}", any::<u64>());
        let process = process.prop_map(|(pid, name, user, uses)| Process { pid, name, user, uses });
        proptest::collection::vec(process, 0..=PROCESSES_NAMED_MAX)
    }

    proptest! {
        #[test]
        fn any_record_survives(time in any::<i64>(), count in any::<u64>(), by_cpu in any_list(), by_memory in any_list()) {
            let record = Processes { time: TimestampMs(time), count, by_cpu, by_memory };
            prop_assert_eq!(decode_processes(&encode_processes(&record)), Ok(record));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(record) = decode_processes(&bytes) {
                prop_assert_eq!(decode_processes(&encode_processes(&record)), Ok(record));
            }
        }
    }
}
