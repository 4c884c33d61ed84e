//! Templates, which make documents and are none.

use super::quotes::open_quote;
use super::{Found, Lines};

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

pub(super) fn template(lines: &Lines<'_>) -> Found {
    let expression = |(start, line): (usize, &str)| {
        let mut starts = TEMPLATES.iter().filter_map(|begin| line.find(begin));
        let at = starts.find(|at| open_quote(line, *at).is_none())?;
        let message = format!("this is a template: {RENDER}");
        Some((start + at..start + line.len(), message))
    };
    expression(lines.last()).or_else(|| lines.before().filter_map(expression).last())
}
