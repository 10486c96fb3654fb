//! Strangers' texts on a terminal: what could move the cursor, change colours or turn the
//! direction of writing is shown as an escape instead.

/// Whether a character acts on the terminal or on its neighbours rather than being seen.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Zero width and direction marks, line and paragraph separators, bidi embeddings,
            // overrides and isolates, the byte order mark, annotations and tags.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text for one line of a terminal.
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// JSON that says the same and is safe to look at. Such characters stand in strings only, so each
/// may be written as `\uXXXX`.
pub fn json(json: &str) -> String {
    use std::fmt::Write as _;
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if acts(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(shown, "\\u{unit:04x}").expect("a String takes whatever is written");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_acts_on_it() {
        assert_eq!(
            text("a\u{1b}[2J\u{202e}ü\u{9b}"),
            "a\\u{1b}[2J\\u{202e}ü\\u{9b}"
        );
    }

    #[test]
    fn escaped_json_says_the_same() {
        let value = serde_json::json!({"a": "x\u{202e}\u{85}\u{e0041}\n\"ü"});
        let shown = json(&value.to_string());
        assert!(!shown.chars().any(acts));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
