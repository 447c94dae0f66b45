//! What the binary says about itself.

use crate::settings::registry::SETTINGS;

/// Version, commit and the commit's date.
pub fn version() -> &'static str {
    concat!(
        "edgewatch-agent ",
        env!("CARGO_PKG_VERSION"),
        " (commit ",
        env!("EDGEWATCH_COMMIT"),
        ", ",
        env!("EDGEWATCH_COMMIT_DATE"),
        ")"
    )
}

/// The help: commands by hand, settings out of the registry.
pub fn text() -> String {
    let mut text = String::from(
        "Collects this host's metrics and pushes them to an Edgewatch server.

Usage:
  edgewatch-agent enroll URL TOKEN [--name NAME] [--tag TAG]… [--force]
                             become one of the server's hosts
  edgewatch-agent run        collect and push until SIGTERM
  edgewatch-agent check      print one collection, and whether the server answers
  edgewatch-agent check --stub
                             push one collection to a server built in, and print what arrived
  edgewatch-agent status [--json]
                             how the agent of this host is; exits with 0 if its pushes are taken
  edgewatch-agent install [--url URL --token TOKEN [--tag TAG]… [--force]] [--root DIR]
                             as root: become a service of systemd, enrolled if URL and TOKEN are said
  edgewatch-agent uninstall [--purge] [--root DIR]
                             as root: be one no more; --purge removes configuration and state, too
  edgewatch-agent update [--check]
                             put a newer release in place, if it is signed; or only look for one
  edgewatch-agent --version
  edgewatch-agent --help

Settings (environment before flag before configuration file before default):
",
    );
    for setting in SETTINGS {
        let alias = setting.alias.map_or_else(String::new, |alias| format!(" or {alias}"));
        let default = if setting.default.is_empty() {
            String::new()
        } else {
            format!(" Default: {}.", setting.default)
        };
        let value = if setting.value.is_empty() { String::new() } else { format!(" {}", setting.value) };
        text.push_str(&format!(
            "  --{}{value}, {}{alias}\n      {}{default}\n",
            setting.flag, setting.env, setting.doc
        ));
    }
    text.push_str("\nThe manual: docs/agent.md");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_setting() {
        for setting in SETTINGS {
            assert!(text().contains(&format!("--{}", setting.flag)), "{}", setting.flag);
            assert!(text().contains(setting.env), "{}", setting.env);
        }
    }

    #[test]
    fn the_version_has_commit_and_date() {
        let (name, rest) = version().split_once(" (commit ").unwrap();
        assert_eq!(name, concat!("edgewatch-agent ", env!("CARGO_PKG_VERSION")));
        assert_eq!(rest.split(", ").count(), 2, "{rest}");
    }
}
