//! Quotes that are opened and not closed, or closed too early.

use super::{Found, Lines};

/// The quote of a line that isn't closed on it, and whether a place is in quotes.
pub(super) fn open_quote(line: &str, until: usize) -> Option<(usize, char)> {
    let mut open: Option<(usize, char)> = None;
    let mut may_open = true;
    let mut letters = line.char_indices().peekable();
    while let Some((at, letter)) = letters.next().filter(|(at, _)| *at < until) {
        match open {
            Some((_, '"')) if letter == '\\' => drop(letters.next()),
            Some((_, quote)) if letter == quote => {
                let is_doubled = quote == '\'' && letters.peek().is_some_and(|(_, c)| *c == '\'');
                match is_doubled {
                    true => drop(letters.next()),
                    false => open = None,
                }
            }
            Some(_) => {}
            None if matches!(letter, '"' | '\'') && may_open => open = Some((at, letter)),
            None if letter == '#' && line.get(..at).is_some_and(|rest| rest.ends_with(' ')) => {
                return None;
            }
            None => {}
        }
        may_open = matches!(letter, ',' | ':' | '-' | '?' | '[' | '{') || letter == ' ' && may_open;
    }
    open
}

pub(super) fn quote(lines: &Lines<'_>, said: &str) -> Found {
    let is_about_it = said.contains("quoted scalar");
    if !is_about_it || said.contains("escape") {
        let escape = "in double quotes a `\\` begins an escape: write `'...'`, or `\\\\`";
        return is_about_it.then(|| (lines.at..lines.at, format!("{said}; {escape}")));
    }
    let open = |(start, line): (usize, &str)| {
        let (at, quote) = open_quote(line, line.len())?;
        Some((start + at, quote))
    };
    let Some((at, quote)) = lines.before().find_map(open) else {
        let message = match said.contains("trailing content") {
            true => "text goes on behind a closing quote: is there a quote too few, or too many?",
            false => "a quote isn't closed",
        };
        return Some((lines.at..lines.at, message.to_owned()));
    };
    if said.contains("indentation") && is_closed(lines.text, at, quote) {
        let message = "text in quotes goes on in a line that isn't indented further than its key: indent \
                       it, as YAML 1.2 asks (kubectl takes it as it is)";
        return Some((lines.at..lines.at, message.to_owned()));
    }
    let opens = lines.position(at);
    Some((
        at..at + 1,
        format!("the quote that opens at {opens} isn't closed"),
    ))
}

/// Whether text in quotes ends, and nothing but the end of a value follows.
fn is_closed(text: &str, at: usize, quote: char) -> bool {
    let rest = text.get(at + 1..).unwrap_or_default();
    let mut letters = rest.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote == '"' => drop(letters.next()),
            '\'' if quote == '\'' && letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                letters.next();
            }
            _ if letter == quote => {
                let behind = rest.get(at + 1..).unwrap_or_default();
                let behind = behind.lines().next().unwrap_or_default().trim();
                return behind.is_empty() || behind.starts_with(['#', ',', ']', '}', ':']);
            }
            _ => {}
        }
    }
    false
}
