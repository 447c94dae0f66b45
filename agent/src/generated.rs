//! Files of the repository that are made out of a table of the code: a test compares, and writes them anew if it is asked to.

/// Fails if the file is not `content`, which is what `EDGEWATCH_BLESS=1` writes into it. `test` names the test to do that with.
pub fn assert_current(path: &str, content: &str, test: &str) {
    if std::env::var_os("EDGEWATCH_BLESS").is_some() {
        std::fs::write(path, content).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == content,
        "{path} is out of date: EDGEWATCH_BLESS=1 cargo test -p edgewatch-agent {test}"
    );
}
