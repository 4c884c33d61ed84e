//! A mistake that the plugin tells, as people are told who have the file before them.

use std::ops::Range;

use crate::cli::source::{Node, not_filled_in};
use crate::config::place::{Place, Step};
use crate::config::reader::Mistake;

/// What is wrong, and what helps.
type Told = (String, Option<String>);

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
        ..
    } = mistake;
    let near = document.spoken_of(place, message);
    let nearest = near.as_ref().filter(|_| !is_name).unwrap_or(place);
    let span = document.pointed(nearest, *is_name, text);
    let name = last_name(nearest);
    let written = match is_name {
        true => name,
        false => document.at(nearest).and_then(Node::text),
    };
    let written = written.unwrap_or_default();
    let template = not_filled_in(written);
    let (message, help) = template
        .map(|(message, help)| (message.to_owned(), Some(help.to_owned())))
        .or_else(|| unknown(document, place, written, message))
        .or_else(|| bracketed(written, message))
        .unwrap_or_else(|| {
            let help = flat(document, place, message);
            let help = help.or_else(|| address(name.unwrap_or_default(), written, message));
            (message.clone(), help)
        });
    (span, message, help)
}

fn last_name(place: &Place) -> Option<&str> {
    match place.steps().last()? {
        Step::Member(name) => Some(name),
        Step::Item(_) => None,
    }
}

/// A field or an attribute that there isn't, by its name, and the one that is most likely meant before all others.
fn unknown(document: &Node, place: &Place, written: &str, message: &str) -> Option<Told> {
    let (what, offered) = message.split_once("; ")?;
    if !what.starts_with("unknown ") {
        return None;
    }
    if written.starts_with("//") || written.starts_with("/*") {
        let message = format!("{what} `{written}`: in YAML a comment starts with `#`");
        return Some((message, None));
    }
    // What is in brackets is anybody's.
    let (stem, brackets) = written.split_at(written.find('[').unwrap_or(written.len()));
    let stem_of = |name: &str| name.trim_end_matches("[...]").to_owned();
    let likeness = |name: &str| {
        let cased = stem.to_ascii_lowercase();
        strsim::damerau_levenshtein(&cased, &stem_of(name).to_ascii_lowercase())
    };
    // The start of a name may be all that somebody remembers.
    let is_start = |name: &str| stem.len() >= 3 && name.starts_with(stem) && !name.contains('.');
    let names = offered.split('`').skip(1).step_by(2);
    let nearest = names.min_by_key(|name| (!is_start(name), likeness(name)));
    let is_near = |name: &&str| is_start(name) || likeness(name) * 3 <= stem.len().max(3);
    let instead = match nearest.filter(is_near) {
        Some(name) if name.ends_with("[...]") && brackets.ends_with(']') => {
            format!(": write `{}{brackets}`", stem_of(name))
        }
        Some(name) => format!(": write `{name}`"),
        None => String::new(),
    };
    let help = match empty_beside(document, place).filter(|_| instead.is_empty()) {
        Some(name) => format!("if it belongs to `{name}:`, which is empty, indent it further"),
        None => offered.to_owned(),
    };
    Some((format!("{what} `{written}`{instead}"), Some(help)))
}

/// A field that is empty beside one, as if what belongs to it weren't indented.
fn empty_beside<'n>(document: &'n Node, place: &Place) -> Option<&'n str> {
    let name = last_name(place)?;
    let object = document.holder(place)?;
    let mut members = object.members().iter();
    members.find(|(own, _)| own.text == name)?;
    let mut before = object
        .members()
        .iter()
        .take_while(|(own, _)| own.text != name);
    let empty = before.find(|(_, value)| value.value().is_null())?;
    Some(&empty.0.text)
}

/// What to write where brackets are missing: the example of the message becomes what is written.
fn bracketed(written: &str, message: &str) -> Option<Told> {
    let (stem, example) = [
        ("request.auth.claims", "[iss]"),
        ("request.headers", "[User-Agent]"),
    ]
    .into_iter()
    .find(|(stem, example)| message.contains(&format!("`{stem}{example}`")))?;
    let rest = written.strip_prefix(stem)?;
    let is_split = |letter: char| "[].\"'".contains(letter);
    let names: Vec<&str> = rest
        .split(is_split)
        .filter(|name| !name.is_empty())
        .collect();
    let is_plain = |name: &&str| {
        let mut letters = name.chars();
        letters.all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
    };
    let is_clear = !names.is_empty() && names.iter().all(is_plain);
    let brackets: String = names.iter().map(|name| format!("[{name}]")).collect();
    is_clear.then(|| (message.replace(example, &brackets), None))
}

/// What stands in the place of a key set's address.
fn address(name: &str, written: &str, message: &str) -> Option<String> {
    if !matches!(name, "jwksUri" | "jwks_uri") || !message.starts_with("not an absolute URI") {
        return None;
    }
    let host = written.split(['/', '?']).next().unwrap_or_default();
    let is_host = host.contains(['.', ':']) && !host.contains(char::is_whitespace);
    Some(if written.starts_with(['{', '[', '-']) {
        "this is a key set: write it in `jwks`".to_owned()
    } else if host.is_empty() || written.contains("://") {
        return None;
    } else if is_host {
        format!("write `https://{written}`")
    } else {
        "if this is a secret that the issuer shares with you, write it in `jwks`, as {\"keys\": [{\"kty\": \
         \"oct\", \"k\": ...}]}, with its base64url for `k`"
            .to_owned()
    })
}

/// Whether something is missing because what it should hold is beside it.
fn flat(document: &Node, place: &Place, message: &str) -> Option<String> {
    let missing = message.strip_suffix("` is missing")?.strip_prefix('`')?;
    let object = document.at(place)?;
    let is_empty = object.get(missing)?.value().is_null();
    (is_empty && object.members().len() > 1).then(|| {
        format!("`{missing}:` is there, and empty: indent what belongs to it further than its name")
    })
}
