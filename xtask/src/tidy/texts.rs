//! Rules that look at lines of text.

use super::{Finding, tree::Tree};

/// Every Rust file says in its first line what it is for.
pub(super) fn rust_files_begin_with_their_purpose(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(_, file, _)| !file.text.starts_with("//! "))
        .map(|(path, _, _)| Finding {
            path: path.to_owned(),
            line: 1,
            what: "the file does not begin with a `//!` line".to_owned(),
            why: "A reader has to know what a file is for before reading it",
            instead: "Say it in a sentence",
        })
        .collect()
}

/// Spaces indent, and no line ends with one.
pub(super) fn no_tabs_and_no_trailing_spaces(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in &tree.files {
        for (index, line) in file.text.split('\n').enumerate() {
            let what = match line {
                _ if line.contains('\t') => "a tab",
                _ if line.ends_with([' ', '\r']) => "a space or carriage return at the end of the line",
                _ => continue,
            };
            findings.push(Finding {
                path: path.clone(),
                line: index + 1,
                what: what.to_owned(),
                why: "It looks like nothing and makes a diff",
                instead: "Use spaces, and end the line with its last letter (in a string, write \\t)",
            });
        }
    }
    findings
}

/// A lint is never switched off silently.
pub(super) fn no_allow_attributes(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _, code) in tree.rust() {
        for (index, line) in code.masked.lines().enumerate() {
            if line.contains("#[allow(") || line.contains("#![allow(") {
                findings.push(Finding {
                    path: path.to_owned(),
                    line: index + 1,
                    what: "an `allow` attribute".to_owned(),
                    why: "It stays when its reason has gone",
                    instead: "Fix what the lint says, or write #[expect(…, reason = \"…\")]",
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(rule: super::super::Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        let rule = rust_files_begin_with_their_purpose;
        assert!(lines(rule, "a.rs", "//! Purpose.\n").is_empty());
        assert_eq!(lines(rule, "a.rs", "use std;\n//! Late.\n"), [1]);
    }

    #[test]
    fn invisible_characters_are_found() {
        let rule = no_tabs_and_no_trailing_spaces;
        assert!(lines(rule, "a.toml", "a = 1\n\nb = 2\n").is_empty());
        assert_eq!(lines(rule, "a.toml", "a = 1 \n\tb = 2\nc\r\n"), [1, 2, 3]);
    }

    #[test]
    fn an_allow_is_found_and_an_expect_is_not() {
        let rule = no_allow_attributes;
        assert!(lines(rule, "a.rs", "#[expect(dead_code, reason = \"#[allow(x)]\")]\nfn a() {}").is_empty());
        assert_eq!(lines(rule, "a.rs", "#![allow(dead_code)]\n\n#[allow(unused)]\nfn a() {}"), [1, 3]);
    }
}
