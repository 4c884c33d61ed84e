//! Templates, which make documents and are none.

use super::quotes::open_quote;
use super::{Found, Lines};

/// How to come from a template to a document.
const RENDER: &str = "render it first, as in `helm template ... | portcullis check -`";

/// How to come from a text with variables of a shell to a document.
const FILL: &str = "fill it in first, as in `envsubst < FILE | portcullis check -`";

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
        Some((TEMPLATE, FILL))
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

pub(super) fn template(lines: &Lines<'_>) -> Found {
    let beginning = |begins: &[&str], how: &str, (start, line): (usize, &str)| {
        let mut starts = begins.iter().filter_map(|begin| line.find(begin));
        let at = starts.find(|at| open_quote(line, *at).is_none())?;
        let message = format!("this is a template: {how}");
        Some((start + at..start + line.len(), message))
    };
    let expression = |line| beginning(&TEMPLATES, RENDER, line);
    // Elsewhere than in braces a variable is text.
    let variable = || beginning(&["${"], FILL, lines.last());
    expression(lines.last())
        .or_else(variable)
        .or_else(|| lines.before().filter_map(expression).last())
}
