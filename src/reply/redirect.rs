//! Browsers whose user has no good token, on their way to a login page.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::Reply;
use crate::jwks::KeySetUri;
use crate::outcome::{Lack, Reason, Refusal};
use crate::policy::Policy;
use crate::request::Request;

/// All but what RFC 3986 section 2.3 leaves alone everywhere.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// How long an address may be that the login page is told, in bytes; browsers and servers take 8000 or
/// so, and encoding makes three of one.
const MAX_ADDRESS: usize = 2048;

/// The login page to which a request is sent instead of being refused, where there is one: a browser
/// shows a page, and a login can help.
pub(super) fn login(refusal: &Refusal, policy: &Policy, request: &Request) -> Option<String> {
    let page = policy.errors.redirect.as_ref()?;
    let helps = refusal.reason == Reason::Expired || refusal.lack == Lack::Token;
    let is_safe = matches!(request.value(":method"), Some(b"GET" | b"HEAD"));
    if !(helps && is_safe && takes_html(request)) || is_at(&page.address, policy, request) {
        return None;
    }
    let asked = asked_for(policy, request)?;
    Some(page.of(&percent_encode(&asked, ENCODED).to_string()))
}

pub(super) fn to(page: String) -> Reply {
    let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    Reply {
        status: 302,
        headers: vec![
            header("location", page),
            header("cache-control", "no-store".to_owned()),
        ],
        body: Vec::new(),
        details: String::new(),
    }
}

/// Whether the request is for the login page itself, as the upstream will see it: to send it there would
/// never end. Before Envoy, TLS may have ended; behind it, a slash may be added.
fn is_at(page: &KeySetUri, policy: &Policy, request: &Request) -> bool {
    let host = |authority| {
        let bare = without_end(without_end(authority, b":443"), b":80");
        without_end(bare, b".")
    };
    let path = |target: &[u8]| {
        let end = target.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let path = target.split_at(end.unwrap_or(target.len())).0;
        let path = policy.paths.normalization.normalized(path).ok()?;
        Some(without_end(&path, b"/").to_vec())
    };
    let asked = request.value(":authority").map(host);
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host(page.authority().as_bytes())))
        && request.target().and_then(path) == path(page.path().as_bytes())
}

fn without_end<'a>(text: &'a [u8], end: &[u8]) -> &'a [u8] {
    text.strip_suffix(end).unwrap_or(text)
}

fn takes_html(request: &Request) -> bool {
    let ranges = request.values("accept");
    let mut ranges = ranges.flat_map(|value| value.split(|byte| *byte == b','));
    ranges.any(|range| {
        let name = range.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"text/html")
    })
}

/// The whole address, so that nothing in the path can name another host; without tokens.
fn asked_for(policy: &Policy, request: &Request) -> Option<Vec<u8>> {
    let (scheme, host) = (request.value(":scheme")?, request.value(":authority")?);
    let changes = policy.authentication.without_tokens(request);
    let request = request.changed(&changes);
    let target = request.target()?.split(|byte| *byte == b'#').next()?;
    let address = |target| [scheme, b"://", host, target].concat();
    let whole = address(target);
    Some(match whole.len() > MAX_ADDRESS {
        true => address(b"/"),
        false => whole,
    })
}
