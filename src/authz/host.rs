//! Patterns for the host of a request.

use std::borrow::Cow;

use crate::matcher::StringMatch;
use crate::request::Request;

/// A compiled pattern, for hosts in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct HostMatch {
    pub(crate) pattern: StringMatch,
    /// Whether the pattern is for what stands before the port.
    pub(crate) ignores_port: bool,
}

impl HostMatch {
    pub(super) fn matches(&self, host: &[u8]) -> bool {
        self.pattern.matches(match self.ignores_port {
            true => without_port(host),
            false => host,
        })
    }
}

/// The host of a request, in lower case.
pub(super) fn host(request: &Request) -> Option<Cow<'_, [u8]>> {
    let host = request.value(":authority")?;
    Some(match host.iter().any(u8::is_ascii_uppercase) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    })
}

/// RFC 3986 section 3.2.3: a port is digits, or nothing. What else stands behind a colon is none,
/// and stays.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    let colon = host.iter().rposition(|byte| *byte == b':');
    let (name, port) = host.split_at(colon.unwrap_or(host.len()));
    match port.iter().skip(1).all(u8::is_ascii_digit) {
        true => name,
        false => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (host, expected) in [
            ("a.test", "a.test"),
            ("a.test:8080", "a.test"),
            ("a.test:", "a.test"),
            ("a.test:x", "a.test:x"),
            ("a.test:80@b.test", "a.test:80@b.test"),
            ("a.test.:80", "a.test."),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(without_port(host.as_bytes()), expected.as_bytes(), "{host}");
        }
    }
}
