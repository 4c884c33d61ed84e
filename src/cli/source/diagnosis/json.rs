//! What is probably wrong with text that isn't JSON.

use super::template::template;
use super::{Lines, Unreadable};

/// What to say of text that isn't JSON, of which the parser says this at a place.
pub(in super::super) fn of_json(text: &str, at: usize, said: &str) -> Unreadable {
    let lines = Lines { text, at };
    let rest = text.get(at..).unwrap_or_default();
    let instead = match rest.chars().next() {
        _ if text.trim().is_empty() => Some("there is nothing in it"),
        _ if text.starts_with('\u{feff}') => Some("a byte order mark: save the file without"),
        Some('/' | '#') => Some("JSON has no comments; YAML has, with `#`"),
        Some('\'') => Some("JSON has double quotes only"),
        _ => None,
    };
    let plain = |message: &str| (at..at, message.to_owned());
    let found = instead.map(plain).or_else(|| template(&lines));
    let (span, message) = found.unwrap_or_else(|| plain(in_plain_words(said)));
    Unreadable {
        span,
        message: format!("not JSON: {message}"),
    }
}

/// What a parser of JSON says, to those who don't write parsers.
fn in_plain_words(said: &str) -> &str {
    match said {
        "trailing comma" => "a comma with nothing behind it: remove it",
        "key must be a string" => "a name needs double quotes",
        "trailing characters" => "text goes on behind the end of the document",
        "expected `:`" => "a `:` is missing before this",
        "expected `,` or `}`" => "a `,` or a `}` is missing before this",
        "expected `,` or `]`" => "a `,` or a `]` is missing before this",
        "EOF while parsing a string" => "a quote isn't closed",
        "EOF while parsing an object" => "it ends where a `}` is missing",
        "EOF while parsing a list" => "it ends where a `]` is missing",
        "EOF while parsing a value" => "it ends where a value is missing",
        "invalid escape" => "a `\\` begins an escape: for a `\\` write two",
        _ if said.starts_with("control character") => {
            "a line break or a tab in quotes: write `\\n` or `\\t`"
        }
        _ => said,
    }
}
