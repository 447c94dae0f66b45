//! Writes the seeds into `fuzz/corpus`, where libFuzzer begins.

use edgewatch_fuzz_targets::TARGETS;
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
    }
    Ok(())
}
