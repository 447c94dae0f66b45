//! `cargo xtask build`: the Worker's bundles and the native programs, as they are released.
//!
//! A bundle is what wrangler uploads and what [`crate::server`] runs: `index.js`
//! and `index_bg.wasm` in `build/worker` (or `build/worker-test`, with the hooks
//! that the end-to-end tests need). Cargo decides whether to compile; the slow
//! post-processing is skipped when the compiled module is the same as last time.

use crate::{
    command::{cargo, run, say},
    hex, project,
    setup::{self, npm, tools},
};
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The Worker's target.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Where cc, which compiles zstd, looks for the compiler of [`WASM_TARGET`].
pub const WASM_C_COMPILER_VARIABLE: &str = "CC_wasm32_unknown_unknown";

const VERB: &str = "build";

/// Raised when the steps of [`Bundle::build`] change, so that older bundles count as stale.
const PIPELINE: u32 = 2;

/// The sets of WebAssembly features that worker-build lets wasm-opt use; ours must not allow more.
const WASM_FEATURES: [&str; 7] = [
    "mutable-globals",
    "sign-ext",
    "nontrapping-float-to-int",
    "bulk-memory",
    "multivalue",
    "reference-types",
    "exception-handling",
];

/// One of the two builds of the Worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// What is deployed.
    Release,
    /// With the feature `test-hooks`, and with function names for readable traces.
    TestHooks,
}

impl Bundle {
    /// The folder that holds `index.js` and `index_bg.wasm`.
    pub fn dir(self) -> PathBuf {
        project::bundles_dir().join(match self {
            Self::Release => "worker",
            Self::TestHooks => "worker-test",
        })
    }

    /// The WebAssembly module.
    pub fn module(self) -> PathBuf {
        self.dir().join("index_bg.wasm")
    }

    /// The folder, when a bundle is in it.
    pub fn built(self) -> Result<PathBuf> {
        if !self.dir().join("index.js").is_file() || !self.module().is_file() {
            let flag = if self == Self::TestHooks { " --test-hooks" } else { "" };
            bail!("{} is not built: run `cargo xtask build --worker{flag}`", self.dir().display());
        }
        Ok(self.dir())
    }

    /// Compiles the Worker and stages its bundle.
    pub fn build(self) -> Result<()> {
        let _lock = setup::lock(&project::bundles_dir().join(".lock"))?;
        say(VERB, format!("compiling the Worker for {}", self.dir().display()));
        run(wasm_cargo(cargo().args(["build", "--package", "edgewatch-worker", "--lib"]), self))?;
        let stamp = self.stamp()?;
        let stamped = self.dir().join(".stamp");
        let is_fresh = self.built().is_ok() && fs::read_to_string(&stamped).is_ok_and(|old| old == stamp);
        if is_fresh {
            say(VERB, "the module is the same as last time: keeping the bundle");
        } else {
            self.stage(&stamp)?;
        }
        self.report()
    }

    /// Wraps the compiled module for the runtime, and puts the result where the last one was.
    fn stage(self, stamp: &str) -> Result<()> {
        let staging = project::bundles_dir().join("staging");
        if staging.exists() {
            fs::remove_dir_all(&staging).with_context(|| format!("removing {}", staging.display()))?;
        }
        let wrapped = staging.join("wrapped");
        let bundle = staging.join("bundle");
        fs::create_dir_all(&bundle).with_context(|| format!("creating {}", bundle.display()))?;
        self.wrap(&wrapped)?;
        fs::copy(wrapped.join("index.js"), bundle.join("index.js")).context("staging index.js")?;
        let module = bundle.join("index_bg.wasm");
        match self {
            Self::Release => strip(&wrapped.join("index_bg.wasm"), &module)?,
            Self::TestHooks => {
                fs::copy(wrapped.join("index_bg.wasm"), &module).context("staging index_bg.wasm")?;
            }
        }
        fs::write(bundle.join(".stamp"), stamp).context("writing the bundle's stamp")?;
        if self.dir().exists() {
            fs::remove_dir_all(self.dir()).with_context(|| format!("removing {}", self.dir().display()))?;
        }
        fs::rename(&bundle, self.dir()).with_context(|| format!("staging {}", self.dir().display()))?;
        fs::remove_dir_all(&staging).with_context(|| format!("removing {}", staging.display()))
    }

