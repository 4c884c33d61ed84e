//! What is probably wrong with text that is no document, in the words of who wrote it.

use std::ops::Range;

use super::Unreadable;

/// How to come from a template to a document.
const RENDER: &str = "render it first, as in `helm template ... | portcullis check -`";

/// What begins an expression in templates of Go, Helm and Jinja.
const TEMPLATES: [&str; 2] = ["{{", "{%"];

/// What is wrong with a value of which a part has to be filled in first, and what helps.
pub(in crate::cli) fn not_filled_in(value: &str) -> Option<(&'static str, &'static str)> {
    const TEMPLATE: &str = "this is a template, which isn't filled in";
    let has = |part: &str| value.contains(part);
    if TEMPLATES.into_iter().any(has) {
        Some((TEMPLATE, RENDER))
    } else if value
        .split_once("${")
        .is_some_and(|(_, rest)| rest.contains('}'))
    {
        let fill = "fill it in first, as in `envsubst < FILE | portcullis check -`";
        Some((TEMPLATE, fill))
    } else if has("<no value>") {
        let set =
            "templates of Go write this for a value that nobody set: set it, and render again";
        Some((
            "this value wasn't there when the template was rendered",
            set,
        ))
    } else {
        None
    }
}

/// What to say of text that isn't YAML, of which the parser says this at a place.
pub(super) fn of_yaml(text: &str, at: usize, said: &str) -> Unreadable {
    let lines = Lines { text, at };
    let found = template(&lines)
        .or_else(|| tab(&lines, said))
        .or_else(|| star(&lines, said))
        .or_else(|| quote(&lines, said))
        .or_else(|| character(&lines, said))
        .or_else(|| indentation(&lines, said))
        .or_else(|| bounds(&lines, said));
    let (span, message) = found.unwrap_or_else(|| (at..at, said.to_owned()));
    Unreadable {
        span,
        message: format!("not YAML: {message}"),
    }
}

/// The same of JSON.
pub(super) fn of_json(text: &str, at: usize, said: &str) -> Unreadable {
    let lines = Lines { text, at };
    let rest = text.get(at..).unwrap_or_default();
    let instead = match rest.chars().next() {
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

/// How far a line is indented.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The quote of a line that isn't closed on it, and whether a place is in quotes.
fn open_quote(line: &str, until: usize) -> Option<(usize, char)> {
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

fn template(lines: &Lines<'_>) -> Found {
    let expression = |(start, line): (usize, &str)| {
        let mut starts = TEMPLATES.iter().filter_map(|begin| line.find(begin));
        let at = starts.find(|at| open_quote(line, *at).is_none())?;
        let message = format!("this is a template: {RENDER}");
        Some((start + at..start + line.len(), message))
    };
    expression(lines.last()).or_else(|| lines.before().filter_map(expression).last())
}

fn tab(lines: &Lines<'_>, said: &str) -> Found {
    let near = std::iter::once(lines.last());
    let mut near = near.chain(lines.above()).chain(lines.next());
    let is_about_it = said.contains("tab") || said.contains("expected key");
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
    let word = line.get(at..)?;
    let end = word.find([' ', ',', ']', '}']).unwrap_or(word.len());
    let word = word.get(..end)?;
    is_about_it.then(|| {
        let span = start + at..start + at + end;
        (span, format!("a `*` needs quotes: write `\"{word}\"`"))
    })
}

fn quote(lines: &Lines<'_>, said: &str) -> Found {
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

fn character(lines: &Lines<'_>, said: &str) -> Found {
    let letter = said.strip_prefix("unexpected character: `")?;
    let letter = letter.strip_suffix('\'').unwrap_or(letter);
    let message = format!("text that starts with {letter} needs quotes");
    Some((lines.at..lines.at, message))
}

fn indentation(lines: &Lines<'_>, said: &str) -> Found {
    let (start, line) = lines.last();
    let own = indent(line);
    let span = start..start + line.len();
    if said.contains("mapping values") {
        let is_whole = |(_, above): &(usize, &str)| !above.trim_end().ends_with(':');
        let above = lines
            .above()
            .filter(is_whole)
            .map(|(_, above)| indent(above));
        let message = match above.filter(|above| own > *above) {
            Some(above) => format!(
                "this line is indented by {own} spaces, and the one above, which has a value of its own, by \
                 {above}: start both in the same column"
            ),
            None => "a `: ` in text needs quotes around it".to_owned(),
        };
        return Some((span, message));
    }
    if !said.contains("expected key") {
        return None;
    }
    // Columns in which something could go on.
    let mut columns: Vec<(usize, usize)> = Vec::new();
    let number = lines.number();
    for (count, (_, line)) in (1..).zip(lines.before()) {
        let word = line.trim_start();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        let inner = word.trim_start_matches("- ").trim_start();
        for column in [line.len() - inner.len(), indent(line)] {
            if columns.last().is_none_or(|(last, _)| column < *last) {
                columns.push((column, number.saturating_sub(count)));
            }
        }
    }
    let is_known = columns.iter().any(|(column, _)| *column == own);
    let below = columns.iter().find(|(column, _)| *column < own);
    let beyond = columns.iter().rfind(|(column, _)| *column > own);
    let ((beyond, first), (below, second)) = beyond.zip(below).filter(|_| !is_known)?;
    let message = format!(
        "this line starts in column {}: start it in column {}, to go on with line {first}, or in column {}, to go \
         on with line {second}",
        own + 1,
        beyond + 1,
        below + 1,
    );
    Some((span, message))
}

/// What is refused though it is YAML.
fn bounds(lines: &Lines<'_>, said: &str) -> Found {
    let message = if said.contains("MergeKeys") {
        "too many merge keys (`<<`): write out what they stand for"
    } else if said.contains("Depth") || said.contains("recursion") || said.contains("nesting") {
        "nested too deep"
    } else if said.contains("replay") || said.contains("Anchor") {
        "aliases that stand for too much: write it out"
    } else if said.contains("illegal placement of ':'") {
        "a `:` where none can be: is a bracket before it not closed?"
    } else if said.contains("did not find expected ','") {
        "a `,` or a closing bracket is missing before this, or text with a bracket in it needs quotes"
    } else {
        return None;
    };
    Some((lines.at..lines.at, message.to_owned()))
}
