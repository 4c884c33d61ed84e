//! Names of claims and headers that are something else than they look like.

use std::rc::Rc;

use super::Advice;
use crate::cli::codes::Code;
use crate::cli::source::{Node, Source};

/// Claims that are objects wherever they are known: OpenID Connect's `address`, RFC 8693's `act`, RFC 7800's `cnf`, and
/// those of Keycloak, Firebase, Auth0 and Supabase.
const OBJECTS: [&str; 9] = [
    "act",
    "address",
    "app_metadata",
    "authorization",
    "cnf",
    "firebase",
    "realm_access",
    "resource_access",
    "user_metadata",
];
/// A claim of Kubernetes' tokens, and the start of some.
const KUBERNETES: &str = "kubernetes.io";

/// What is between quotes.
fn unquoted(name: &str) -> Option<&str> {
    let quote = name
        .chars()
        .next()
        .filter(|quote| matches!(quote, '\'' | '"'))?;
    name.strip_prefix(quote)?.strip_suffix(quote)
}

/// The same in brackets: `[a][b]`.
fn bracketed<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names = names.into_iter().map(|name| format!("[{name}]"));
    names.collect()
}

/// What is wrong with names in brackets, and those that are meant.
fn in_brackets(text: &str) -> Option<(String, String)> {
    let names: Vec<&str> = text
        .strip_prefix('[')?
        .strip_suffix(']')?
        .split("][")
        .collect();
    if names.iter().any(|name| unquoted(name).is_some()) {
        let plain = names.iter().map(|name| unquoted(name).unwrap_or(name));
        return Some((
            "the quotes belong to the name here, and no claim has such a name".to_owned(),
            bracketed(plain),
        ));
    }
    let [name] = names.as_slice() else {
        return None;
    };
    let (outer, inner) = name.split_once('.')?;
    let meant = match inner.rsplit_once('.') {
        // A client's name may have dots.
        Some((client, last)) if outer == "resource_access" => bracketed([outer, client, last]),
        _ if outer == "resource_access" => bracketed([outer, inner]),
        _ => bracketed(name.split('.')),
    };
    OBJECTS.contains(&outer).then(|| {
        (
            format!("this is a claim with a dot in its name, not one within `{outer}`"),
            meant,
        )
    })
}

/// The same of names with dots between them, which the short form and `outputClaimToHeaders` have.
fn dotted(text: &str) -> Option<(String, String)> {
    if text.starts_with('[') {
        return in_brackets(text);
    }
    let names: Vec<&str> = text.split('.').collect();
    if names.iter().any(|name| unquoted(name).is_some()) {
        let plain = names.iter().map(|name| unquoted(name).unwrap_or(name));
        return Some((
            "the quotes belong to the name here, and no claim has such a name".to_owned(),
            plain.collect::<Vec<_>>().join("."),
        ));
    }
    let (outer, _) = text.split_once('.')?;
    let is_cut_host = outer
        .split_once("://")
        .is_some_and(|(_, host)| !host.contains('/'));
    let of_kubernetes = text.strip_prefix(KUBERNETES);
    let meant = match of_kubernetes.map(|rest| rest.strip_prefix('.').unwrap_or(rest)) {
        Some("") => bracketed([KUBERNETES]),
        Some(rest) if rest.starts_with('/') => bracketed([text]),
        Some(rest) if text.get(KUBERNETES.len()..)?.starts_with('.') => {
            bracketed([KUBERNETES].into_iter().chain(rest.split('.')))
        }
        _ if is_cut_host => bracketed([text]),
        _ => return None,
    };
    Some((
        format!("dots separate nested claims, so this is a claim within `{outer}`"),
        meant,
    ))
}

impl Advice {
    /// A claim as `request.auth.claims[...]` has it, or a header.
    pub(super) fn key(&mut self, source: &Rc<Source>, node: &Node) {
        let text = node.text().unwrap_or_default();
        let claim = text.strip_prefix("request.auth.claims");
        if let Some((why, meant)) = claim.and_then(in_brackets) {
            let why = format!("{why}; write `request.auth.claims{meant}`");
            self.found(source, Code::NeverMatches, node.span.clone(), why);
        }
        let header = text.strip_prefix("request.headers[");
        let header = header.and_then(|text| unquoted(text.strip_suffix(']')?));
        if let Some(name) = header {
            let why = format!(
                "the quotes belong to the name here, and no header has such a name; write `request.headers[{name}]`"
            );
            self.found(source, Code::NeverMatches, node.span.clone(), why);
        }
    }

    /// A claim as the short form's conditions and `outputClaimToHeaders` have it.
    pub(super) fn claim(&mut self, source: &Rc<Source>, node: &Node) {
        if let Some((why, meant)) = node.text().and_then(dotted) {
            let why = format!("{why}; write `{meant}`");
            self.found(source, Code::NeverMatches, node.span.clone(), why);
        }
    }
}
