//! The rules of an `AuthorizationPolicy`, read into the conditions that are evaluated.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::comparison;
use super::reader::{Dialect, Input, Object, Read, record};
use super::schema::{Field, Schemas, a, any_of, one_of};
use super::text::{HeaderName, Text};
use crate::authz::{
    Condition, HostMatch, MetadataMatch, PathMatch, PeerPattern, PrincipalMatch, Rule, Test,
};
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;

/// What a matching policy does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Action {
    #[default]
    Allow,
    /// Nothing, but leave a line in the log.
    Audit,
    /// Has a service asked.
    Custom,
    Deny,
}

impl Read for Action {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "ALLOW" => Some(Self::Allow),
            "AUDIT" => Some(Self::Audit),
            "CUSTOM" => Some(Self::Custom),
            "DENY" => Some(Self::Deny),
            _ => {
                input.mistake("unknown action: write ALLOW, DENY, AUDIT or CUSTOM");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["ALLOW", "AUDIT", "CUSTOM", "DENY"])
    }
}

record! {
    /// Istio's `AuthorizationPolicy.ExtensionProvider`.
    pub(crate) struct Provider {
        /// One of `extensionProviders`.
        name: Text,
    }
}

/// A DENY policy without rules could never deny, which is not what anybody means by one; CUSTOM is
/// decided before tokens are looked at, and Istio takes no identity of a peer there either.
pub(crate) fn check_action(
    action: Action,
    provider: Option<&Provider>,
    rules: &[AuthorizationRules],
    input: &Input<'_>,
) {
    let never = match action {
        Action::Allow | Action::Audit => None,
        Action::Custom => Some(
            "CUSTOM without `rules` would never be triggered: \
                                write `rules: [{}]` to have every request checked",
        ),
        Action::Deny => Some(
            "DENY without `rules` would never be triggered: \
                              write `rules: [{}]` to deny every request",
        ),
    };
    if let Some(message) = never.filter(|_| rules.is_empty()) {
        input.mistake(message);
    }
    match (action, provider) {
        (Action::Custom, None) => {
            input.mistake("CUSTOM needs `provider.name`: write one of `extensionProviders`");
        }
        (Action::Custom, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            input.mistake("`provider` is for the action CUSTOM: remove it, or write CUSTOM");
        }
    }
    if action == Action::Custom {
        for (index, AuthorizationRules(rule)) in rules.iter().enumerate() {
            for attribute in rule.conditions().filter_map(|c| c.test.of_identity()) {
                input.mistake(format!(
                    "`rules[{index}]`: {attribute} can't be decided upon with the action CUSTOM, \
                     which comes before tokens are looked at: write it in an ALLOW or DENY policy"
                ));
            }
        }
    }
}

/// As Istio's webhook says it.
pub(crate) fn check_dry_run(action: Action, input: &Input<'_>) {
    if !matches!(action, Action::Allow | Action::Deny) {
        input.mistake("a dry run is for the actions ALLOW and DENY only: remove it");
    }
}

/// One rule of a policy.
#[derive(Debug)]
pub(crate) struct AuthorizationRules(pub(crate) Rule<PeerPattern>);

record! {
    /// Istio's `Rule`.
    pub(crate) struct RuleFields {
        /// Who: one of these must match. Default: anybody.
        from: Option<Vec<From>>,
        /// What: one of these must match. Default: anything.
        to: Option<Vec<To>>,
        /// All of these must match. Those on claims and scopes are for the short form only.
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

