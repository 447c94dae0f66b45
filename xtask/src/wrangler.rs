//! `wrangler.toml`: the one configuration of the Worker, for a deploy and for a local run.
//!
//! Every table in it is known here, so that a binding cannot exist in a deploy and
//! silently be missing in the local run: an unknown one is an error.

use crate::{command::run, project, setup::npm};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, process::Command};

/// What `wrangler.toml` says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The Worker's name.
    pub name: String,
    /// The entry module that is uploaded.
    pub main: String,
    /// The date that fixes the runtime's behaviour.
    pub compatibility_date: String,
    /// Changes to it.
    #[serde(default)]
    pub compatibility_flags: Vec<String>,
    /// Settings: text bindings.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// D1 databases.
    #[serde(default)]
    pub d1_databases: Vec<Database>,
    /// R2 buckets.
    #[serde(default)]
    pub r2_buckets: Vec<Bucket>,
    /// Durable Object namespaces.
    #[serde(default)]
    pub durable_objects: DurableObjects,
    /// Which classes came when, and with which storage.
    #[serde(default)]
    pub migrations: Vec<Migration>,
    /// Read by wrangler alone.
    #[serde(default, rename = "build")]
    _build: Option<toml::Table>,
    /// Cloudflare's own logs; read by wrangler alone.
    #[serde(default, rename = "observability")]
    _observability: Option<toml::Table>,
    /// What an invocation may cost; not enforced locally.
    #[serde(default, rename = "limits")]
    _limits: Option<toml::Table>,
}

/// A D1 database.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The name that the Worker knows it by.
    pub binding: String,
    /// The name that people know it by.
    pub database_name: String,
    /// Cloudflare's id, once there is one.
    #[serde(default, rename = "database_id")]
    _database_id: Option<String>,
}

/// An R2 bucket.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The name that the Worker knows it by.
    pub binding: String,
    /// The name that people know it by.
    pub bucket_name: String,
}

/// The namespaces of Durable Objects.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DurableObjects {
    /// Each with the class behind it.
    #[serde(default)]
    pub bindings: Vec<Namespace>,
}

/// A namespace of Durable Objects.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// The name that the Worker knows it by.
    #[serde(rename = "name")]
    pub binding: String,
    /// The exported class.
    pub class_name: String,
}

/// A step in the history of the Durable Object classes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// The step's name.
    pub tag: String,
    /// Classes that store in SQLite.
    #[serde(default)]
    pub new_sqlite_classes: Vec<String>,
}

impl Configuration {
    /// Reads the project's `wrangler.toml`.
    pub fn read() -> Result<Self> {
        let path = project::root().join("wrangler.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("understanding {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        toml::from_str(text)
            .context("a local run must know every table: teach xtask/src/wrangler.rs a new one")
    }

    /// Whether objects of `class` store in SQLite.
    pub fn is_sqlite(&self, class: &str) -> bool {
        self.migrations.iter().flat_map(|migration| &migration.new_sqlite_classes).any(|name| name == class)
    }
}

/// Lets wrangler bundle what it would deploy, without an account and without uploading.
pub fn dry_run() -> Result<()> {
    let bundle = project::bundles_dir().join("dry-run");
    let mut command = Command::new(npm::program("wrangler")?);
    command
        .current_dir(project::root())
        .env("PATH", npm::search_path()?)
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CI", "true")
        .args(["deploy", "--dry-run", "--outdir"])
        .arg(bundle);
    run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "name = \"n\"\nmain = \"m\"\ncompatibility_date = \"2026-11-01\"\n";

    #[test]
    fn the_projects_own_configuration_is_understood() {
        let configuration = Configuration::read().unwrap();
        assert!(!configuration.d1_databases.is_empty());
        for namespace in &configuration.durable_objects.bindings {
            assert!(configuration.is_sqlite(&namespace.class_name), "{}", namespace.class_name);
        }
    }

    #[test]
    fn the_entry_is_the_release_bundle() {
        let main = Configuration::read().unwrap().main;
        assert_eq!(project::root().join(main), crate::build::Bundle::Release.dir().join("index.js"));
    }

    #[test]
    fn an_unknown_table_is_an_error() {
        assert!(Configuration::parse(MINIMAL).is_ok());
        let error =
            Configuration::parse(&format!("{MINIMAL}[[queues.producers]]\nbinding = \"Q\"\n")).unwrap_err();
        assert!(format!("{error:#}").contains("queues"), "{error:#}");
    }
}
