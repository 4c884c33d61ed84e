//! Rules and values that match nothing, or less than they seem to.

use std::rc::Rc;

use super::policy::Policy;
use super::rule::is_public;
use super::{Advice, field, list};
use crate::cli::codes::Code;
use crate::cli::source::{Node, Source};
use crate::path::Normalization;

/// The fields of a source and an operation of which there is an opposite.
const FIELDS: [&str; 11] = [
    "hosts",
    "ipBlocks",
    "methods",
    "namespaces",
    "paths",
    "ports",
    "principals",
    "remoteIpBlocks",
    "requestPrincipals",
    "serviceAccounts",
    "trustDomains",
];

/// The claim whose words are compared one by one, as Istio names it.
const SCOPE: &str = "request.auth.claims[scope]";

/// A claim of the short form whose words are compared so.
fn spaced(claim: &str) -> Option<&'static str> {
    match claim {
        "permission" | "[permission]" => Some("request.auth.claims[permission]"),
        "scope" | "[scope]" => Some(SCOPE),
        _ => None,
    }
}

/// `notPaths` of `paths`.
fn opposite(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("not{}{rest}", first.to_ascii_uppercase())
}

/// A value, and what there is to know of it.
pub(super) struct Value<'v> {
    pub(super) source: &'v Rc<Source>,
    pub(super) node: &'v Node,
    pub(super) text: &'v str,
    policy: &'v Policy,
    pub(super) is_negative: bool,
}

impl Advice {
    pub(super) fn policy(&mut self, policy: Policy) {
        self.policies.push(policy);
    }

    pub(super) fn patterns(&mut self, policy: &Policy) {
        for rule in &policy.rules {
            for (outer, inner) in [("from", "source"), ("to", "operation")] {
                for entry in list(rule, outer).iter().filter_map(|one| one.get(inner)) {
                    for name in FIELDS {
                        let not = opposite(name);
                        let lists = (field(entry, name), field(entry, &not));
                        self.both(policy, name, lists);
                        if name == "paths" {
                            self.forms(policy, rule, lists);
                        }
                    }
                }
            }
            for when in list(rule, "when") {
                if let Some(key) = when.get("key") {
                    self.key(&policy.source, key);
                    let lists = (field(when, "values"), field(when, "notValues"));
                    self.both(policy, key.text().unwrap_or_default(), lists);
                }
                if let Some(claim) = when.get("claim") {
                    self.claim(&policy.source, claim);
                }
                let spaced = when.get("claim").and_then(Node::text).and_then(spaced);
                let scopes = when.get("scopes");
                for (name, compared) in [(spaced, Some(when)), (Some(SCOPE), scopes)] {
                    let (Some(name), Some(compared)) = (name, compared) else {
                        continue;
                    };
                    for words in ["anyOf", "allOf"] {
                        self.both(policy, name, (compared.get(words), None));
                    }
                    self.both(policy, name, (None, compared.get("noneOf")));
                }
            }
        }
    }

    /// Looks at the values that must match and those that must not.
    fn both(&mut self, policy: &Policy, name: &str, (yes, no): (Option<&Node>, Option<&Node>)) {
        let items = |list: Option<&Node>| list.map(Node::items).unwrap_or_default().to_vec();
        let (wanted, unwanted) = (items(yes), items(no));
        let excluded = |value: &Node| {
            let mut unwanted = unwanted.iter().filter_map(Node::text);
            unwanted.any(|other| other == "*" || Some(other) == value.text())
        };
        if let Some(first) = wanted.first().filter(|_| wanted.iter().all(excluded)) {
            self.found(
                &policy.source,
                Code::NeverMatches,
                first.span.clone(),
                "no request matches: the `not...` field beside this one excludes all of its values"
                    .to_owned(),
            );
        }
        for (values, is_negative) in [(&wanted, false), (&unwanted, true)] {
            for node in values {
                let Some(text) = node.text().filter(|text| !text.is_empty()) else {
                    continue;
                };
                let value = Value {
                    source: &policy.source,
                    node,
                    text,
                    policy,
                    is_negative,
                };
                self.value(name, &value, values);
            }
        }
    }

