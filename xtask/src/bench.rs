//! `cargo xtask bench`: builds what is measured and hands over to the crate `edgewatch-bench`,
//! which has dependencies of its own that no other verb should compile.

use crate::{
    build::{Bundle, Program},
    command::{cargo, run_seeing},
    setup::{self, Need},
};
use anyhow::{Result, bail};
use std::ffi::OsString;

/// Measures a suite; its figures go to standard output.
pub fn run_bench(arguments: Vec<OsString>) -> Result<()> {
    setup::run_for(Need::Build)?;
    Bundle::Release.build()?;
    Bundle::TestHooks.build()?;
    Program::Agent.build()?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "edgewatch-bench", "--"]).args(arguments);
    if !run_seeing(&mut command, |_| ())? {
        bail!("the measurement failed");
    }
    Ok(())
}
