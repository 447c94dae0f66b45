//! `cargo xtask bench`: builds what is measured and hands over to the crate `edgewatch-bench`,
//! which has dependencies of its own that no other verb should compile.

use crate::{
    build::{Bundle, Program},
    command::{cargo, run_seeing},
    release::target::Target,
    setup::{self, Need},
};
use anyhow::{Result, bail};
use std::{ffi::OsString, path::PathBuf};

/// Measures a suite; its figures go to standard output.
pub fn run_bench(arguments: Vec<OsString>) -> Result<()> {
    setup::run_for(Need::Build)?;
    Bundle::Release.build()?;
    Bundle::TestHooks.build()?;
    build_agent()?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "edgewatch-bench", "--"]).args(arguments);
    if !run_seeing(&mut command, |_| ())? {
        bail!("the measurement failed");
    }
    Ok(())
}

/// The agent that is measured: as it is released, static, where there is a release for this machine.
pub fn agent() -> PathBuf {
    Target::of_this_machine().map_or_else(|| Program::Agent.path(), |target| target.path(Program::Agent))
}

fn build_agent() -> Result<()> {
    let Some(target) = Target::of_this_machine() else { return Program::Agent.build() };
    setup::rust_targets(&[target.triple])?;
    target.build(Program::Agent, &setup::zig::ensure()?).map(drop)
}
