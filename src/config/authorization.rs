//! The rules of an `AuthorizationPolicy`, read into the conditions that are evaluated.

use super::reader::{Input, Read, record};
use super::text::{HeaderName, Text};
use crate::authz::{Condition, PrincipalMatch, Rule, Test};
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;

/// What a matching policy does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Action {
    #[default]
    Allow,
    Deny,
}

impl Read for Action {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "ALLOW" => Some(Self::Allow),
            "DENY" => Some(Self::Deny),
            action @ ("AUDIT" | "CUSTOM") => {
                input.mistake(format!(
                    "{action} is not supported by this version of Portcullis: write ALLOW or DENY"
                ));
                None
            }
            _ => {
                input.mistake("unknown action: write ALLOW or DENY");
                None
            }
        }
    }
}

/// A DENY policy without rules could never deny, which is not what anybody means by one.
pub(crate) fn check_action(
    action: Option<Action>,
    rules: &[AuthorizationRules],
    input: &Input<'_>,
) {
    if action == Some(Action::Deny) && rules.is_empty() {
        input.mistake(
            "DENY without `rules` would never be triggered: \
             write `rules: [{}]` to deny every request",
        );
    }
}

/// One rule of a policy.
#[derive(Debug)]
pub(crate) struct AuthorizationRules(pub(crate) Rule);

record! {
    /// Istio's `Rule`.
    pub(crate) struct RuleFields {
        /// Who: one of these must match.
        from: Option<Vec<From>>,
        /// What: one of these must match.
        to: Option<Vec<To>>,
        /// All of these must match.
        when: Vec<When>,
    }
}

impl Read for AuthorizationRules {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = RuleFields::read(input)?;
        if fields.from.as_ref().is_some_and(Vec::is_empty) {
            input.mistake("`from` must not be empty: remove it to match any source");
        }
        if fields.to.as_ref().is_some_and(Vec::is_empty) {
            input.mistake("`to` must not be empty: remove it to match any operation");
        }
        let from = fields.from.unwrap_or_default().into_iter();
        let to = fields.to.unwrap_or_default().into_iter();
        Some(Self(Rule {
            from: from.map(|from| from.source.0).collect(),
            to: to.map(|to| to.operation.0).collect(),
            when: fields.when.into_iter().flat_map(|when| when.0).collect(),
        }))
    }
}

record! {
    /// Istio's `Rule.From`.
    pub(crate) struct From {
        /// A source matches if all of its fields do.
        source: Source,
    }
}

record! {
    /// Istio's `Rule.To`.
    pub(crate) struct To {
        /// An operation matches if all of its fields do.
        operation: Operation,
    }
}

/// All of these must hold.
#[derive(Debug)]
pub(crate) struct Source(Vec<Condition>);

/// All of these must hold.
#[derive(Debug)]
pub(crate) struct Operation(Vec<Condition>);

record! {
    /// Istio's `Source`.
    pub(crate) struct SourceFields {
        /// Identities of tokens: `issuer/subject`.
        request_principals: Vec<PrincipalMatch>,
        /// Identities of tokens that don't match.
        not_request_principals: Vec<PrincipalMatch>,
    }
    not_yet {
        principals, not_principals, namespaces, not_namespaces, service_accounts,
        not_service_accounts, trust_domains, not_trust_domains, ip_blocks, not_ip_blocks,
        remote_ip_blocks, not_remote_ip_blocks,
    }
}

impl Read for Source {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = SourceFields::read(input)?;
        let conditions = conditions([
            (false, Test::RequestPrincipal(fields.request_principals)),
            (true, Test::RequestPrincipal(fields.not_request_principals)),
        ]);
        if conditions.is_empty() {
            input.mistake("`source` must not be empty: remove `from` to match any source");
        }
        Some(Self(conditions))
    }
}

record! {
    /// Istio's `Operation`.
    pub(crate) struct OperationFields {
        /// Hosts, compared without case, with the port where the request has one.
        hosts: Vec<Text>,
        /// Hosts that don't match.
        not_hosts: Vec<Text>,
        /// Methods.
        methods: Vec<Text>,
        /// Methods that don't match.
        not_methods: Vec<Text>,
        /// Paths, compared without the query.
        paths: Vec<PathPattern>,
        /// Paths that don't match.
        not_paths: Vec<PathPattern>,
    }
    not_yet {
        ports, not_ports,
    }
}

impl Read for Operation {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = OperationFields::read(input)?;
        let hosts = |texts: Vec<Text>| Test::Host(compile(&texts, StringMatch::host));
        let methods = |texts: Vec<Text>| {
            Test::Header(":method".to_owned(), compile(&texts, StringMatch::header))
        };
        let paths = |paths: Vec<PathPattern>| Test::Path(paths.into_iter().map(|p| p.0).collect());
        let conditions = conditions([
            (false, hosts(fields.hosts)),
            (true, hosts(fields.not_hosts)),
            (false, methods(fields.methods)),
            (true, methods(fields.not_methods)),
            (false, paths(fields.paths)),
            (true, paths(fields.not_paths)),
        ]);
        if conditions.is_empty() {
            input.mistake("`operation` must not be empty: remove `to` to match any operation");
        }
        Some(Self(conditions))
    }
}

