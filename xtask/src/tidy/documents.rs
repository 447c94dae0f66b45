//! Rules that hold code against its documentation.

use super::{Finding, code::Code, tree::Tree};

const ROUTES: &str = "worker/src/routes.rs";
const API: &str = "docs/api.md";
const LIMITS: &str = "shared/src/limits.rs";
const LIMITS_PAGE: &str = "docs/limits.md";

/// Every route of the Worker is described.
pub(super) fn every_route_is_documented(tree: &Tree) -> Vec<Finding> {
    check(tree, ROUTES, API, route_paths)
}

/// Every limit is listed.
pub(super) fn every_limit_is_documented(tree: &Tree) -> Vec<Finding> {
    check(tree, LIMITS, LIMITS_PAGE, constants)
}

/// Every name that `names` finds in `source` has to occur in `page`.
fn check(
    tree: &Tree,
    source: &str,
    page: &str,
    names: fn(&str, &Code) -> Vec<(usize, String)>,
) -> Vec<Finding> {
    let finding = |path: &str, line: usize, what: String| Finding {
        path: path.to_owned(),
        line,
        what,
        why: "What is not written down does not exist for those who use it",
        instead: "Describe it there, or correct this rule in xtask/src/tidy/documents.rs",
    };
    let code = tree.files.get(source).and_then(|file| Some((file.text.as_str(), file.code.as_ref()?)));
    let (Some((text, code)), Some(page_text)) = (code, tree.text(page)) else {
        let missing = if code.is_none() { source } else { page };
        return vec![finding(missing, 1, "the file is missing".to_owned())];
    };
    let names = names(text, code);
    if names.is_empty() {
        return vec![finding(source, 1, "nothing in it looks like what this rule looks for".to_owned())];
    }
    let undocumented = names.into_iter().filter(|(_, name)| !has_word(page_text, name));
    undocumented.map(|(line, name)| finding(source, line, format!("`{name}` is not in {page}"))).collect()
}

/// Text literals that begin with a slash, outside tests and comments.
fn route_paths(text: &str, code: &Code) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(index, _)| !code.is_test(index + 1)) {
        let is_comment = line.trim_start().starts_with("//");
        for literal in line.split('"').skip(1).step_by(2).filter(|_| !is_comment) {
            if literal.starts_with('/') {
                paths.push((index + 1, literal.to_owned()));
            }
        }
    }
    paths
}

/// `pub const NAME`.
fn constants(_text: &str, code: &Code) -> Vec<(usize, String)> {
    let named = code.lines().filter_map(|(line, text)| Some((line, text.trim().strip_prefix("pub const ")?)));
    let named = named.filter_map(|(line, rest)| Some((line, rest.split(':').next()?.trim().to_owned())));
    named.filter(|(_, name)| !name.contains(' ')).collect()
}

/// Whether `text` has `name`, not only as a part of a longer path or name.
fn has_word(text: &str, name: &str) -> bool {
    let continues = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '{' | ':');
    text.match_indices(name).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + name.len()..].chars().next();
        !before.is_some_and(continues) && !after.is_some_and(continues)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE_TABLE: &str =
        "// \"/comment\"\nRoute { path: \"/api/v1/hosts\" },\nRoute { path: \"/api/v1/hosts/{id}\" },\n";

    fn routes_with(page: &str) -> Vec<String> {
        let tree = Tree::of(&[(ROUTES, ROUTE_TABLE), (API, page)]);
        every_route_is_documented(&tree).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn routes_that_are_described_pass() {
        assert!(routes_with("### `GET /api/v1/hosts`\n### `DELETE /api/v1/hosts/{id}`\n").is_empty());
    }

    #[test]
    fn a_route_is_not_described_by_a_longer_one() {
        assert_eq!(routes_with("`DELETE /api/v1/hosts/{id}`"), ["`/api/v1/hosts` is not in docs/api.md"]);
    }

    #[test]
    fn limits_that_are_listed_pass_and_others_are_found() {
        let limits =
            "pub const BODY_BYTES_MAX: usize = 1;\npub const LABELS_MAX: usize = 2;\npub fn f() {}\n";
        let tree = |page: &str| Tree::of(&[(LIMITS, limits), (LIMITS_PAGE, page)]);
        assert_eq!(every_limit_is_documented(&tree("| `BODY_BYTES_MAX` | `LABELS_MAX` |")), []);
        let findings = every_limit_is_documented(&tree("| `BODY_BYTES_MAX` | `LABELS_MAX_OF_ALL` |"));
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_rule_without_its_files_says_so() {
        assert_eq!(every_limit_is_documented(&Tree::of(&[])).len(), 1);
        assert_eq!(every_limit_is_documented(&Tree::of(&[(LIMITS, "pub const A: u8 = 1;")])).len(), 1);
        assert_eq!(every_route_is_documented(&Tree::of(&[(ROUTES, "//! None."), (API, "")])).len(), 1);
    }
}
