//! Rules about `Cargo.toml` files.

use super::{Finding, tree::Tree};

/// The SDK, under the names of its crates.
const SDK: [&str; 4] = ["worker", "worker-sys", "worker-macros", "worker-kv"];

/// Cloudflare stays behind one door.
pub(super) fn only_the_worker_uses_the_sdk(tree: &Tree) -> Vec<Finding> {
    let others = manifests(tree).filter(|(path, _)| *path != "worker/Cargo.toml");
    let uses = others.flat_map(|(path, text)| dependencies(text).into_iter().map(move |found| (path, found)));
    let uses_sdk = |dependency: &Dependency| {
        SDK.contains(&dependency.name)
            || SDK.iter().any(|name| dependency.definition.contains(&format!("package = \"{name}\"")))
    };
    uses.filter(|(_, dependency)| uses_sdk(dependency))
        .map(|(path, dependency)| Finding {
            path: path.to_owned(),
            line: dependency.line,
            what: format!("the SDK `{}` outside the crate `worker`", dependency.name),
            why: "Only `worker` knows Cloudflare, so that everything else is tested natively",
            instead: "Take what you need as an argument, and call the SDK in `worker`",
        })
        .collect()
}

/// A dependency is a decision, and its reason is written above it, once.
pub(super) fn every_dependency_has_a_reason(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in manifests(tree) {
        let lines: Vec<_> = text.lines().collect();
        for dependency in dependencies(text) {
            let above = dependency.line.checked_sub(2).and_then(|index| lines.get(index));
            let has_reason = above.is_some_and(|line| line.trim_start().starts_with('#'));
            if !has_reason && dependency.is_decided_here() {
                findings.push(Finding {
                    path: path.to_owned(),
                    line: dependency.line,
                    what: format!("the dependency `{}` has no reason in the line above it", dependency.name),
                    why: "Every dependency is something to keep, to trust and to compile",
                    instead: "Say in a comment what it is for",
                });
            }
        }
    }
    findings
}

fn manifests(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let manifests =
        tree.files.iter().filter(|(path, _)| *path == "Cargo.toml" || path.ends_with("/Cargo.toml"));
    manifests.map(|(path, file)| (path.as_str(), file.text.as_str()))
}

/// One line of a table of dependencies.
#[derive(Debug)]
struct Dependency<'a> {
    name: &'a str,
    definition: &'a str,
    line: usize,
}

impl Dependency<'_> {
    /// Whether the version is chosen in this line: not the workspace's choice, not a crate of our own.
    fn is_decided_here(&self) -> bool {
        !self.definition.contains("workspace = true") && !self.definition.contains("path = ")
    }
}

/// The lines below `[dependencies]`, `[dev-dependencies]`, `[workspace.dependencies]`, `[target.….dependencies]` …
fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut is_inside = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            is_inside = line.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        // A value that runs over several lines is indented.
        let begins_entry = line.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '"');
        let Some((name, _)) = line.split_once('=').filter(|_| is_inside && begins_entry) else { continue };
        // `name.workspace = true`
        let name = name.trim().trim_matches('"');
        let name = name.split_once('.').map_or(name, |(name, _)| name);
        found.push(Dependency { name, definition: line, line: index + 1 });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_the_workers_alone() {
        let uses = "[dependencies]\n# Why.\nworker = \"0.8\"\n";
        assert_eq!(only_the_worker_uses_the_sdk(&Tree::of(&[("worker/Cargo.toml", uses)])), []);
        for uses in [
            uses,
            "[dev-dependencies]\n# Why.\nworker = { version = \"1\" }\n",
            "[dependencies]\n\nworker-sys.workspace = true\n",
            "[dependencies]\n\ncloud = { package = \"worker\", version = \"1\" }\n",
        ] {
            let findings = only_the_worker_uses_the_sdk(&Tree::of(&[("engine/Cargo.toml", uses)]));
            assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [3], "{uses}");
        }
    }

    #[test]
    fn a_name_that_only_begins_like_the_sdk_passes() {
        let text = "[package]\nname = \"edgewatch-worker\"\n[dependencies]\n# Why.\nworkerd = \"1\"\n";
        assert_eq!(only_the_worker_uses_the_sdk(&Tree::of(&[("e2e/Cargo.toml", text)])), []);
    }

    #[test]
    fn a_dependency_with_a_reason_passes_and_one_without_is_found() {
        let text = "[workspace.dependencies]\nours = { path = \"ours\" }\n\n# Because.\na = \"1\"\nb = \"1\"\n\n\
                    [dependencies]\na.workspace = true\nc = { workspace = true, features = [\"x\"] }\n";
        let findings = every_dependency_has_a_reason(&Tree::of(&[("Cargo.toml", text)]));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [6]);
    }
}
