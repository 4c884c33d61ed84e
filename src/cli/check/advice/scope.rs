//! Policies that ask for a token where no JWT rule is.

use super::policy::Policy;
use super::{Advice, list};
use crate::cli::codes::Code;
use crate::cli::source::Node;
use crate::matcher::StringMatch;

/// The fields of an operation, all of which must match.
const FIELDS: [(&str, &str); 4] = [
    ("hosts", "notHosts"),
    ("methods", "notMethods"),
    ("paths", "notPaths"),
    ("ports", "notPorts"),
];

impl Advice {
    /// Looks at a policy beside the `match` of each JWT rule, where each has one.
    pub(super) fn without_token(&mut self, policy: &Policy) {
        let scopes: Option<Vec<Vec<Node>>> = self.scopes.iter().cloned().collect();
        let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) else {
            return;
        };
        if !self.is_whole || self.is_older {
            return;
        }
        let reached = |operation: &Node| {
            let mut all = scopes.iter().flatten();
            all.any(|one| !self.are_disjoint(operation, one))
        };
        let rules = policy.rules.iter().filter(|rule| asks_for_token(rule));
        let operations = rules.flat_map(|rule| list(rule, "to"));
        let operations = operations.filter_map(|to| to.get("operation"));
        let apart: Vec<&Node> = operations.filter(|one| !reached(one)).collect();
        for operation in apart {
            let mut fields = FIELDS.iter().rev();
            let told = fields.find_map(|(name, _)| list(operation, name).first());
            let why = "a token is asked for, but no JWT rule is for these requests, so none of them has one that \
                       counts; write them in the `match` of a rule";
            let span = told.unwrap_or(operation).span.clone();
            self.found(&policy.source, Code::NoTokenThere, span, why.to_owned());
        }
    }

    /// Whether no request is for both operations, as far as that is sure.
    fn are_disjoint(&self, one: &Node, other: &Node) -> bool {
        FIELDS.iter().any(|(name, not)| {
            let patterns = |operation, field| self.patterns_of(name, list(operation, field));
            let (one_is, other_is) = (patterns(one, name), patterns(other, name));
            let has_both = !one_is.is_empty() && !other_is.is_empty();
            let apart = |one| other_is.iter().all(|other| are_apart(one, other));
            let excludes = |is: &[StringMatch], not: &[StringMatch]| {
                let excluded = |one| not.iter().any(|not| is_within(one, not));
                !is.is_empty() && is.iter().all(excluded)
            };
            has_both && one_is.iter().all(apart)
                || excludes(&one_is, &patterns(other, not))
                || excludes(&other_is, &patterns(one, not))
        })
    }

    fn patterns_of(&self, field: &str, values: &[Node]) -> Vec<StringMatch> {
        let texts = values.iter().filter_map(Node::text);
        let pattern = |text: &str| match field {
            "hosts" if self.ignores_host_port => {
                StringMatch::host(text.strip_suffix(":*").unwrap_or(text))
            }
            "hosts" => StringMatch::host(text),
            "paths" if self.ignores_path_case => StringMatch::text(&text.to_ascii_lowercase()),
            "paths" => StringMatch::text(text),
            _ => StringMatch::header(text),
        };
        texts.map(pattern).collect()
    }
}

/// Whether a rule of a policy can only match if there is a token.
fn asks_for_token(rule: &Node) -> bool {
    let sources = list(rule, "from");
    let has_principal = |from: &Node| {
        let source = from.get("source");
        source.is_some_and(|source| !list(source, "requestPrincipals").is_empty())
    };
    let asks = |when: &Node| {
        let key = when.get("key").and_then(Node::text).unwrap_or_default();
        let claims = |one: &Node| {
            let given = [
                "anyOf", "allOf", "equals", "atLeast", "atMost", "above", "below",
            ];
            given.iter().any(|name| one.get(name).is_some())
        };
        key.starts_with("request.auth.") && !list(when, "values").is_empty()
            || when.get("claim").is_some() && claims(when)
            || when.get("scopes").is_some_and(claims)
    };
    !sources.is_empty() && sources.iter().all(has_principal) || list(rule, "when").iter().any(asks)
}

/// Whether no text matches both. A template is known by its start.
fn are_apart(one: &StringMatch, other: &StringMatch) -> bool {
    use StringMatch::{Exact, Prefix, Suffix};
    match (one, other) {
        (one, other) if is_template(one) || is_template(other) => {
            let (Some(one), Some(other)) = (start(one), start(other)) else {
                return false;
            };
            !one.starts_with(other) && !other.starts_with(one)
        }
        (Exact(one), Exact(other)) => one != other,
        (Exact(text), Prefix(start)) | (Prefix(start), Exact(text)) => !text.starts_with(start),
        (Exact(text), Suffix(end)) | (Suffix(end), Exact(text)) => !text.ends_with(end),
        (Prefix(one), Prefix(other)) => !one.starts_with(other) && !other.starts_with(one),
        (Suffix(one), Suffix(other)) => !one.ends_with(other) && !other.ends_with(one),
        _ => false,
    }
}

/// Whether all texts that match one match another.
fn is_within(one: &StringMatch, other: &StringMatch) -> bool {
    use StringMatch::{Exact, Prefix, Suffix};
    match (one, other) {
        _ if is_template(one) || is_template(other) => false,
        (Exact(text), Exact(other)) => text == other,
        (Exact(text) | Prefix(text), Prefix(start)) => text.starts_with(start),
        (Exact(text) | Suffix(text), Suffix(end)) => text.ends_with(end),
        _ => false,
    }
}

fn is_template(pattern: &StringMatch) -> bool {
    use StringMatch::{Exact, Prefix, Suffix};
    matches!(pattern, Exact(text) | Prefix(text) | Suffix(text) if text.contains('{'))
}

/// What all texts that match start with; of an exact one, all of it.
fn start(pattern: &StringMatch) -> Option<&str> {
    match pattern {
        StringMatch::Exact(text) | StringMatch::Prefix(text) => text.split('{').next(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against texts that match: what is sure must hold of each.
    #[test]
    fn what_is_sure_holds() {
        let patterns = [
            "/a", "/a/*", "/a*", "*/a", "*a", "*", "/b", "/b/a", "/a/{*}", "/a/{**}", "/{*}/a",
        ];
        let texts = [
            "/a", "/a/", "/a/a", "/ab", "/b", "/b/a", "/b/a/a", "a", "/a/x/a",
        ];
        let matches = |pattern: &str, text: &str| {
            let pattern = crate::authz::PathMatch::parse(pattern, false).unwrap();
            pattern.matches(text.as_bytes()) == Some(true)
        };
        let mut sure = 0;
        for one in patterns {
            for other in patterns {
                let parsed = [one, other].map(StringMatch::text);
                let [of_one, of_other] = &parsed;
                let both = |text: &&&str| matches(one, text) && matches(other, text);
                let only = |text: &&&str| matches(one, text) && !matches(other, text);
                if are_apart(of_one, of_other) {
                    sure += 1;
                    assert_eq!(texts.iter().find(both), None, "{one} {other}");
                }
                if is_within(of_one, of_other) {
                    sure += 1;
                    assert_eq!(texts.iter().find(only), None, "{one} {other}");
                }
            }
        }
        assert_eq!(sure, 42);
    }
}
