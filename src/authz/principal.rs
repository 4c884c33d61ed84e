//! Patterns for the identity of a token.

use std::fmt;

use crate::authn::Identity;
use crate::matcher::StringMatch;

/// A pattern for `issuer/subject`.
///
/// Istio cuts the pattern at its last `/` and compares the parts with `iss` and `sub` one by one
/// (pilot/pkg/security/authz/model, `requestPrincipalGenerator`). A star at the start belongs to
/// the issuer, or to the subject where there is no `/`; only without one does a star at the end
/// count. A token without `sub` has no principal, whatever the pattern.
///
/// A peer, which an older Policy may bind the principal to, is compared as a whole, as all were in its time.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PrincipalMatch {
    issuer: StringMatch,
    subject: StringMatch,
    whole: StringMatch,
}

impl PrincipalMatch {
    pub(crate) fn parse(pattern: &str) -> Self {
        let exact = |text: &str| StringMatch::Exact(text.to_owned());
        let cut = pattern.rsplit_once('/');
        let (issuer, subject) = if pattern == "*" {
            (StringMatch::NotEmpty, StringMatch::NotEmpty)
        } else if pattern.starts_with('*') {
            match cut {
                Some((issuer, subject)) => (StringMatch::text(issuer), exact(subject)),
                None => (StringMatch::NotEmpty, StringMatch::text(pattern)),
            }
        } else if pattern.ends_with('*') {
            match cut {
                Some((issuer, subject)) => (exact(issuer), StringMatch::text(subject)),
                None => (StringMatch::text(pattern), StringMatch::NotEmpty),
            }
        } else {
            let (issuer, subject) = cut.unwrap_or((pattern, ""));
            (exact(issuer), exact(subject))
        };
        Self {
            issuer,
            subject,
            whole: StringMatch::text(pattern),
        }
    }

    pub(super) fn matches(&self, identity: &Identity<'_>) -> bool {
        let is_peer = |peer: &str| self.whole.matches(peer.as_bytes());
        let is_token = |(issuer, subject): (&str, &str)| {
            self.issuer.matches(issuer.as_bytes()) && self.subject.matches(subject.as_bytes())
        };
        identity.peer().is_some_and(is_peer) || identity.issuer_and_subject().is_some_and(is_token)
    }
}

impl fmt::Display for PrincipalMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_cut_at_the_last_slash() {
        use StringMatch::{Exact, NotEmpty, Prefix, Suffix};
        let text = str::to_owned;
        for (pattern, issuer, subject) in [
            ("*", NotEmpty, NotEmpty),
            ("foo/bar", Exact(text("foo")), Exact(text("bar"))),
            ("foo/bar*", Exact(text("foo")), Prefix(text("bar"))),
            ("foo/*", Exact(text("foo")), NotEmpty),
            ("*/foo", NotEmpty, Exact(text("foo"))),
            ("*/foo*", NotEmpty, Exact(text("foo*"))),
            ("*bar/foo", Suffix(text("bar")), Exact(text("foo"))),
            ("*foo", NotEmpty, Suffix(text("foo"))),
            ("foo*", Prefix(text("foo")), NotEmpty),
            ("https://foo*", Exact(text("https:/")), Prefix(text("foo"))),
            (
                "https://foo//a",
                Exact(text("https://foo/")),
                Exact(text("a")),
            ),
            ("foo", Exact(text("foo")), Exact(text(""))),
        ] {
            let parsed = PrincipalMatch::parse(pattern);
            assert_eq!(
                (parsed.issuer, parsed.subject),
                (issuer, subject),
                "{pattern}"
            );
        }
    }
}
