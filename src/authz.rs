//! Authorization: Istio's policies over a request and the identity of its token.

use std::fmt;

use crate::authn::Identity;
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;
use crate::outcome::{Reason, Refusal};
use crate::request::Request;

/// The policies that apply here, by action.
#[derive(Debug, Default)]
pub(crate) struct PolicySet {
    pub(crate) deny: Vec<Policy>,
    pub(crate) allow: Vec<Policy>,
}

/// One AuthorizationPolicy.
#[derive(Debug)]
pub(crate) struct Policy {
    /// `ns[foo]-policy[name]`
    pub(crate) name: String,
    pub(crate) rules: Vec<Rule>,
}

/// One rule: a source and an operation and all conditions. An empty list of sources or operations
/// leaves them open.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) from: Vec<Vec<Condition>>,
    pub(crate) to: Vec<Vec<Condition>>,
    pub(crate) when: Vec<Condition>,
}

/// A test, or its opposite: `values` and `notValues`, `hosts` and `notHosts`.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) negated: bool,
    pub(crate) test: Test,
}

/// An attribute of the request and the patterns of which one must match.
#[derive(Debug)]
pub(crate) enum Test {
    Claim(ClaimPath, Vec<StringMatch>),
    /// Any one line of this header; Envoy from 1.38 on looks at each by itself.
    Header(String, Vec<StringMatch>),
    Host(Vec<StringMatch>),
    Path(Vec<StringMatch>),
    RequestPrincipal(Vec<PrincipalMatch>),
}

impl PolicySet {
    /// Istio's order: what a DENY policy matches is refused; what is left passes if there is no
    /// ALLOW policy or if one matches. Returns the rule that allows, where one does.
    ///
    /// # Errors
    ///
    /// The refusal, with the rule that decided.
    pub(crate) fn authorize(
        &self,
        request: &Request,
        identity: Option<&Identity<'_>>,
    ) -> Result<Option<RuleName<'_>>, Refusal> {
        if let Some(rule) = first_match(&self.deny, request, identity) {
            return Err(Refusal {
                reason: Reason::PolicyDenied,
                policy: Some(rule.to_string()),
            });
        }
        match first_match(&self.allow, request, identity) {
            None if !self.allow.is_empty() => Err(Reason::PolicyNoneAllows.into()),
            rule => Ok(rule),
        }
    }
}

/// A rule and its place, in Istio's form: `ns[foo]-policy[name]-rule[0]`. It is put together only
/// where it is told.
pub(crate) struct RuleName<'p>(&'p Policy, usize);

impl fmt::Display for RuleName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-rule[{}]", self.0.name, self.1)
    }
}

fn first_match<'p>(
    policies: &'p [Policy],
    request: &Request,
    identity: Option<&Identity<'_>>,
) -> Option<RuleName<'p>> {
    policies.iter().find_map(|policy| {
        let index = policy
            .rules
            .iter()
            .position(|rule| rule.matches(request, identity))?;
        Some(RuleName(policy, index))
    })
}

impl Rule {
    fn matches(&self, request: &Request, identity: Option<&Identity<'_>>) -> bool {
        let all = |conditions: &[Condition]| {
            conditions
                .iter()
                .all(|condition| condition.matches(request, identity))
        };
        let one = |alternatives: &[Vec<Condition>]| {
            alternatives.is_empty() || alternatives.iter().any(|conditions| all(conditions))
        };
        one(&self.to) && one(&self.from) && all(&self.when)
    }
}

impl Condition {
    fn matches(&self, request: &Request, identity: Option<&Identity<'_>>) -> bool {
        self.test.matches(request, identity) != self.negated
    }
}

impl Test {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Claim(_, patterns)
            | Self::Header(_, patterns)
            | Self::Host(patterns)
            | Self::Path(patterns) => patterns.is_empty(),
            Self::RequestPrincipal(patterns) => patterns.is_empty(),
        }
    }

    fn matches(&self, request: &Request, identity: Option<&Identity<'_>>) -> bool {
        let any = |patterns: &[StringMatch], value: &[u8]| {
            patterns.iter().any(|pattern| pattern.matches(value))
        };
        match self {
            Self::Claim(path, patterns) => identity.is_some_and(|identity| {
                identity.any_text(path, |text| any(patterns, text.as_bytes()))
            }),
            Self::Header(name, patterns) => request.values(name).any(|value| any(patterns, value)),
            Self::Host(patterns) => request
                .value(":authority")
                .is_some_and(|host| any(patterns, &host.to_ascii_lowercase())),
            Self::Path(patterns) => request.path().is_some_and(|path| any(patterns, path)),
            Self::RequestPrincipal(patterns) => identity
                .is_some_and(|identity| patterns.iter().any(|pattern| pattern.matches(identity))),
        }
    }
}

/// A pattern for `issuer/subject`.
///
/// Istio cuts the pattern at its last `/` and compares the parts with `iss` and `sub` one by one
/// (pilot/pkg/security/authz/model, `requestPrincipalGenerator`). A star at the start belongs to
/// the issuer, or to the subject where there is no `/`; only without one does a star at the end
/// count. A token without `sub` has no principal, whatever the pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PrincipalMatch {
    issuer: StringMatch,
    subject: StringMatch,
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
        Self { issuer, subject }
    }

    fn matches(&self, identity: &Identity<'_>) -> bool {
        let matches = |claim: &str, pattern: &StringMatch| {
            identity
                .text(claim)
                .is_some_and(|text| pattern.matches(text.as_bytes()))
        };
        matches("iss", &self.issuer) && matches("sub", &self.subject)
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
            let expected = PrincipalMatch { issuer, subject };
            assert_eq!(PrincipalMatch::parse(pattern), expected, "{pattern}");
        }
    }
}
