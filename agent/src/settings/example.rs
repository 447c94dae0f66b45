//! `agent.example.toml`, out of the registry, and that a file of all its keys is taken as it is meant.

use super::{
    patterns::items,
    registry::{self, LIST, SETTINGS, Setting},
    tests::load,
};
use crate::generated::assert_current;
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.example.toml");

/// Columns of a line of comment.
const COLUMNS: usize = 96;

const INTRODUCTION: &str = "Configuration of edgewatch-agent: /etc/edgewatch/agent.toml. Every line is optional; what \
stands here is the default, or an example where there is none. Environment variables and flags go before it. \
`systemctl reload edgewatch-agent` has a running agent read it anew.";

fn comment(page: &mut String, text: &str) {
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            writeln!(page, "{line}").unwrap();
            line = "#".to_owned();
        }
        line = format!("{line} {word}");
    }
    writeln!(page, "{line}").unwrap();
}

/// What stands for the setting, as TOML.
fn value(setting: &Setting) -> String {
    let text = if setting.example.is_empty() { setting.default } else { setting.example };
    if setting.value == LIST {
        let items: Vec<String> = items(text).map(|item| format!("{item:?}")).collect();
        return format!("[{}]", items.join(", "));
    }
    // A switch or a number.
    let is_bare = setting.value.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit());
    if is_bare { text.to_owned() } else { format!("{text:?}") }
}

fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| setting.key != registry::CONFIG.key)
}

fn page() -> String {
    let mut page = String::new();
    comment(&mut page, INTRODUCTION);
    for setting in settings() {
        page.push('\n');
        let default = match (setting.example, setting.default) {
            ("", _) | (_, "") => String::new(),
            (_, default) => format!(" Default: {default}."),
        };
        comment(&mut page, &format!("{}{default}", setting.doc));
        writeln!(page, "#{} = {}", setting.key, value(setting)).unwrap();
    }
    page
}

#[test]
fn the_example_is_what_the_registry_says() {
    assert_current(PATH, &page(), "example");
}

#[test]
fn the_example_says_nothing_until_its_keys_are_uncommented_and_then_each_is_taken() {
    let loaded = |file: Option<&str>| {
        let (settings, warnings) = load(&[], &[], file).unwrap();
        assert_eq!(warnings, [""; 0], "{file:?}");
        format!("{settings:?}")
    };
    let usual = loaded(None);
    let page = page();
    assert_eq!(loaded(Some(&page)), usual);
    // A comment has a blank after its #, a key has none.
    let keys = page.lines().filter_map(|line| line.strip_prefix('#').filter(|key| !key.starts_with(' ')));
    let keys: Vec<&str> = keys.filter(|key| !key.is_empty()).collect();
    assert_eq!(keys.len(), settings().count());
    for (key, setting) in keys.iter().zip(settings()) {
        assert!(key.starts_with(&format!("{} = ", setting.key)), "{key}");
        let said = loaded(Some(key));
        // A default changes nothing by being said.
        assert!(said == usual || !setting.example.is_empty(), "{key}");
    }
    assert_ne!(loaded(Some(&keys.join("\n"))), usual);
}
