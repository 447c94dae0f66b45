//! As much of ELF as says whether a program is static, and for which machine.
//!
//! Format: the System V ABI, chapters 4 and 5; 64 bits, little-endian.

use anyhow::{Context, Result, bail};

/// `\x7fELF`, 64 bits, little-endian.
const MAGIC: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
/// `e_machine` of x86-64 and of 64-bit ARM.
const MACHINES: [(u16, &str); 2] = [(62, "x86_64"), (183, "aarch64")];
/// The type of the segment that names the dynamic loader.
const PT_INTERP: u32 = 3;

/// The machine, as `uname -m` calls it.
pub fn machine(program: &[u8]) -> Result<&'static str> {
    if !program.starts_with(&MAGIC) {
        bail!("not a 64-bit ELF program");
    }
    let number = u16::from_le_bytes(field(program, 18)?);
    let known = MACHINES.iter().find(|(known, _)| *known == number);
    known.map(|(_, name)| *name).with_context(|| format!("machine {number} is not known"))
}

/// Whether a dynamic loader has to bring libraries to it.
pub fn needs_loader(program: &[u8]) -> Result<bool> {
    let table = usize::try_from(u64::from_le_bytes(field(program, 32)?))?;
    let entry_bytes = usize::from(u16::from_le_bytes(field(program, 54)?));
    let entries = usize::from(u16::from_le_bytes(field(program, 56)?));
    for entry in 0..entries {
        if u32::from_le_bytes(field(program, table + entry * entry_bytes)?) == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

fn field<const N: usize>(program: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = program.get(at..at + N).context("the program is cut off")?;
    Ok(bytes.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with program segments of these types.
    fn program(machine: u16, segments: &[u32]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(64, 0);
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
        for segment in segments {
            bytes.extend_from_slice(&segment.to_le_bytes());
            bytes.extend_from_slice(&[0; 52]);
        }
        bytes
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert!(needs_loader(&program(62, &[6, PT_INTERP, 1])).unwrap());
        assert!(!needs_loader(&program(62, &[6, 1, 2])).unwrap());
    }

    #[test]
    fn the_machine_is_named_and_others_are_refused() {
        assert_eq!(machine(&program(62, &[])).unwrap(), "x86_64");
        assert_eq!(machine(&program(183, &[])).unwrap(), "aarch64");
        assert!(machine(&program(3, &[])).is_err());
        assert!(machine(b"#!/bin/sh").is_err());
        assert!(needs_loader(&program(62, &[1])[..90]).is_ok());
        assert!(needs_loader(&program(62, &[1])[..60]).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_very_program_is_read() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(machine(&own).unwrap(), std::env::consts::ARCH);
    }
}
