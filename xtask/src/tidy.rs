//! `cargo xtask tidy`: the house rules, as code.
//!
//! Each rule is a function from the [`Tree`] to [`Finding`]s, with a test for a
//! text that keeps it and one that breaks it. The rules say why; CONTRIBUTING.md
//! says no more than they do.

mod code;
mod documents;
mod lengths;
mod manifests;
mod modules;
mod panics;
mod texts;
mod tree;

use crate::{command::say, project};
use anyhow::{Result, bail};
use std::fmt;
use tree::Tree;

const VERB: &str = "tidy";

/// A place where a house rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root.
    path: String,
    /// From 1.
    line: usize,
    /// What was found.
    what: String,
    /// Why that is a problem.
    why: &'static str,
    /// What to do instead.
    instead: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, why, instead } = self;
        write!(formatter, "{path}:{line}: {what}. {why}. {instead}.")
    }
}

/// A rule: everything in the tree that breaks it.
type Rule = fn(&Tree) -> Vec<Finding>;

/// All of them.
const RULES: &[Rule] = &[
    texts::rust_files_begin_with_their_purpose,
    texts::no_tabs_and_no_trailing_spaces,
    texts::no_allow_attributes,
    lengths::files_are_short,
    lengths::functions_are_short,
    modules::every_file_has_a_parent_module,
    manifests::only_the_worker_uses_the_sdk,
    manifests::every_dependency_has_a_reason,
    documents::every_route_is_documented,
    documents::every_limit_is_documented,
    panics::request_paths_do_not_panic,
];

/// Checks the project; prints every finding and fails if there is one.
pub fn run() -> Result<()> {
    let tree = Tree::read(project::root())?;
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} places break a house rule", findings.len());
    }
    say(VERB, format!("{} files keep {} rules", tree.files.len(), RULES.len()));
    Ok(())
}
