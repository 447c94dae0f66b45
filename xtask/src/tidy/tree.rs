//! The project's files as the rules see them.

use super::{code::Code, modules};
use anyhow::{Context, Result};
use std::{collections::BTreeMap, fs, path::Path};

/// Files with these endings are read; the others are not ours to write by hand.
const EXTENSIONS: [&str; 7] = ["rs", "toml", "md", "sql", "mjs", "json", "yml"];

/// Folders that hold what was built or downloaded. So does every folder that begins with a dot.
const SKIPPED_DIRS: [&str; 3] = ["target", "node_modules", "build"];

/// Every file that the rules look at.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By path relative to the root, with slashes.
    pub files: BTreeMap<String, SourceFile>,
}

/// A file's text.
#[derive(Debug)]
pub(super) struct SourceFile {
    /// As it is.
    pub text: String,
    /// For Rust: without comments and strings, and knowing which lines are tests.
    pub code: Option<Code>,
}

impl Tree {
    /// Reads the project below `root`.
    pub fn read(root: &Path) -> Result<Self> {
        let mut texts = BTreeMap::new();
        read_dir(root, root, &mut texts)?;
        Ok(Self::from_texts(texts))
    }

    /// A tree of these files.
    pub fn from_texts(texts: BTreeMap<String, String>) -> Self {
        let files = texts.into_iter().map(|(path, text)| {
            let code = path.ends_with(".rs").then(|| Code::of(&text));
            (path, SourceFile { text, code })
        });
        let mut tree = Self { files: files.collect() };
        for path in modules::test_only_files(&tree) {
            if let Some(code) = tree.files.get_mut(&path).and_then(|file| file.code.as_mut()) {
                code.mark_all_as_test();
            }
        }
        tree
    }

    /// The Rust files, with their code.
    pub fn rust(&self) -> impl Iterator<Item = (&str, &SourceFile, &Code)> {
        self.files.iter().filter_map(|(path, file)| Some((path.as_str(), file, file.code.as_ref()?)))
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|file| file.text.as_str())
    }

    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self::from_texts(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }
}

fn read_dir(root: &Path, dir: &Path, texts: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().with_context(|| format!("reading {}", path.display()))?;
        if name.starts_with('.') || (kind.is_dir() && SKIPPED_DIRS.contains(&name.as_str())) {
            continue;
        }
        if kind.is_dir() {
            read_dir(root, &path, texts)?;
        } else if kind.is_file() && has_our_extension(&path) {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let relative = path.strip_prefix(root).unwrap_or(&path);
            texts.insert(relative.to_string_lossy().replace('\\', "/"), text);
        }
    }
    Ok(())
}

fn has_our_extension(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|found| EXTENSIONS.contains(&found))
}
