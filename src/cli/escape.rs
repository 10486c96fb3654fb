//! Strangers' texts on the operator's terminal: what could move the cursor, hide, or turn the
//! direction of writing is shown as an escape.

use std::fmt::Write as _;

/// A text on one line, at most `max` characters wide before escapes; `…` marks what was cut.
pub fn text(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max));
    for (n, c) in text.chars().enumerate() {
        if n == max {
            shown.push('…');
            break;
        }
        if c == '\\' || is_unsafe(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same JSON with every unsafe character as a `\u` escape; such characters stand only within its
/// strings, so the value stays what it was. Line ends between values are kept.
pub fn json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a String cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and what Unicode has to reorder or hide text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fool_a_reader_is_escaped() {
        assert_eq!(text("a\u{1b}[2J\nb\\", 99), "a\\u{1b}[2J\\nb\\\\");
        assert_eq!(text("\u{202e}moc.elgoog", 99), "\\u{202e}moc.elgoog");
        assert_eq!(text("Bücher & Söhne 日本", 99), "Bücher & Söhne 日本");
        assert_eq!(text("abcdef", 3), "abc…");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"a": "\u{9b}2J\u{202e}\u{e0041}ü\n"});
        let shown = json(&value.to_string());
        assert_eq!(shown, "{\"a\":\"\\u009b2J\\u202e\\udb40\\udc41ü\\n\"}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
