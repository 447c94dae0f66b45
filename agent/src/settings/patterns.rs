//! Lists of patterns as people write them: `veth*, docker*, !docker0`.

/// Patterns in which `*` stands for anything and `?` for one character. Of those that match, the last one counts, and
/// one that begins with `!` takes out again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    takes_out: bool,
    glob: String,
}

impl Patterns {
    /// Patterns out of a text, separated by commas.
    pub fn parse(text: &str) -> Self {
        let pattern = |part: &str| match part.strip_prefix('!') {
            Some(glob) => Pattern { takes_out: true, glob: glob.trim().to_owned() },
            None => Pattern { takes_out: false, glob: part.to_owned() },
        };
        Self(items(text).map(pattern).collect())
    }

    /// Whether `text` is one of those that are meant.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_any(&[text])
    }

    /// Whether what goes by any of these texts is meant.
    pub fn matches_any(&self, texts: &[&str]) -> bool {
        let matches = |glob: &str| texts.iter().any(|text| is_match(glob.as_bytes(), text.as_bytes()));
        let last = self.0.iter().rev().find(|pattern| matches(&pattern.glob));
        last.is_some_and(|pattern| !pattern.takes_out)
    }

    /// Whether nothing is meant.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts of a list, without the blanks around them.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Whether the whole of `text` is what `glob` says. Goes back to the last `*` only, so it takes no longer than the
/// product of both lengths.
fn is_match(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(from) {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(expected) if *expected == b'?' || expected == byte => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, star_from)) = star else { return false };
                star = Some((star_at, star_from + 1));
                at = star_at + 1;
                from = star_from + 1;
            }
        }
    }
    glob.get(at..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything_and_a_question_mark_one_character() {
        for (glob, text, matches) in [
            ("veth*", "veth12", true),
            ("veth*", "veth", true),
            ("veth*", "myveth", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("br-*", "br0", false),
            ("sd?", "sda", true),
            ("sd?", "sda1", false),
            ("/run/*/x", "/run/a/b/x", true),
            ("*ab*ab*", "aab-aab", true),
            ("*ab*ab*", "aab-aa", false),
        ] {
            assert_eq!(is_match(glob.as_bytes(), text.as_bytes()), matches, "{glob} {text}");
        }
    }

    #[test]
    fn of_the_patterns_that_match_the_last_one_counts() {
        let patterns = Patterns::parse(" docker*, !docker0 ,veth*,, ");
        assert_eq!(
            ["docker1", "docker0", "veth0", "eth0"].map(|text| patterns.matches(text)),
            [true, false, true, false]
        );
        let only = Patterns::parse("*, !eth0");
        assert!(only.matches("eth1") && !only.matches("eth0"));
        let series = Patterns::parse("cpu_*{core=*}, !*{core=total}");
        assert!(series.matches_any(&["cpu_usage_pct", "cpu_usage_pct{core=0}"]));
        assert!(!series.matches_any(&["cpu_usage_pct", "cpu_usage_pct{core=total}"]));
        assert!(!series.matches_any(&["cpu_count", "cpu_count{}"]));
        assert!(Patterns::parse("").is_empty());
    }
}
