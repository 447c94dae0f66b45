//! Saves the state of a server that is filled anew: `cargo run -p edgewatch-e2e --bin save-state FILE`.

use edgewatch_e2e::saved_state;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args_os().nth(1).ok_or("say where to: e2e/fixtures/state-<what changed>.tar.zst")?;
    let file = PathBuf::from(file);
    saved_state::save(&file)?;
    println!("{}: {} bytes", file.display(), fs::metadata(&file)?.len());
    Ok(())
}
