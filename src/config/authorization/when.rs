//! Conditions of a rule, by the attribute that each looks at.

use ipnet::IpNet;
use serde_json::Value;

use super::operation::Port;
use super::source::{ServiceAccount, TrustDomain};
use super::{compile, conditions};
use crate::authz::{Condition, MetadataMatch, PeerPattern, PrincipalMatch, Test};
use crate::config::comparison;
use crate::config::reader::{Dialect, Input, Object, Read};
use crate::config::schema::{Field, Schemas, a, any_of};
use crate::config::text::{HeaderName, Text};
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;

/// Istio's `Condition`: one for `values`, one for `notValues`. Or, beyond Istio, comparisons.
#[derive(Debug)]
pub(crate) struct When(pub(super) Vec<Condition<PeerPattern>>);

impl Read for When {
    fn read(input: &Input<'_>) -> Option<Self> {
        if let Some(conditions) = comparison::conditions(input) {
            return conditions.map(Self);
        }
        let object = input.object()?;
        let beyond = ["claim", "scopes", "separator"];
        object.deny_unknown(&["key", "values", "not_values"], &beyond, &[]);
        let separator = object.field::<Option<Separator>>("separator")?;
        let mut key = object.field::<Key>("key")?;
        if let Some(Separator(byte)) = separator {
            key = key.separated(byte, input)?;
        }
        let (values, not_values) = (
            key.values(&object, "values"),
            key.values(&object, "not_values"),
        );
        let (values, not_values) = (values?, not_values?);
        if values.is_empty() && not_values.is_empty() {
            input.mistake("write at least one of `values` and `notValues`");
        }
        for test in [&values, &not_values] {
            check_items(test, input);
        }
        Some(Self(conditions([(false, values), (true, not_values)])))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let fields = [
            Field::of::<Key>("key", &["The attribute that is looked at."]),
            Field::of::<Vec<Text>>("values", &["One of these must match."]),
            Field::of::<Vec<Text>>("not_values", &["None of these may match."]),
            Field::of::<Option<Separator>>(
                "separator",
                &[
                    "Of a header that is a list: what stands between its items, of which one must match, or",
                    "none may. Such as `,`.",
                ],
            )
            .beyond(),
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

/// Says which values no item of a header can be.
fn check_items(test: &Test<PeerPattern>, input: &Input<'_>) {
    let Test::HeaderItem(_, separator, patterns) = test else {
        return;
    };
    for pattern in patterns.iter().map(ToString::to_string) {
        if pattern.trim() != pattern || pattern.contains(char::from(*separator)) {
            input.mistake(format!(
                "no item is `{pattern}`, since items have no separator in them and no blanks at \
                 their ends: write each item by itself"
            ));
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
    HeaderItem(String, u8),
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
            Self::HeaderItem(name, separator) => {
                Test::HeaderItem(name.clone(), *separator, strings(StringMatch::header)?)
            }
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

    /// The same, of a list of such.
    fn separated(self, separator: u8, input: &Input<'_>) -> Option<Self> {
        match self {
            Self::Header(name) if !name.starts_with(':') => Some(Self::HeaderItem(name, separator)),
            _ => {
                input.mistake(
                    "`separator` is for headers that are lists: remove it, or write \
                     `key: request.headers[...]`",
                );
                None
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
                .ok_or("write the header in brackets, of letters, digits and `-`: `request.headers[User-Agent]`");
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
                Err("this attribute was removed: write a `selector` in the resource")
            }
            _ => Err(
                "unknown attribute; the attributes are `request.headers[...]`, \
                      `request.auth.claims[...]`, `request.auth.principal`, \
                      `request.auth.audiences`, `request.auth.presenter`, `source.ip`, \
                      `source.namespace`, `source.principal`, `source.serviceAccount`, \
                      `source.trustDomain`, `remote.ip`, `destination.ip`, `destination.port`, \
                      `connection.sni`",
            ),
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

/// What stands between the items of a header.
#[derive(Debug)]
struct Separator(u8);

impl Read for Separator {
    fn read(input: &Input<'_>) -> Option<Self> {
        let is_one = |byte: &u8| {
            let is_visible = byte.is_ascii_punctuation() || *byte == b' ';
            is_visible && !b"\"\\".contains(byte)
        };
        let separator = match input.text()?.as_bytes() {
            [byte] => Some(*byte).filter(is_one),
            _ => None,
        };
        if separator.is_none() {
            input.mistake(
                "not a separator: write one character that is no letter, no digit, no quote and \
                 no `\\`, such as `,`",
            );
        }
        separator.map(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
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
