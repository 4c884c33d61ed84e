//! What may be shown: text without secrets, and without characters that could steer a terminal or hide something in
//! it. Everything that is printed for people goes through here.

mod secret;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

pub(super) use self::secret::{Secrets, is_token, mask, unsaid};

/// As much of a word as says what it is, where it may be a secret.
const START: usize = 10;
/// What is longer is no name that somebody gave a file.
const LONGEST_NAME: usize = 255;

/// Text of several lines.
pub(super) fn lines(text: &str) -> String {
    lines_of(&masked(text))
}

fn lines_of(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// The same, in which colours are ours.
pub(super) fn styled(text: &str) -> String {
    let lines = masked(text).into_owned();
    let shown = |part: &str| match part.split_once('m') {
        Some((style, rest)) if style.bytes().all(|byte| b"[0123456789;".contains(&byte)) => {
            format!("\u{1b}{style}m{}", lines_of(rest))
        }
        _ => lines_of(&format!("\u{1b}{part}")),
    };
    let mut parts = lines.split('\u{1b}');
    let first = lines_of(parts.next().unwrap_or_default());
    first + &parts.map(shown).collect::<String>()
}

/// Text that is to stay in one line.
pub(super) fn line(text: &str) -> String {
    printable(&masked(text))
}

/// The same without secrets.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    Secrets::of_message(text).masked(text)
}

/// JSON, indented. Within strings it escapes what a terminal shouldn't get, which is the same to who parses it.
pub(super) fn json(value: &Value) -> String {
    let mut escaped = String::new();
    for letter in format!("{value:#}").chars() {
        match is_hidden(letter) && letter != '\n' {
            true => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            false => escaped.push(letter),
        }
    }
    escaped
}

/// The name of a file, unless somebody gave what should have been in it.
pub(super) fn path(path: &Path) -> String {
    let name = path.to_string_lossy();
    let is_name = name.len() <= LONGEST_NAME && !name.contains(['\n', '{']) && !is_token(&name);
    match is_name {
        true => line(&name),
        false => {
            let start: String = name.chars().take(START).collect();
            format!("{}... (no name of a file)", line(&start))
        }
    }
}

/// Characters that steer a terminal, or can't be seen and change how others are, written out.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_hidden(letter) {
            // Writing to a string doesn't fail.
            true => drop(write!(printable, "{}", letter.escape_unicode())),
            false => printable.push(letter),
        }
    }
    printable
}

/// Controls (Unicode's Cc), separators of lines (Zl, Zp) and formats (Cf), among them those that turn the
/// direction of text.
pub(super) fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}')
}
