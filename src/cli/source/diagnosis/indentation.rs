//! Lines that start in a column in which nothing can go on.

use super::{Found, Lines};

/// A column in which something could go on, and the last line that did.
#[derive(Clone, Copy)]
struct Column {
    blanks: usize,
    line: usize,
}

/// How far a line is indented.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// How far what stands behind the `- ` of a line is, or without one the line.
fn inner(line: &str) -> usize {
    let rest = line.trim_start_matches(' ').trim_start_matches("- ");
    line.len() - rest.trim_start().len()
}

/// What starts with `- `, alone on its line or not.
fn is_item(line: &str) -> bool {
    let word = line.trim_start();
    word.starts_with("- ") || word == "-"
}

pub(super) fn indentation(lines: &Lines<'_>, said: &str) -> Found {
    let (start, line) = lines.last();
    let found = if said.contains("mapping values") {
        if let Some((start, above)) = nameless(lines) {
            let message = "a `:` with a blank behind it is missing in this line".to_owned();
            return Some((start..start + above.len(), message));
        }
        let colon = || "a `: ` in text needs quotes around it".to_owned();
        Some(too_far(lines).unwrap_or_else(colon))
    } else if said.contains("expected key") {
        item_beside_names(lines)
            .or_else(|| between(lines))
            .or_else(|| too_far(lines))
    } else if said.contains("expected '-' indicator") {
        between(lines).or_else(|| beside_items(lines))
    } else if said.contains("<document start>") {
        beside_the_first(lines)
    } else {
        None
    };
    found.map(|message| (start..start + line.len(), message))
}

/// The line above, if it is text in the column in which this one has a name.
fn nameless<'t>(lines: &Lines<'t>) -> Option<(usize, &'t str)> {
    let (_, line) = lines.last();
    let (start, above) = lines.above()?;
    let has_name = above.contains(": ") || above.trim_end().ends_with(':');
    (!has_name && !above.starts_with("---") && inner(above) == indent(line))
        .then_some((start, above))
}

/// A line that would belong to one that has its value already.
fn too_far(lines: &Lines<'_>) -> Option<String> {
    let (_, line) = lines.last();
    let own = indent(line);
    let (_, above) = lines.above()?;
    let is_whole = !above.trim_end().ends_with(':');
    let above = match is_item(line) {
        true => indent(above),
        false => inner(above),
    };
    (is_whole && own > above).then(|| {
        format!(
            "this line starts in column {}, and the one above, which has a value of its own, in column {}: \
             start both in the same column",
            own + 1,
            above + 1,
        )
    })
}

/// A line between two columns in which it could go on.
fn between(lines: &Lines<'_>) -> Option<String> {
    let own = indent(lines.last().1);
    let columns = columns(lines);
    let is_known = columns.iter().any(|column| column.blanks == own);
    let beyond = columns.iter().rfind(|column| column.blanks > own);
    let below = columns.iter().find(|column| column.blanks < own);
    let (beyond, below) = beyond.zip(below).filter(|_| !is_known)?;
    let (own, first, second) = (own + 1, beyond.blanks + 1, below.blanks + 1);
    let go_on = format!(
        "this line starts in column {own}: start it in column {first} to go on with line {}",
        beyond.line
    );
    Some(match beyond.line == below.line {
        true => go_on,
        false => format!(
            "{go_on}, or in column {second} to go on with line {}",
            below.line
        ),
    })
}

/// A line that isn't an item, in the column of items.
fn beside_items(lines: &Lines<'_>) -> Option<String> {
    let own = indent(lines.last().1);
    let number = lines.number();
    let mut before = (1..).zip(lines.before());
    let (count, (_, item)) = before.find(|(_, (_, line))| is_item(line) && indent(line) == own)?;
    Some(format!(
        "this line starts in the column of the `- ` in line {}: start it in column {} to go on with that item",
        number.saturating_sub(count),
        inner(item) + 1,
    ))
}

/// An item in the column of names.
fn item_beside_names(lines: &Lines<'_>) -> Option<String> {
    let (_, line) = lines.last();
    let (_, above) = lines.above()?;
    let belongs = above.trim_end().ends_with(':') && inner(above) > indent(line);
    (is_item(line) && !is_item(above) && belongs).then(|| {
        format!(
            "this `- ` starts in column {}: start it in column {} to belong to the line above",
            indent(line) + 1,
            inner(above) + 1,
        )
    })
}

/// A line that would end the document, since its first one is indented.
fn beside_the_first(lines: &Lines<'_>) -> Option<String> {
    let own = indent(lines.last().1);
    let (_, above) = lines.above()?;
    let above = indent(above);
    (own < above).then(|| {
        format!(
            "this line starts in column {}, and the first of the document in column {}: start both in the \
             same column",
            own + 1,
            above + 1,
        )
    })
}

/// Those before the line, the nearest first.
fn columns(lines: &Lines<'_>) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    let number = lines.number();
    for (count, (_, line)) in (1..).zip(lines.before()) {
        let word = line.trim_start();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        for blanks in [inner(line), indent(line)] {
            if columns.last().is_none_or(|last| blanks < last.blanks) {
                let line = number.saturating_sub(count);
                columns.push(Column { blanks, line });
            }
        }
    }
    columns
}