fn compile(texts: &[Text], pattern: impl Fn(&str) -> StringMatch) -> Vec<StringMatch> {
    texts.iter().map(|text| pattern(&text.0)).collect()
}

/// A field that lists nothing says nothing.
fn conditions<const N: usize>(fields: [(bool, Test); N]) -> Vec<Condition> {
    let stated = fields.into_iter().filter(|(_, test)| !test.is_empty());
    stated
        .map(|(negated, test)| Condition { negated, test })
        .collect()
}

/// A pattern for paths.
#[derive(Debug)]
pub(crate) struct PathPattern(StringMatch);

impl Read for PathPattern {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(path) = Text::read(input)?;
        if path.contains(['{', '}']) {
            input.mistake("path templates are not supported by this version of Portcullis");
            return None;
        }
        Some(Self(StringMatch::text(&path)))
    }
}

impl Read for PrincipalMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        Text::read(input).map(|Text(text)| Self::parse(&text))
    }
}

/// Istio's `Condition`: one for `values`, one for `notValues`.
#[derive(Debug)]
pub(crate) struct When(Vec<Condition>);

impl Read for When {
    fn read(input: &Input<'_>) -> Option<Self> {
        let object = input.object()?;
        object.deny_unknown(&["key", "values", "not_values"], &[], &[]);
        let key = object.field::<Key>("key");
        let values = object.field::<Vec<Text>>("values");
        let not_values = object.field::<Vec<Text>>("not_values");
        let (key, values, not_values) = (key?, values?, not_values?);
        if values.is_empty() && not_values.is_empty() {
            input.mistake("write at least one of `values` and `notValues`");
        }
        Some(Self(conditions([
            (false, key.test(&values)),
            (true, key.test(&not_values)),
        ])))
    }
}

/// The attribute that a condition looks at.
#[derive(Clone, Debug)]
enum Key {
    Claim(ClaimPath),
    Header(String),
    RequestPrincipal,
}

impl Key {
    fn test(&self, values: &[Text]) -> Test {
        match self {
            Self::Claim(path) => Test::Claim(path.clone(), compile(values, StringMatch::text)),
            Self::Header(name) => Test::Header(name.clone(), compile(values, StringMatch::header)),
            Self::RequestPrincipal => {
                Test::RequestPrincipal(values.iter().map(|v| PrincipalMatch::parse(&v.0)).collect())
            }
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(rest) = text.strip_prefix("request.auth.claims") {
            return ClaimPath::bracketed(rest)
                .map(Self::Claim)
                .ok_or("write the claim in brackets: `request.auth.claims[iss]`");
        }
        if let Some(rest) = text.strip_prefix("request.headers") {
            return header_in_brackets(rest)
                .map(Self::Header)
                .ok_or("write the header in brackets: `request.headers[User-Agent]`");
        }
        match text {
            "" => Err("an empty key can't be decided: write for example `request.headers[x-a]`"),
            "request.auth.principal" => Ok(Self::RequestPrincipal),
            "request.auth.audiences" => Ok(Self::Claim(ClaimPath::top("aud"))),
            "request.auth.presenter" => Ok(Self::Claim(ClaimPath::top("azp"))),
            "source.ip"
            | "remote.ip"
            | "source.namespace"
            | "source.serviceAccount"
            | "source.trustDomain"
            | "source.principal"
            | "destination.ip"
            | "destination.port"
            | "connection.sni" => {
                Err("this attribute is not supported by this version of Portcullis")
            }
            text if text.starts_with("experimental.envoy.filters.") => {
                Err("this attribute is not supported by this version of Portcullis")
            }
            text if text.starts_with("destination.labels") => {
                Err("this attribute was replaced by the resource's `selector`")
            }
            "destination.namespace" => {
                Err("this attribute was replaced by the resource's `metadata.namespace`")
            }
            _ => Err("unknown attribute: write `request.auth.claims[...]`, \
                      `request.headers[...]`, `request.auth.principal`, \
                      `request.auth.audiences` or `request.auth.presenter`"),
        }
    }
}

/// Pseudo-headers are addressed by their own name, as in Istio.
fn header_in_brackets(text: &str) -> Option<String> {
    let name = text.strip_prefix('[')?.strip_suffix(']')?;
    match name.strip_prefix(':') {
        Some(pseudo) => HeaderName::parse(pseudo).map(|name| format!(":{}", name.0)),
        None if name.eq_ignore_ascii_case("host") => Some(":authority".to_owned()),
        None => HeaderName::parse(name).map(|name| name.0),
    }
}

impl Read for Key {
    fn read(input: &Input<'_>) -> Option<Self> {
        Self::parse(input.text()?)
            .map_err(|error| input.mistake(error))
            .ok()
    }
}
