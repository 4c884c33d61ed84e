//! Headers that are lists: `x-groups: admins, staff`.

use super::any;
use crate::matcher::StringMatch;

/// What some readers of lists read as more than itself (RFC 9110 section 5.6.4).
const QUOTING: [char; 2] = ['"', '\\'];

/// Whether one of the items of a line matches. Blanks around an item aren't part of it, and an empty one is
/// none (RFC 9110 section 5.6.1). `None` where it would matter how quotes are read, or what else than
/// spaces and tabs is a blank.
pub(super) fn any_item(line: &[u8], separator: u8, patterns: &[StringMatch]) -> Option<bool> {
    let matches = |item: &[u8]| patterns.iter().any(|pattern| pattern.matches(item));
    // Quotes may hold a separator, so that all items of the line are others.
    let is_quoted = line.iter().any(|byte| QUOTING.contains(&char::from(*byte)));
    let items = line.split(|byte| *byte == separator);
    let items = items.map(<[u8]>::trim_ascii).filter(|it| !it.is_empty());
    let loosely = |item| matches(loose(item).as_bytes());
    any(items.map(|item| match (matches(item), loosely(item)) {
        (false, false) => Some(false),
        (true, true) if !is_quoted => Some(true),
        _ => None,
    }))
}

/// An item as the loosest of readers has it, who knows blanks of other alphabets, too.
fn loose(item: &[u8]) -> String {
    let item = String::from_utf8_lossy(item);
    let is_blank = |letter: char| {
        let is_none = matches!(letter, '\u{feff}' | char::REPLACEMENT_CHARACTER);
        is_none || letter.is_whitespace() || letter.is_control()
    };
    item.trim_matches(is_blank).replace(QUOTING, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items() {
        for (line, pattern, expected) in [
            ("admin", "admin", Some(true)),
            ("a,admin", "admin", Some(true)),
            ("a, admin ,b", "admin", Some(true)),
            ("a,\tadmin\t", "admin", Some(true)),
            (",,admin,,", "admin", Some(true)),
            ("a,administrator", "admin", Some(false)),
            ("a;admin", "admin", Some(false)),
            ("a admin", "admin", Some(false)),
            ("Admin", "admin", Some(false)),
            ("a,administrator", "admin*", Some(true)),
            ("a,sysadmin", "*admin", Some(true)),
            ("a", "*", Some(true)),
            ("", "*", Some(false)),
            (" , ,\t,", "*", Some(false)),
            // Another reader may find it, or not.
            ("\"admin\"", "admin", None),
            ("\"a,admin\"", "admin", None),
            ("\"a\",admin", "admin", None),
            ("ad\\min", "admin", None),
            ("\"a\",b", "admin", Some(false)),
            ("\"\"", "*", None),
            ("a,admin\u{a0}", "admin", None),
            ("\u{feff}admin", "admin", None),
            ("a,\u{3000}admin", "admin", None),
            ("a,admin\u{7f}", "admin", None),
            ("a,caf\u{e9}", "caf\u{e9}", Some(true)),
        ] {
            let patterns = [StringMatch::header(pattern)];
            let found = any_item(line.as_bytes(), b',', &patterns);
            assert_eq!(found, expected, "{line:?} {pattern}");
        }
    }
}
