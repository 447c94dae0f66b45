//! The rule that no request can panic.

use super::{Finding, tree::Tree};

/// The crates that run inside the Worker.
const REQUEST_PATH_CRATES: [&str; 3] = ["shared/src/", "engine/src/", "worker/src/"];

/// What panics by design. Clippy knows some of these too, but only where a crate has asked it to.
const PANICKING: [&str; 6] = [".unwrap()", ".expect(", "panic!", "todo!", "unreachable!", "unimplemented!"];

/// A panic in a Worker fails its neighbours' requests and drops every object's memory.
pub(super) fn request_paths_do_not_panic(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let on_request_path = |path: &str| REQUEST_PATH_CRATES.iter().any(|prefix| path.starts_with(prefix));
    for (path, _, code) in tree.rust().filter(|(path, _, _)| on_request_path(path)) {
        for (line, text) in code.lines() {
            for panicking in PANICKING.iter().filter(|panicking| text.contains(**panicking)) {
                findings.push(Finding {
                    path: path.to_owned(),
                    line,
                    what: format!("`{panicking}` outside a test"),
                    why: "A panic fails every request in flight in the instance and drops its objects' memory",
                    instead: "Return an error, or choose a type in which the case cannot exist",
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_returns_errors_passes() {
        let text = "//! .unwrap()\nfn a() -> u8 { b().unwrap_or(1) }\n#[cfg(test)]\nmod tests {\n    fn c() { d().unwrap() }\n}\n";
        assert_eq!(request_paths_do_not_panic(&Tree::of(&[("engine/src/lib.rs", text)])), []);
    }

    #[test]
    fn each_way_to_panic_is_found() {
        for panicking in PANICKING {
            let text = format!("fn a() {{\n    b{panicking}(\"x\")\n}}\n");
            let findings = request_paths_do_not_panic(&Tree::of(&[("worker/src/a.rs", &text)]));
            assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2], "{panicking}");
            assert_eq!(
                request_paths_do_not_panic(&Tree::of(&[("agent/src/a.rs", &text)])),
                [],
                "{panicking}"
            );
        }
    }
}
