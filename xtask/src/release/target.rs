//! What a release is built for: static programs for Linux, linked with musl.
//!
//! Rust brings musl and the linker, Zig the compiler for the C of `ring` and `zstd`.

use crate::{
    build::Program,
    command::{cargo, output, run, say},
    project,
    release::{VERB, elf, source_date},
    setup::peers::QEMU_AARCH64,
};
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A kind of machine.
#[derive(Debug)]
pub struct Target {
    /// Rust's name.
    pub triple: &'static str,
    /// What `uname -m` prints there.
    pub machine: &'static str,
    /// Debian's name, which is also that of container images.
    pub debian: &'static str,
    /// Zig's name.
    zig: &'static str,
}

/// All of them.
pub const TARGETS: [Target; 2] = [
    Target {
        triple: "x86_64-unknown-linux-musl",
        machine: "x86_64",
        debian: "amd64",
        zig: "x86_64-linux-musl",
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        machine: "aarch64",
        debian: "arm64",
        zig: "aarch64-linux-musl",
    },
];

/// Relocations in their short form (12 bytes become 2 bits), which musl knows.
const PACKED_RELOCATIONS: &str = "link-arg=--pack-dyn-relocs=relr";

/// Leaves out the tables that a stack is unwound by: a tenth of the program. The path is relative, so that it is the same
/// wherever the project lies: it is part of what names the program's symbols.
const NO_UNWINDING: [&str; 2] =
    ["link-arg=-Txtask/src/release/no-unwinding.ld", "link-arg=--no-eh-frame-hdr"];

/// The same for C, and a section a function, so that the linker can leave out what nobody calls.
const C_FLAGS: &str =
    "-fno-asynchronous-unwind-tables -fno-unwind-tables -ffunction-sections -fdata-sections";

/// Libraries that are compiled for size above all: they work once a push, or once a start.
const SMALLEST: [&str; 7] =
    ["rustls", "rustls-webpki", "toml", "toml_parser", "winnow", "ureq", "ureq-proto"];

impl Target {
    /// The one of this machine, if there is one.
    pub fn of_this_machine() -> Option<Self> {
        let is_it = |target: &Self| env::consts::OS == "linux" && env::consts::ARCH == target.machine;
        TARGETS.into_iter().find(is_it)
    }

    /// Where a program lies once it is built.
    pub fn path(&self, program: Program) -> PathBuf {
        project::target_dir().join(self.triple).join("release").join(program.package())
    }

    /// Compiles a program, and makes sure that it is static and starts. Its path. Each is compiled on its own: compiled
    /// together, programs share the features of what they depend on, and get larger.
    pub fn build(&self, program: Program, zig: &Path) -> Result<PathBuf> {
        say(VERB, format!("compiling {} for {}", program.package(), self.triple));
        let mut command = cargo();
        command.args(["build", "--release", "--target", self.triple, "--package", program.package()]);
        for library in SMALLEST {
            command.arg("--config").arg(format!("profile.release.package.{library}.opt-level='z'"));
        }
        run(self.environment(&mut command, zig)?)?;
        let path = self.path(program);
        self.check(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// What makes cargo build static programs, the same bytes wherever they are built.
    fn environment<'a>(&self, command: &'a mut Command, zig: &Path) -> Result<&'a mut Command> {
        let zig = zig.display().to_string();
        if zig.contains(char::is_whitespace) {
            bail!("the compiler's path must not have spaces: {zig}");
        }
        let suffix = self.triple.replace('-', "_");
        let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo_home =
            cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("no home folder")?;
        let flags = [
            format!("-C{PACKED_RELOCATIONS}"),
            format!("-C{}", NO_UNWINDING[0]),
            format!("-C{}", NO_UNWINDING[1]),
            format!("--remap-path-prefix={}=cargo", cargo_home.display()),
            format!("--remap-path-prefix={}=edgewatch", project::root().display()),
        ];
        Ok(command
            .env(format!("CC_{suffix}"), format!("{zig} cc"))
            .env(format!("AR_{suffix}"), format!("{zig} ar"))
            .env(format!("CFLAGS_{suffix}"), format!("-target {} {C_FLAGS}", self.zig))
            .env(format!("CARGO_TARGET_{}_LINKER", suffix.to_uppercase()), "rust-lld")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("SOURCE_DATE_EPOCH", source_date()?.to_string()))
    }

    /// Static, and it starts: on this machine, or under QEMU.
    fn check(&self, program: &Path) -> Result<()> {
        let bytes = fs::read(program).context("reading it")?;
        if elf::machine(&bytes)? != self.machine {
            bail!("it is not for {}", self.machine);
        }
        if elf::needs_loader(&bytes)? {
            bail!("it is not static");
        }
        let mut command = self.runner()?.map_or_else(
            || Command::new(program),
            |runner| {
                let mut command = Command::new(runner);
                command.arg(program);
                command
            },
        );
        let said = output(command.arg("--version"))?;
        say(VERB, format!("{}: {} bytes, static, says {:?}", program.display(), bytes.len(), said.trim()));
        Ok(())
    }

    /// What runs programs of this target where the machine does not.
    pub fn runner(&self) -> Result<Option<PathBuf>> {
        match (env::consts::OS, env::consts::ARCH == self.machine, self.machine) {
            ("linux", true, _) => Ok(None),
            ("linux", false, "aarch64") => QEMU_AARCH64.ensure().map(Some),
            _ => {
                bail!("nothing here runs programs for Linux on {}: release on Linux, on x86-64", self.machine)
            }
        }
    }
}
