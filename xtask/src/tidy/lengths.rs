//! Rules about length: a file is one thing, a function one thought. Tests are not counted.

use super::{
    Finding,
    code::{Code, item_end, line_of},
    tree::Tree,
};

/// Lines of a file, without its tests.
const FILE_LINES_MAX: usize = 500;

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 90;

/// No file is too long to be read at once.
pub(super) fn files_are_short(tree: &Tree) -> Vec<Finding> {
    let too_long = tree.rust().map(|(path, _, code)| (path, code.lines_without_tests()));
    too_long
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| Finding {
            path: path.to_owned(),
            line: 1,
            what: format!("the file has {lines} lines without its tests, more than {FILE_LINES_MAX}"),
            why: "A long file holds more than one thing",
            instead: "Find the noun that it is missing, and give it a file",
        })
        .collect()
}

/// No function is too long to be seen at once.
pub(super) fn functions_are_short(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _, code) in tree.rust().filter(|(path, _, _)| !is_test_path(path)) {
        for (name, line, lines) in functions(code) {
            if lines > FUNCTION_LINES_MAX && !code.is_test(line) {
                findings.push(Finding {
                    path: path.to_owned(),
                    line,
                    what: format!("the function `{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}"),
                    why: "A long function holds more than one thought",
                    instead: "Keep the decisions, and move pure pieces into functions of their own",
                });
            }
        }
    }
    findings
}

fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/benches/")
}

/// Name, first line and number of lines of every function that has a body.
fn functions(code: &Code) -> Vec<(String, usize, usize)> {
    let text = &code.masked;
    let mut functions = Vec::new();
    for (start, _) in text.match_indices("fn ") {
        let follows_word = text[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let name: String =
            text[start + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if follows_word || name.is_empty() {
            continue;
        }
        let line = line_of(text, start);
        let lines = line_of(text, item_end(text, start)) - line + 1;
        functions.push((name, line, lines));
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("//! F.\nfn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_at_the_limit_passes_and_one_line_more_is_found() {
        let file = |lines: usize| "// x\n".repeat(lines);
        assert_eq!(files_are_short(&Tree::of(&[("a/src/lib.rs", &file(FILE_LINES_MAX))])), []);
        assert_eq!(files_are_short(&Tree::of(&[("a/src/lib.rs", &file(FILE_LINES_MAX + 1))])).len(), 1);
    }

    #[test]
    fn a_files_tests_are_not_counted() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// x\n".repeat(FILE_LINES_MAX));
        assert_eq!(files_are_short(&Tree::of(&[("a/src/lib.rs", &tests)])), []);
    }

    #[test]
    fn a_function_at_the_limit_passes_and_one_line_more_is_found() {
        let at_limit = function(FUNCTION_LINES_MAX);
        assert_eq!(functions_are_short(&Tree::of(&[("a/src/lib.rs", &at_limit)])), []);
        let findings = functions_are_short(&Tree::of(&[("a/src/lib.rs", &function(FUNCTION_LINES_MAX + 1))]));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("`a` has 91 lines"), "{}", findings[0].what);
        assert_eq!(findings[0].line, 2);
    }

    #[test]
    fn a_long_test_is_no_finding() {
        let long = function(FUNCTION_LINES_MAX + 1);
        assert_eq!(functions_are_short(&Tree::of(&[("e2e/tests/a.rs", &long)])), []);
        let inside = format!("#[cfg(test)]\nmod tests {{\n{long}}}\n");
        assert_eq!(functions_are_short(&Tree::of(&[("a/src/lib.rs", &inside)])), []);
    }
}