    fn value(&mut self, name: &str, value: &Value<'_>, beside: &[Node]) {
        let text = value.text;
        let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*'));
        let is_star_literal = !text.contains('{') && inner.unwrap_or(text).contains('*');
        let has_stars = !matches!(
            name,
            "destination.ip"
                | "destination.port"
                | "ipBlocks"
                | "ports"
                | "remote.ip"
                | "remoteIpBlocks"
                | "source.ip"
        );
        let is_expression = name == "paths" && is_expression(text);
        if is_star_literal && has_stars && !is_expression {
            let instead = match name {
                "paths" => "; write `{*}` for one segment of a path, `{**}` for any",
                _ => "",
            };
            let text = format!(
                "only one `*` is a wildcard, at the start or at the end: any other is a plain `*`{instead}"
            );
            self.found(
                value.source,
                Code::LiteralStar,
                value.node.span.clone(),
                text,
            );
        }
        match name {
            "hosts" => self.host(value, beside),
            "methods" if text.contains(|c: char| c.is_ascii_lowercase()) => self.never(
                value,
                format!(
                    "methods are case-sensitive, and clients send them in capitals; write `{}`",
                    text.to_ascii_uppercase()
                ),
            ),
            "paths" if is_expression => self.never(value, expression(text)),
            "paths" => self.path(value),
            "principals" | "source.principal" => self.peer(value, name),
            "requestPrincipals" | "request.auth.principal" => self.request_principal(value),
            "request.auth.audiences" | "request.auth.claims[aud]" => self.audience(value),
            "request.auth.claims[iss]" => self.issuer_claim(value),
            "request.auth.claims[permission]" | "request.auth.claims[scope]" => self.words(value),
            _ => {}
        }
    }

    pub(super) fn never(&mut self, value: &Value<'_>, why: String) {
        let code = Code::NeverMatches;
        self.found(value.source, code, value.node.span.clone(), why);
    }

    /// A request names its port where it isn't the scheme's own, and may always.
    fn host(&mut self, value: &Value<'_>, beside: &[Node]) {
        let host = value.text;
        if host.contains('/') {
            let name = host.rsplit("://").next().unwrap_or(host);
            let name = name.split('/').next().unwrap_or(name);
            let why = format!("a host has no scheme and no path; write `{name}`");
            return self.never(value, why);
        }
        let opens = match value.policy.action.as_str() {
            "DENY" | "CUSTOM" => !value.is_negative,
            "ALLOW" => value.is_negative,
            _ => false,
        };
        let with_port = format!("{host}:*");
        let is_beside = beside.iter().any(|other| other.text() == Some(&with_port));
        let names_port = host.rsplit(']').next().unwrap_or(host).contains(':');
        if opens && !names_port && !host.ends_with('*') && !is_beside && !self.ignores_host_port {
            // Of two stars one is itself, so a pattern can't have another for the port.
            let (beside, example) = match host.strip_prefix('*') {
                Some(end) => (String::new(), format!("a{end}")),
                None => (format!("`{with_port}` beside it, or "), host.to_owned()),
            };
            let text = format!(
                "the port of a request is compared, too: one for `{example}:8080` gets around the policy; write \
                 {beside}`ignoreHostPort: true` in the plugin's configuration"
            );
            let span = value.node.span.clone();
            self.found(value.source, Code::HostWithoutPort, span, text);
        }
    }

    /// Whether a path that is kept out gets in under another form of it.
    fn forms(&mut self, policy: &Policy, rule: &Node, (yes, no): (Option<&Node>, Option<&Node>)) {
        let is_as_sent = matches!(self.normalization, Normalization::None);
        let has_slashes =
            matches!(self.normalization, Normalization::Base) && !self.refuses_ambiguous;
        let kept_out = match policy.action.as_str() {
            // Where paths are listed that get in, another form isn't one of them.
            "ALLOW" if yes.is_none() && (is_as_sent || has_slashes) => no,
            "DENY" if is_as_sent => yes,
            _ => None,
        };
        // Where some are let in, and health checks are another rule's, another form of those is no secret.
        let is_of_some = policy.action == "ALLOW" && rule.members().len() > 1;
        // Of `/`, `/*` and `/{**}` there is no other form.
        let is_below = |text: &str| {
            let mut start = text.strip_prefix('/').unwrap_or_default().chars();
            start.next().is_some_and(|next| !"*{".contains(next))
                && !(is_of_some && is_public(text))
        };
        let mut values = kept_out.map(Node::items).unwrap_or_default().iter();
        let first =
            values.find_map(|node| Some((node, node.text().filter(|text| is_below(text))?)));
        let Some((node, path)) = first else {
            return;
        };
        let sample = path
            .replace("{**}", "x")
            .replace("{*}", "x")
            .replace('*', "x");
        let (form, instead) = match is_as_sent {
            true => ("/.", "leave `pathNormalization: NONE` out"),
            false => ("/", "write `pathNormalization: MERGE_SLASHES`"),
        };
        let text = format!(
            "a request for `{form}{sample}` gets around this, and many upstreams serve `{sample}` for it; \
             {instead}, or write an ALLOW policy that lists the paths that are allowed"
        );
        self.found(&policy.source, Code::PathForms, node.span.clone(), text);
    }

