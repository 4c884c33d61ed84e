//! Browsers whose user has no good token, on their way to a login page.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::Reply;
use crate::config::LoginPage;
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
    if !(helps && is_safe && takes_html(request)) || is_at(page, policy, request) {
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
/// never end. Before Envoy, TLS may have ended and a slash been added.
fn is_at(page: &LoginPage, policy: &Policy, request: &Request) -> bool {
    let normal = |path: &[u8]| {
        let path = path.split(|byte| matches!(byte, b'?' | b'#')).next()?;
        let path = policy
            .paths
            .normalization
            .normalized(path)
            .ok()?
            .into_owned();
        let end = path.iter().rposition(|byte| *byte != b'/');
        Some(path.get(..=end?)?.to_vec())
    };
    let part = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec());
    let (Ok(scheme), Ok(host)) = (
        part(request.value(":scheme")),
        part(request.value(":authority")),
    ) else {
        return false;
    };
    let page = &page.address;
    let same_host = KeySetUri::parse(&format!("{scheme}://{host}")).is_ok_and(|asked| {
        let is_default = |port| matches!(port, 80 | 443);
        let same_port =
            asked.port() == page.port() || is_default(asked.port()) && is_default(page.port());
        let bare = |host: &str| host.strip_suffix('.').unwrap_or(host).to_owned();
        same_port && bare(asked.host()) == bare(page.host())
    });
    let path = request.target().and_then(normal);
    same_host && path == normal(page.path().as_bytes())
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
