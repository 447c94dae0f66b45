//! The rule that every file is part of a crate, and the walk that finds files which only tests see.

use super::{Finding, code::Code, tree::Tree};
use std::collections::{BTreeMap, BTreeSet};

/// A file that no `mod` names is not compiled, and rots.
pub(super) fn every_file_has_a_parent_module(tree: &Tree) -> Vec<Finding> {
    let reached = walk(tree);
    tree.rust()
        .filter(|(path, _, _)| !reached.contains_key(*path))
        .map(|(path, _, _)| Finding {
            path: path.to_owned(),
            line: 1,
            what: "no `mod` names this file".to_owned(),
            why: "It is not compiled, so nothing checks it",
            instead: "Name it in its parent module, or delete it",
        })
        .collect()
}

/// Files that are reached through `#[cfg(test)]` only.
pub(super) fn test_only_files(tree: &Tree) -> BTreeSet<String> {
    walk(tree).into_iter().filter_map(|(path, is_test)| is_test.then_some(path)).collect()
}

/// Every file that is reached from a crate's root, and whether only tests reach it.
fn walk(tree: &Tree) -> BTreeMap<String, bool> {
    let mut reached = BTreeMap::new();
    let roots = tree.rust().map(|(path, _, _)| path).filter(|path| is_crate_root(path));
    let mut waiting: Vec<(String, bool)> = roots.map(|path| (path.to_owned(), false)).collect();
    while let Some((path, is_test)) = waiting.pop() {
        // Seen before, and this way tells nothing new.
        if reached.get(&path).is_some_and(|known: &bool| !known || is_test) {
            continue;
        }
        let Some((file, code)) = tree.files.get(&path).and_then(|file| Some((file, file.code.as_ref()?)))
        else {
            continue;
        };
        for module in declared_modules(&file.text, code) {
            let is_test = is_test || code.is_test(module.line);
            waiting.extend(module.candidates(&path).into_iter().map(|candidate| (candidate, is_test)));
        }
        reached.insert(path, is_test);
    }
    reached
}

/// What cargo compiles by itself.
fn is_crate_root(path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    match parts.as_slice() {
        [.., "src", "lib.rs" | "main.rs"] | [.., "src", "bin", _] => true,
        [.., "tests" | "benches" | "examples" | "fuzz_targets", _] => !parts.contains(&"src"),
        [_, "build.rs"] => true,
        _ => false,
    }
}

/// A `mod name;`.
#[derive(Debug)]
struct Declared {
    name: String,
    /// Of `#[path = "…"]`, when the declaration has one.
    path: Option<String>,
    line: usize,
}

impl Declared {
    /// Where the module's file may lie, seen from the file that declares it.
    fn candidates(&self, parent: &str) -> Vec<String> {
        let (dir, file) = parent.rsplit_once('/').unwrap_or(("", parent));
        if let Some(path) = &self.path {
            return vec![format!("{dir}/{path}")];
        }
        let stem = file.trim_end_matches(".rs");
        let owns_its_dir = matches!(stem, "lib" | "main" | "mod" | "build") || is_crate_root(parent);
        let dir = if owns_its_dir { dir.to_owned() } else { format!("{dir}/{stem}") };
        vec![format!("{dir}/{}.rs", self.name), format!("{dir}/{}/mod.rs", self.name)]
    }
}

fn declared_modules(text: &str, code: &Code) -> Vec<Declared> {
    let original: Vec<_> = text.lines().collect();
    let mut modules = Vec::new();
    for (index, line) in code.masked.lines().enumerate() {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some(name) = words.last().and_then(|word| word.strip_suffix(';')) else { continue };
        if !words.contains(&"mod") {
            continue;
        }
        // The masked line has lost the string, so the attribute is read from the original above it.
        let above = index.checked_sub(1).and_then(|above| original.get(above)).map_or("", |line| line.trim());
        let path = above.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]"));
        modules.push(Declared { name: name.to_owned(), path: path.map(str::to_owned), line: index + 1 });
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_named_pass() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "mod b;\npub mod c;\n#[path = \"d/linux.rs\"]\nmod d;\n"),
            ("a/src/b.rs", "mod inner;"),
            ("a/src/b/inner.rs", ""),
            ("a/src/c/mod.rs", ""),
            ("a/src/d/linux.rs", ""),
            ("a/build.rs", ""),
            ("a/tests/whole.rs", "mod fixture;"),
            ("a/tests/fixture/mod.rs", ""),
            ("a/fuzz_targets/decoder.rs", ""),
        ]);
        assert_eq!(every_file_has_a_parent_module(&tree), []);
    }

    #[test]
    fn a_file_that_nobody_names_is_found() {
        let tree =
            Tree::of(&[("a/src/lib.rs", "// mod b;\n"), ("a/src/b.rs", ""), ("a/src/b/tests/x.rs", "")]);
        let paths: Vec<_> =
            every_file_has_a_parent_module(&tree).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["a/src/b.rs", "a/src/b/tests/x.rs"]);
    }

    #[test]
    fn a_file_is_a_test_when_only_tests_reach_it() {
        let tree = Tree::of(&[
            ("a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod fake;\n"),
            ("a/src/b.rs", "#[cfg(test)]\nmod tests;\n"),
            ("a/src/b/tests.rs", ""),
            ("a/src/fake.rs", "mod deeper;"),
            ("a/src/fake/deeper.rs", ""),
        ]);
        let expected = ["a/src/b/tests.rs", "a/src/fake.rs", "a/src/fake/deeper.rs"];
        assert_eq!(test_only_files(&tree).into_iter().collect::<Vec<_>>(), expected);
    }
}
