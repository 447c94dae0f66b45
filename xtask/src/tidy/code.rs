//! Rust text without what only looks like code: comments, strings and characters
//! are blanked, line by line as they were. Enough of a lexer to match braces.

/// A Rust file for rules that look at code.
#[derive(Debug)]
pub(super) struct Code {
    /// The text with comments, strings and characters replaced by spaces. The same lines.
    pub masked: String,
    /// For each line (from 0): whether it belongs to a test.
    is_test: Vec<bool>,
}

impl Code {
    /// Blanks `text` and finds its tests: whatever follows `#[cfg(test)]`, to its closing brace.
    pub fn of(text: &str) -> Self {
        let masked = mask(text);
        let mut is_test = vec![false; masked.lines().count()];
        for (start, _) in masked.match_indices("#[cfg(test)]") {
            let end = item_end(&masked, start + "#[cfg(test)]".len());
            let (first, last) = (line_of(&masked, start), line_of(&masked, end));
            for line in is_test.iter_mut().take(last).skip(first - 1) {
                *line = true;
            }
        }
        Self { masked, is_test }
    }

    /// The whole file is compiled for tests only.
    pub fn mark_all_as_test(&mut self) {
        self.is_test.fill(true);
    }

    /// Whether `line` (from 1) belongs to a test.
    pub fn is_test(&self, line: usize) -> bool {
        self.is_test.get(line - 1).copied().unwrap_or(false)
    }

    /// Lines that are not tests.
    pub fn lines_without_tests(&self) -> usize {
        self.is_test.iter().filter(|is_test| !**is_test).count()
    }

    /// The lines outside tests, numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.masked
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(line, _)| !self.is_test(*line))
    }
}

/// The line (from 1) of the byte at `offset`.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Where the item that begins at `from` ends: at the brace that closes its first one, or at a semicolon before that.
pub(super) fn item_end(masked: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    let mut nested = 0_usize;
    for (index, byte) in masked.bytes().enumerate().skip(from) {
        match byte {
            // A semicolon in `[u8; 4]` or in a parameter list ends nothing.
            b'(' | b'[' => nested += 1,
            b')' | b']' => nested = nested.saturating_sub(1),
            b'{' => depth += 1,
            b'}' if depth <= 1 => return index,
            b'}' => depth -= 1,
            b';' if depth == 0 && nested == 0 => return index,
            _ => {}
        }
    }
    masked.len()
}

/// Blanks comments, strings and characters; newlines stay where they are.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut masked = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = blank_end(bytes, at);
        if end == at {
            masked.push(bytes[at]);
            at += 1;
        } else {
            masked.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    // Only whole tokens were replaced, by ASCII.
    String::from_utf8_lossy(&masked).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn blank_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return at + block_comment_length(rest);
    }
    let begins_word = at == 0 || !is_word(bytes[at - 1]);
    let prefix = if begins_word { literal_prefix(rest) } else { 0 };
    match rest.get(prefix) {
        Some(b'"' | b'#') if rest[..prefix].contains(&b'r') => {
            at + prefix + raw_string_length(&rest[prefix..])
        }
        Some(b'"') => at + prefix + quoted_length(&rest[prefix..], b'"'),
        Some(b'\'') if is_character(&rest[prefix..]) => at + prefix + quoted_length(&rest[prefix..], b'\''),
        _ => at,
    }
}

/// The length of `b`, `c`, `r`, `br` or `cr` before a quote; 0 when no literal begins here.
fn literal_prefix(rest: &[u8]) -> usize {
    let letters = rest.iter().take(2).take_while(|byte| b"bcr".contains(*byte)).count();
    let is_raw = rest[..letters].contains(&b'r');
    let hashes = rest[letters..].iter().take_while(|byte| **byte == b'#').count();
    match rest.get(letters + hashes) {
        Some(b'"') if is_raw || hashes == 0 => letters,
        Some(b'\'') if hashes == 0 && letters <= 1 => letters,
        _ => 0,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") if depth == 1 => return at + 2,
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string_length(rest: &[u8]) -> usize {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return 0;
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[hashes + 1..];
    let length = body.windows(closing.len()).position(|window| window == closing);
    length.map_or(rest.len(), |length| hashes + 1 + length + closing.len())
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, not a lifetime: an escape, or one character (of up to four bytes) before the closing quote.
fn is_character(rest: &[u8]) -> bool {
    rest.get(1) == Some(&b'\\')
        || rest.get(1).is_some_and(|first| {
            let length = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            rest.get(1 + length) == Some(&b'\'')
        })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_code_is_blanked() {
        for (text, left) in [
            ("a // {\nb", "a b"),
            ("a /* { /* } */ */ b", "a b"),
            (r#"f("a { \" b") }"#, "f( ) }"),
            ("r#\"{ \" }\"# x", "x"),
            ("br\"{\" b'{' c\"{\"", ""),
            ("'{' 'a: {", "'a: {"),
            ("'\\'' '\\u{7f}' {", "{"),
            ("'ü' {", "{"),
            ("r#fn { bar\"{\"", "r#fn { bar"),
        ] {
            let masked = mask(text);
            assert_eq!(masked.split_whitespace().collect::<Vec<_>>().join(" "), left, "{text}");
            assert_eq!((masked.len(), masked.lines().count()), (text.len(), text.lines().count()), "{text}");
        }
    }

    #[test]
    fn an_item_ends_with_its_brace_or_its_semicolon() {
        for (text, end) in [
            ("fn a(x: [u8; 2]) { { } } fn b() {}", "fn a(x: [u8; 2]) { { } }"),
            ("mod tests; fn b() {}", "mod tests;"),
        ] {
            assert_eq!(item_end(text, 0) + 1, end.len(), "{text}");
        }
    }

    #[test]
    fn test_lines_run_from_the_attribute_to_the_closing_brace() {
        let code = Code::of("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        let lines: Vec<_> = code.lines().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 6]);
        assert_eq!(code.lines_without_tests(), 2);
    }
}