    /// RFC 6749 section 3.3: scopes are words with a blank between two.
    fn words(&mut self, value: &Value<'_>) {
        if value.text.trim().contains(' ') {
            let why = "this claim is a list of words, which are compared one by one, and no word has a blank in it; \
                       write each word as a value, and in a condition of its own if all are required"
                .to_owned();
            self.never(value, why);
        }
    }

    fn path(&mut self, value: &Value<'_>) {
        let path = value.text;
        if !path.starts_with(['/', '*', '{']) {
            let why = format!("the path of a request starts with `/`; write `/{path}`");
            return self.never(value, why);
        }
        if let Some((before, _)) = path.split_once(['?', '#']) {
            let why = format!("paths are compared without their query; write `{before}`");
            return self.never(value, why);
        }
        // Whatever stands for something else is taken to be a letter.
        let sample = path.replace("{**}", "x").replace("{*}", "x");
        let sample = match sample.strip_prefix('*') {
            Some(rest) => format!("/x{rest}"),
            None => sample,
        };
        let sample = match sample.strip_suffix('*') {
            Some(start) => format!("{start}x"),
            None => sample,
        };
        match self.normalization.normalized(sample.as_bytes()) {
            Ok(normalized) if *normalized == *sample.as_bytes() => {}
            Ok(normalized) if sample == path => {
                let why = format!(
                    "paths are normalised before they are compared, and no normalised path is like this; write `{}`",
                    String::from_utf8_lossy(&normalized)
                );
                self.found(
                    value.source,
                    Code::NotNormalized,
                    value.node.span.clone(),
                    why,
                );
            }
            Ok(_) => self.found(
                value.source,
                Code::NotNormalized,
                value.node.span.clone(),
                "paths are normalised before they are compared, and no normalised path is like this; write it \
                 without dot segments and needless escapes"
                    .to_owned(),
            ),
            Err(_) => self.never(
                value,
                "a request with such a path is refused before policies are asked".to_owned(),
            ),
        }
    }
}

/// Whether a path is written as a regular expression.
fn is_expression(path: &str) -> bool {
    let parts = [
        ".*", ".+", "[0-9", "[A-Z", "[^", "[a-z", "\\d", "\\w", "\\.",
    ];
    path.starts_with('^')
        || path.ends_with('$')
        || parts.iter().any(|part| path.contains(part))
        || path.contains('(') && path.contains('|')
}

/// What is wrong with that, and what to write where it can be told.
fn expression(path: &str) -> String {
    let mut plain = path
        .trim_start_matches('^')
        .trim_end_matches('$')
        .replace("\\.", ".");
    for (part, instead) in [
        (".*", "{**}"),
        (".+", "{**}"),
        ("[^/]+", "{*}"),
        ("[^/]*", "{*}"),
        ("[0-9]+", "{*}"),
        ("[a-z]+", "{*}"),
        ("[a-z0-9-]+", "{*}"),
        ("\\d+", "{*}"),
        ("\\w+", "{*}"),
    ] {
        plain = plain.replace(part, instead);
    }
    // `/a/*` and `*.js` are older, and all that most need.
    if let Some(start) = plain
        .strip_suffix("{**}")
        .filter(|start| !start.contains('{'))
    {
        plain = format!("{start}*");
    }
    let is_plain = !plain.contains(['(', '[', '\\', '|', '+', '^', '$']);
    let is_segment = |part: &str| !part.contains('{') || matches!(part, "{*}" | "{**}");
    let instead = match is_plain && plain.split('/').all(is_segment) && plain.starts_with('/') {
        true => format!("write `{plain}`"),
        false => "write each path, `{*}` for one segment, `{**}` for any number".to_owned(),
    };
    format!("paths are no regular expressions, and no path looks like this; {instead}")
}