    fn schema(schemas: &mut Schemas) -> Value {
        RuleFields::schema(schemas)
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
pub(crate) struct Source(Vec<Condition<PeerPattern>>);

/// All of these must hold.
#[derive(Debug)]
pub(crate) struct Operation(Vec<Condition<PeerPattern>>);

record! {
    /// Istio's `Source`.
    pub(crate) struct SourceFields {
        /// Addresses of TCP peers: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`. Behind a proxy they need a
        /// filter ahead.
        ip_blocks: Vec<IpNet>,
        /// Addresses that don't match.
        not_ip_blocks: Vec<IpNet>,
        /// Namespaces of peers, by their certificates; a `*` anywhere is any text.
        namespaces: Vec<Text>,
        /// Namespaces that don't match.
        not_namespaces: Vec<Text>,
        /// Identities of peers by their certificates, without `spiffe://`:
        /// `cluster.local/ns/foo/sa/web`. A trust domain of ours means ours under all of its names.
        principals: Vec<Text>,
        /// Identities that don't match.
        not_principals: Vec<Text>,
        /// Addresses of clients, as trusted proxies report them.
        remote_ip_blocks: Vec<IpNet>,
        /// Addresses that don't match.
        not_remote_ip_blocks: Vec<IpNet>,
        /// Identities of tokens: `issuer/subject`.
        request_principals: Vec<PrincipalMatch>,
        /// Identities of tokens that don't match.
        not_request_principals: Vec<PrincipalMatch>,
        /// Service accounts of peers: `namespace/name`, or a name in the namespace of the policy;
        /// at most 16, without `*`, and not beside `principals` or `namespaces`.
        service_accounts: Vec<ServiceAccount>,
        /// Service accounts that don't match.
        not_service_accounts: Vec<ServiceAccount>,
        /// Trust domains of peers, with at most one `*`, at an end.
        trust_domains: Vec<TrustDomain>,
        /// Trust domains that don't match.
        not_trust_domains: Vec<TrustDomain>,
    }
    check check_source;
}

/// As Istio's webhook says it.
fn check_source(source: &SourceFields, input: &Input<'_>) {
    let accounts = [&source.service_accounts, &source.not_service_accounts];
    let others = [
        &source.principals,
        &source.not_principals,
        &source.namespaces,
        &source.not_namespaces,
    ];
    if accounts.iter().any(|list| !list.is_empty()) && others.iter().any(|list| !list.is_empty()) {
        input.mistake(
            "`serviceAccounts` can't stand beside `principals` and `namespaces`: write two sources",
        );
    }
    if accounts.iter().any(|list| list.len() > MAX_ACCOUNTS) {
        input.mistake(format!(
            "`serviceAccounts` may not have more than {MAX_ACCOUNTS} values: write two sources"
        ));
    }
}

impl Read for Source {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = SourceFields::read(input)?;
        let peers = |texts: Vec<Text>, pattern: fn(String) -> PeerPattern| {
            Test::Peer(texts.into_iter().map(|text| pattern(text.0)).collect())
        };
        let accounts = |accounts: Vec<ServiceAccount>| {
            Test::Peer(accounts.into_iter().map(|account| account.0).collect())
        };
        let domains = |domains: Vec<TrustDomain>| {
            Test::Peer(domains.into_iter().map(|domain| domain.0).collect())
        };
        let conditions = conditions([
            (false, Test::RequestPrincipal(fields.request_principals)),
            (true, Test::RequestPrincipal(fields.not_request_principals)),
            (false, peers(fields.principals, PeerPattern::Principal)),
            (true, peers(fields.not_principals, PeerPattern::Principal)),
            (false, peers(fields.namespaces, PeerPattern::Namespace)),
            (true, peers(fields.not_namespaces, PeerPattern::Namespace)),
            (false, accounts(fields.service_accounts)),
            (true, accounts(fields.not_service_accounts)),
            (false, domains(fields.trust_domains)),
            (true, domains(fields.not_trust_domains)),
            (false, Test::DirectIp(fields.ip_blocks)),
            (true, Test::DirectIp(fields.not_ip_blocks)),
            (false, Test::RemoteIp(fields.remote_ip_blocks)),
            (true, Test::RemoteIp(fields.not_remote_ip_blocks)),
        ]);
        if conditions.is_empty() {
            input.mistake("`source` must not be empty: remove `from` to match any source");
        }
        Some(Self(conditions))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        SourceFields::schema(schemas)
    }
}

record! {
    /// Istio's `Operation`.
    pub(crate) struct OperationFields {
        /// Hosts, whole, with the port where the request has one; case doesn't count.
        hosts: Vec<HostMatch>,
        /// Hosts that don't match.
        not_hosts: Vec<HostMatch>,
        /// Methods, such as `GET`.
        methods: Vec<Text>,
        /// Methods that don't match.
        not_methods: Vec<Text>,
        /// Paths, without the query. In a template the segment `{*}` is one segment, which isn't
        /// empty, and `{**}` anything, also nothing; `{**}` is the last of them:
        /// `/foo/{*}/bar/{**}`.
        paths: Vec<PathMatch>,
        /// Paths that don't match.
        not_paths: Vec<PathMatch>,
        /// Our own ports, in quotes.
        ports: Vec<Port>,
        /// Ports that don't match.
        not_ports: Vec<Port>,
    }
}

impl Read for Operation {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = OperationFields::read(input)?;
        let methods = |texts: Vec<Text>| {
            Test::Header(":method".to_owned(), compile(&texts, StringMatch::header))
        };
        let ports = |ports: Vec<Port>| {
            Test::DestinationPort(ports.into_iter().map(|port| port.0).collect())
        };
        let conditions = conditions([
            (false, Test::Host(fields.hosts)),
            (true, Test::Host(fields.not_hosts)),
            (false, methods(fields.methods)),
            (true, methods(fields.not_methods)),
            (false, Test::Path(fields.paths)),
            (true, Test::Path(fields.not_paths)),
            (false, ports(fields.ports)),
            (true, ports(fields.not_ports)),
        ]);
        if conditions.is_empty() {
            input.mistake("`operation` must not be empty: remove `to` to match any operation");
        }
        Some(Self(conditions))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        OperationFields::schema(schemas)
    }
}

fn compile<T>(texts: &[Text], pattern: impl Fn(&str) -> T) -> Vec<T> {
    texts.iter().map(|text| pattern(&text.0)).collect()
}

/// A field that lists nothing says nothing.
fn conditions<const N: usize>(
    fields: [(bool, Test<PeerPattern>); N],
) -> Vec<Condition<PeerPattern>> {
    let stated = fields.into_iter().filter(|(_, test)| !test.is_empty());
    stated
        .map(|(negated, test)| Condition { negated, test })
        .collect()
}

impl Read for HostMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(host) = Text::read(input)?;
        let ignores_port = input.ignores_host_port();
        // Any port is none in particular.
        let name = match ignores_port {
            true => host.strip_suffix(":*").unwrap_or(&host),
            false => &host,
        };
        let after_address = name.rsplit(']').next().unwrap_or(name);
        if ignores_port && after_address.contains(':') {
            input.mistake(
                "`ignoreHostPort` leaves no port to compare: write the host without, or `:*`",
            );
            return None;
        }
        Some(Self {
            pattern: StringMatch::host(name),
            ignores_port,
        })
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for PathMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(path) = Text::read(input)?;
        Self::parse(&path)
            .map_err(|error| input.mistake(error))
            .ok()
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A port, which Istio writes as a string.
#[derive(Debug)]
pub(crate) struct Port(u16);

impl Read for Port {
    fn read(input: &Input<'_>) -> Option<Self> {
        let port = input.text()?.parse().ok().map(Self);
        if port.is_none() {
            input.mistake("not a port: write a number from 0 to 65535 in quotes");
        }
        port
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for IpNet {
    fn read(input: &Input<'_>) -> Option<Self> {
        let text = input.text()?;
        let single = || text.parse::<IpAddr>().ok().map(Self::from);
        let block = text.parse().ok().or_else(single);
        if block.is_none() {
            input.mistake(
                "not an address: write for example `10.1.2.3`, `10.0.0.0/8` or `fd00::/8`",
            );
        }
        block
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Istio's limits on `serviceAccounts`.
const MAX_ACCOUNTS: usize = 16;
const MAX_ACCOUNT_LENGTH: usize = 320;

/// `namespace/name`, or a name.
#[derive(Debug)]
pub(crate) struct ServiceAccount(PeerPattern);

impl Read for ServiceAccount {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(account) = Text::read(input)?;
        let parts: Vec<&str> = account.split('/').collect();
        if account.contains('*') {
            input.mistake("a service account can't have wildcards: write it whole");
        } else if parts.len() > 2 || parts.contains(&"") {
            input.mistake("not a service account: write `name` or `namespace/name`");
        } else if account.len() > MAX_ACCOUNT_LENGTH {
            input.mistake(format!(
                "a service account can't be longer than {MAX_ACCOUNT_LENGTH} characters"
            ));
        } else {
            return Some(Self(PeerPattern::ServiceAccount(account)));
        }
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A trust domain, with at most one `*` at an end.
#[derive(Debug)]
pub(crate) struct TrustDomain(PeerPattern);

impl Read for TrustDomain {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(domain) = Text::read(input)?;
        let inner = domain
            .strip_prefix('*')
            .or_else(|| domain.strip_suffix('*'));
        if inner.unwrap_or(&domain).contains('*') {
            input.mistake("a trust domain has at most one `*`, at its start or end");
        } else if domain.contains('/') {
            input.mistake("a trust domain has no `/`: write only the domain");
        } else {
            return Some(Self(PeerPattern::TrustDomain(domain)));
        }
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for PrincipalMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        Text::read(input).map(|Text(text)| Self::parse(&text))
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Istio's `Condition`: one for `values`, one for `notValues`. Or, beyond Istio, comparisons.
#[derive(Debug)]
pub(crate) struct When(Vec<Condition<PeerPattern>>);

impl Read for When {
    fn read(input: &Input<'_>) -> Option<Self> {
        if let Some(conditions) = comparison::conditions(input) {
            return conditions.map(Self);
        }
        let object = input.object()?;
        object.deny_unknown(&["key", "values", "not_values"], &["claim", "scopes"], &[]);
        let key = object.field::<Key>("key")?;
        let (values, not_values) = (
            key.values(&object, "values"),
            key.values(&object, "not_values"),
        );
        let (values, not_values) = (values?, not_values?);
        if values.is_empty() && not_values.is_empty() {
            input.mistake("write at least one of `values` and `notValues`");
        }
        Some(Self(conditions([(false, values), (true, not_values)])))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let fields = [
            Field::of::<Key>("key", &["The attribute that is looked at."]),
            Field::of::<Vec<Text>>("values", &["One of these must match."]),
            Field::of::<Vec<Text>>("not_values", &["None of these may match."]),
        ];
        let condition = schemas.record(module_path!(), "When", &fields);
        match schemas.dialect() {
            Dialect::Istio => condition,
            Dialect::Short => any_of([
                condition,
                comparison::ClaimFields::schema(schemas),
                comparison::ScopesFields::schema(schemas),
            ]),
        }
    }
}

/// The attribute that a condition looks at.
#[derive(Clone, Debug)]
enum Key {
    Claim(ClaimPath),
    DestinationIp,
    DestinationPort,
    DirectIp,
    Header(String),
    Metadata { filter: String, key: String },
    Namespace,
    Principal,
    RemoteIp,
    RequestPrincipal,
    ServerName,
    ServiceAccount,
    TrustDomain,
}

impl Key {
    /// What a field with values asks for.
    fn values(&self, object: &Object<'_>, field: &str) -> Option<Test<PeerPattern>> {
        let texts = || object.field::<Vec<Text>>(field);
        let blocks = || object.field::<Vec<IpNet>>(field);
        let strings = |pattern: fn(&str) -> StringMatch| Some(compile(&texts()?, pattern));
        let peers = |pattern: fn(String) -> PeerPattern| {
            Some(texts()?.into_iter().map(|text| pattern(text.0)).collect())
        };
        Some(match self {
            Self::Claim(path) => Test::Claim(path.clone(), strings(StringMatch::text)?),
            Self::DestinationIp => Test::DestinationIp(blocks()?),
            Self::DestinationPort => {
                let ports = object.field::<Vec<Port>>(field)?;
                Test::DestinationPort(ports.into_iter().map(|port| port.0).collect())
            }
            Self::DirectIp => Test::DirectIp(blocks()?),
            Self::Header(name) => Test::Header(name.clone(), strings(StringMatch::header)?),
            Self::Metadata { filter, key } => Test::Metadata {
                filter: filter.clone(),
                key: key.clone(),
                patterns: compile(&texts()?, MetadataMatch::parse),
            },
            Self::Namespace => Test::Peer(peers(PeerPattern::Namespace)?),
            Self::Principal => Test::Peer(peers(PeerPattern::Principal)?),
            Self::RemoteIp => Test::RemoteIp(blocks()?),
            Self::RequestPrincipal => {
                Test::RequestPrincipal(object.field::<Vec<PrincipalMatch>>(field)?)
            }
            Self::ServerName => Test::ServerName(strings(StringMatch::text)?),
            Self::ServiceAccount => {
                let accounts = object.field::<Vec<ServiceAccount>>(field)?;
                Test::Peer(accounts.into_iter().map(|account| account.0).collect())
            }
            Self::TrustDomain => {
                let domains = object.field::<Vec<TrustDomain>>(field)?;
                Test::Peer(domains.into_iter().map(|domain| domain.0).collect())
            }
        })
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
        if let Some(rest) = text.strip_prefix("experimental.") {
            return metadata(rest).ok_or(
                "write the filter and its key: `experimental.envoy.filters.network.mysql_proxy[db]`",
            );
        }
        match text {
            "" => Err("an empty key can't be decided: write for example `request.headers[x-a]`"),
            "connection.sni" => Ok(Self::ServerName),
            "destination.ip" => Ok(Self::DestinationIp),
            "destination.port" => Ok(Self::DestinationPort),
            "remote.ip" => Ok(Self::RemoteIp),
            "request.auth.audiences" => Ok(Self::Claim(ClaimPath::top("aud"))),
            "request.auth.presenter" => Ok(Self::Claim(ClaimPath::top("azp"))),
            "request.auth.principal" => Ok(Self::RequestPrincipal),
            "source.ip" => Ok(Self::DirectIp),
            "source.namespace" => Ok(Self::Namespace),
            "source.principal" => Ok(Self::Principal),
            "source.serviceAccount" => Ok(Self::ServiceAccount),
            "source.trustDomain" => Ok(Self::TrustDomain),
            text if text.starts_with("destination.labels") => {
                Err("this attribute was replaced by the resource's `selector`")
            }
            "destination.namespace" => {
                Err("this attribute was replaced by the resource's `metadata.namespace`")
            }
            "destination.name" | "destination.user" => {
                Err("this attribute is no more: the resource's `selector` says whom it is for")
            }
            _ => Err("unknown attribute: write one of `request.headers[...]`, \
                      `request.auth.claims[...]`, `request.auth.principal`, \
                      `request.auth.audiences`, `request.auth.presenter`, `source.ip`, \
                      `source.namespace`, `source.principal`, `source.serviceAccount`, \
                      `source.trustDomain`, `remote.ip`, `destination.ip`, `destination.port`, \
                      `connection.sni`"),
        }
    }
}

/// `envoy.filters.a.b[key]`
fn metadata(text: &str) -> Option<Key> {
    let (filter, key) = text.strip_suffix(']')?.split_once('[')?;
    let is_named = filter.starts_with("envoy.filters.") && !key.is_empty();
    is_named.then(|| Key::Metadata {
        filter: filter.to_owned(),
        key: key.to_owned(),
    })
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

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}