    /// worker-build: wasm-bindgen, wasm-opt and esbuild, each of which it would otherwise download.
    fn wrap(self, out_dir: &Path) -> Result<()> {
        let mut command = Command::new(tools::WORKER_BUILD.path()?);
        command
            .current_dir(project::root().join("worker"))
            .env("PATH", npm::search_path()?)
            .env("WASM_BINDGEN_BIN", tools::WASM_BINDGEN.path()?)
            .env("WASM_OPT_BIN", npm::program("wasm-opt")?)
            .env("ESBUILD_BIN", npm::program("esbuild")?)
            .args(["--release", "--out-dir"])
            .arg(out_dir);
        run(wasm_environment(command.args(self.features())))
    }

    /// What the staged bundle depends on.
    fn stamp(self) -> Result<String> {
        let compiled = project::target_dir().join(WASM_TARGET).join("release/edgewatch_worker.wasm");
        let module = fs::read(&compiled).with_context(|| format!("reading {}", compiled.display()))?;
        Ok(format!(
            "pipeline {PIPELINE}\nmodule {}\nworker-build {}\nwasm-bindgen {}\npackages {}\n",
            hex(&Sha256::digest(module)),
            tools::WORKER_BUILD.version(),
            tools::WASM_BINDGEN.version(),
            npm::fingerprint()?,
        ))
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Release => &[],
            Self::TestHooks => &["--features", "test-hooks"],
        }
    }

    fn report(self) -> Result<()> {
        let bytes =
            |path: PathBuf| fs::metadata(&path).with_context(|| format!("reading {}", path.display()));
        say(
            VERB,
            format!(
                "{}: index_bg.wasm {} bytes, index.js {} bytes",
                self.dir().display(),
                bytes(self.module())?.len(),
                bytes(self.dir().join("index.js"))?.len(),
            ),
        );
        Ok(())
    }
}

/// A native program of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The host's agent.
    Agent,
    /// The operator's command line.
    Cli,
}

impl Program {
    /// The package, which is also the program's name.
    pub fn package(self) -> &'static str {
        match self {
            Self::Agent => "edgewatch-agent",
            Self::Cli => "edgewatch",
        }
    }

    /// Where the release build of it lies.
    pub fn path(self) -> PathBuf {
        let path = project::target_dir().join("release").join(self.package());
        path.with_extension(env::consts::EXE_EXTENSION)
    }

    /// The path, when it has been built.
    pub fn built(self) -> Result<PathBuf> {
        let path = self.path();
        if !path.is_file() {
            bail!("{} is not built: run `cargo xtask build`", path.display());
        }
        Ok(path)
    }

    /// Compiles it with the release profile.
    pub fn build(self) -> Result<()> {
        say(VERB, format!("compiling {}", self.package()));
        run(cargo().args(["build", "--release", "--package", self.package()]))?;
        let path = self.built()?;
        let bytes = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
        say(VERB, format!("{}: {bytes} bytes", path.display()));
        Ok(())
    }
}

/// Lets a cargo command compile the Worker exactly as worker-build does, so that both share one build.
fn wasm_cargo(command: &mut Command, bundle: Bundle) -> &mut Command {
    wasm_environment(command.args(["--release", "--target", WASM_TARGET]).args(bundle.features()))
}

/// The environment of every cargo that compiles for [`WASM_TARGET`]; one that differs would recompile.
pub fn wasm_environment(command: &mut Command) -> &mut Command {
    command
        .env(WASM_C_COMPILER_VARIABLE, wasm_c_compiler())
        // Set by worker-build: the macros of wasm-bindgen look at it while they expand.
        .env("WASM_BINDGEN_USE_JS_SYS", "1")
        // wasm-bindgen reads the module's list of features, which `strip = true` would remove. Names are
        // dropped from the release bundle at the end.
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        // The module is fetched and compiled at every cold start: bytes count for more than in the native programs.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "z")
}

/// The C compiler for [`WASM_TARGET`]: a person's choice, else clang.
pub fn wasm_c_compiler() -> String {
    env::var(WASM_C_COMPILER_VARIABLE).unwrap_or_else(|_| "clang".to_owned())
}

/// The library functions that the binding of zstd offers to C code, which are linked by now: as exports they would stay,
/// with a sort for each size of an element.
const ZSTD_EXPORTS: &str = "rust_zstd_*";

/// Drops function names, a third of the module that nobody reads in production, and what nobody calls.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new(npm::program("wasm-opt")?);
    command
        .env("PATH", npm::search_path()?)
        .args(WASM_FEATURES.map(|feature| format!("--enable-{feature}")))
        .arg(format!("--remove-exports={ZSTD_EXPORTS}"))
        .args(["--remove-unused-module-elements", "--strip-debug"])
        .args([OsString::from(from), "-o".into(), to.into()]);
    run(&mut command)
}
