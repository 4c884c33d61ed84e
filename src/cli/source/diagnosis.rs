//! What is probably wrong with text that is no document, in the words of who wrote it.

mod indentation;
mod json;
mod quotes;
mod template;
mod words;

use std::ops::Range;

use self::indentation::indentation;
pub(super) use self::json::of_json;
use self::quotes::{open_quote, quote};
pub(in crate::cli) use self::template::not_filled_in;
use self::template::template;
use self::words::in_plain_words;
use super::Unreadable;

/// What to say of text that isn't YAML, of which the parser says this at a place.
pub(super) fn of_yaml(text: &str, at: usize, said: &str) -> Unreadable {
    let lines = Lines { text, at };
    let found = template(&lines)
        .or_else(|| conflict(&lines))
        .or_else(|| tab(&lines, said))
        .or_else(|| star(&lines, said))
        .or_else(|| quote(&lines, said))
        .or_else(|| character(&lines, said))
        .or_else(|| indentation(&lines, said));
    let (span, message) = found.unwrap_or_else(|| (at..at, in_plain_words(said).to_owned()));
    Unreadable {
        span,
        message: format!("not YAML: {message}"),
    }
}

type Found = Option<(Range<usize>, String)>;

/// A text, and where it stops being a document.
struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lines<'t> {
    /// The line at which the parser stopped, with its place.
    fn last(&self) -> (usize, &'t str) {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        (start, rest.lines().next().unwrap_or_default())
    }

    /// The one behind it.
    fn next(&self) -> Option<(usize, &'t str)> {
        let (start, line) = self.last();
        let rest = self.text.get(start + line.len()..)?;
        let end = rest.find('\n')? + 1;
        Some((start + line.len() + end, rest.get(end..)?.lines().next()?))
    }

    /// The lines before that, the nearest first.
    fn before(&self) -> impl Iterator<Item = (usize, &'t str)> {
        let (mut end, _) = self.last();
        let text = self.text;
        std::iter::from_fn(move || {
            let before = text.get(..end.checked_sub(1)?)?;
            end = before.rfind('\n').map_or(0, |at| at + 1);
            Some((end, before.get(end..)?.trim_end_matches('\r')))
        })
    }

    /// The nearest line that says something.
    fn above(&self) -> Option<(usize, &'t str)> {
        let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        self.before().find(|(_, line)| says(line))
    }

    /// The number of the line at which the parser stopped, counted from 1.
    fn number(&self) -> usize {
        let (start, _) = self.last();
        let before = self.text.get(..start).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    /// Line and column, counted from 1.
    fn position(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        format!("{line}:{column}")
    }
}

/// What two who changed the same lines have left there.
fn conflict(lines: &Lines<'_>) -> Found {
    let is_mark = |line: &str| {
        line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") || line == "======="
    };
    let last = std::iter::once(lines.last());
    let mut near = last.chain(lines.above()).chain(lines.next());
    let (start, line) = near.find(|(_, line)| is_mark(line))?;
    let message = "left of a merge: choose what is to stay, and remove this line".to_owned();
    Some((start..start + line.len(), message))
}

fn tab(lines: &Lines<'_>, said: &str) -> Found {
    let near = std::iter::once(lines.last());
    let mut near = near.chain(lines.above()).chain(lines.next());
    let is_about_it = ["tab", "expected key", "document start"]
        .iter()
        .any(|part| said.contains(part));
    let (start, line) = near.find(|(_, line)| {
        let blank = line.len() - line.trim_start().len();
        line.get(..blank).is_some_and(|blank| blank.contains('\t'))
    })?;
    let at = start + line.find('\t')?;
    let message = "a tab: lines are indented by spaces".to_owned();
    is_about_it.then(|| (at..at + 1, message))
}

fn star(lines: &Lines<'_>, said: &str) -> Found {
    let is_about_it = said.contains("anchor or alias") || said.contains("unknown value");
    let (start, line) = lines.last();
    let (start, line) = match line.contains('*') {
        true => (start, line),
        // A star at the end of a line is found on the next one.
        false => lines.above()?,
    };
    let until = lines.at.saturating_sub(start).min(line.len());
    let behind = line.get(until..).is_some_and(|rest| rest.starts_with('*'));
    let at = match behind {
        true => until,
        false => line.get(..until)?.rfind('*').or(line.find('*'))?,
    };
    let is_about_it = is_about_it && open_quote(line, at).is_none();
    let word = line.get(at..)?;
    let end = word.find([' ', ',', ']', '}']).unwrap_or(word.len());
    let word = word.get(..end)?;
    is_about_it.then(|| {
        let span = start + at..start + at + end;
        (span, format!("a `*` needs quotes: write `\"{word}\"`"))
    })
}

fn character(lines: &Lines<'_>, said: &str) -> Found {
    let letter = said.strip_prefix("unexpected character: `")?;
    let letter = letter.strip_suffix('\'').unwrap_or(letter);
    let message = format!("text that starts with {letter} needs quotes");
    Some((lines.at..lines.at, message))
}
