//! A mistake that the plugin tells, as people are told who have the file before them.

use std::ops::Range;

use crate::cli::source::{Node, RENDER};
use crate::config::place::{Place, Step};
use crate::config::reader::Mistake;

/// What stands in files that somebody has to fill in first.
const TEMPLATES: [&str; 4] = ["{{", "{%", "${", "<no value>"];

/// What to point at, what is wrong, and what helps.
pub(in crate::cli) fn told(
    mistake: &Mistake,
    document: &Node,
    text: &str,
) -> (Range<usize>, String, Option<String>) {
    let Mistake {
        place,
        is_name,
        message,
    } = mistake;
    let near = document.spoken_of(place, message);
    let nearest = near.as_ref().filter(|_| !is_name).unwrap_or(place);
    let span = document.pointed(nearest, *is_name, text);
    let pointed = text.get(span.clone()).unwrap_or_default();
    if TEMPLATES.iter().any(|template| pointed.contains(template)) {
        return (span, message.clone(), Some(RENDER.to_owned()));
    }
    match unknown(place, message).filter(|_| *is_name) {
        Some((message, help)) => (span, message, Some(help)),
        None => (span, message.clone(), flat(document, place, message)),
    }
}

/// A field that there isn't, by its name, and the one that is most likely meant before all others.
fn unknown(place: &Place, message: &str) -> Option<(String, String)> {
    let Some(Step::Member(written)) = place.steps().last() else {
        return None;
    };
    let (what, fields) = message.split_once("; ")?;
    let offered = fields.split('`').skip(1).step_by(2);
    let likeness = |name: &str| {
        let cased = written.to_ascii_lowercase();
        strsim::damerau_levenshtein(&cased, &name.to_ascii_lowercase())
    };
    // The start of a name may be all that somebody remembers.
    let is_start = |name: &str| written.len() >= 3 && name.starts_with(written.as_str());
    let nearest = offered.min_by_key(|name| (!is_start(name), likeness(name)));
    let is_near = |name: &&str| is_start(name) || likeness(name) * 3 <= written.len().max(3);
    let instead = nearest.filter(is_near);
    let instead = instead.map_or(String::new(), |name| format!(": write `{name}`"));
    Some((format!("{what} `{written}`{instead}"), fields.to_owned()))
}

/// Whether something is missing because what it should hold is beside it.
fn flat(document: &Node, place: &Place, message: &str) -> Option<String> {
    let missing = message.strip_suffix("` is missing")?.strip_prefix('`')?;
    let object = place
        .steps()
        .iter()
        .try_fold(document, |node, step| match step {
            Step::Item(index) => node.items().get(*index),
            Step::Member(name) => node.get(name),
        })?;
    let is_empty = object.get(missing)?.value().is_null();
    (is_empty && object.members().len() > 1).then(|| {
        format!("`{missing}:` is there, and empty: indent what belongs to it further than its name")
    })
}
