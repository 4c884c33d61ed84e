//! Authorization: Istio's policies over a request, the identity of its token, and its connection.

mod comparison;
mod host;
mod index;
mod items;
mod path;
mod peer;
mod principal;
mod rules;
mod told;

use std::net::IpAddr;

use ipnet::IpNet;

pub(crate) use self::comparison::{Bound, Comparison, Operand, Reference, Wanted};
pub(crate) use self::host::HostMatch;
pub(crate) use self::path::PathMatch;
pub(crate) use self::peer::{PeerMatch, PeerPattern, TrustDomains};
pub(crate) use self::principal::PrincipalMatch;
pub(crate) use self::rules::{RuleName, RuleSet, Unknown};
use crate::authn::Identity;
use crate::connection::{Connection, Metadata};
use crate::jwt::ClaimPath;
use crate::matcher::StringMatch;
use crate::outcome::{Reason, Refusal};
use crate::request::Request;

/// The policies that apply here, by action.
#[derive(Debug)]
pub(crate) struct PolicySet {
    pub(crate) deny: RuleSet,
    pub(crate) allow: RuleSet,
}

/// One AuthorizationPolicy.
#[derive(Debug)]
pub(crate) struct Policy {
    /// `ns[foo]-policy[name]`
    pub(crate) name: String,
    pub(crate) rules: Vec<Rule>,
}

/// One rule: a source and an operation and all conditions. An empty list of sources or operations
/// leaves them open. `P` is how peers are matched.
#[derive(Clone, Debug)]
pub(crate) struct Rule<P = PeerMatch> {
    pub(crate) from: Vec<Vec<Condition<P>>>,
    pub(crate) to: Vec<Vec<Condition<P>>>,
    pub(crate) when: Vec<Condition<P>>,
}

/// A test, or its opposite: `values` and `notValues`, `hosts` and `notHosts`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Condition<P = PeerMatch> {
    pub(crate) negated: bool,
    pub(crate) test: Test<P>,
}

/// An attribute of the request and the patterns of which one must match.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Test<P = PeerMatch> {
    Claim(ClaimPath, Vec<StringMatch>),
    /// What Istio's conditions can't say.
    Compared(Comparison),
    DestinationIp(Vec<IpNet>),
    DestinationPort(Vec<u16>),
    /// The TCP peer.
    DirectIp(Vec<IpNet>),
    /// Any one line of this header; Envoy from 1.38 on looks at each by itself.
    Header(String, Vec<StringMatch>),
    /// Any one item of a line of this header, which the byte separates from others.
    HeaderItem(String, u8, Vec<StringMatch>),
    Host(Vec<HostMatch>),
    /// What another filter wrote to dynamic metadata.
    Metadata {
        filter: String,
        key: String,
        patterns: Vec<MetadataMatch>,
    },
    Path(Vec<PathMatch>),
    Peer(Vec<P>),
    /// The client as trusted proxies report it.
    RemoteIp(Vec<IpNet>),
    RequestPrincipal(Vec<PrincipalMatch>),
    ServerName(Vec<StringMatch>),
}

/// A pattern for dynamic metadata.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum MetadataMatch {
    /// An item of a list: Istio writes it as `[value]`.
    Item(StringMatch),
    Text(StringMatch),
}

/// What policies look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) request: &'a Request,
    pub(crate) identity: Option<&'a Identity<'a>>,
    pub(crate) connection: &'a Connection<'a>,
}

impl PolicySet {
    pub(crate) fn new(deny: Vec<Policy>, allow: Vec<Policy>) -> Self {
        Self {
            deny: RuleSet::new(deny, Unknown::Matches),
            allow: RuleSet::new(allow, Unknown::Fails),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deny.is_empty() && self.allow.is_empty()
    }

    /// Istio's order: what a DENY policy matches is refused; what is left passes if there is no
    /// ALLOW policy or if one matches. Returns the rule that allows, where one does.
    ///
    /// # Errors
    ///
    /// The refusal, with the rule that decided.
    pub(crate) fn authorize(&self, subject: Subject<'_>) -> Result<Option<RuleName<'_>>, Refusal> {
        if let Some(rule) = self.deny.first_match(subject) {
            return Err(Refusal {
                policy: Some(rule.to_string()),
                ..Reason::PolicyDenied.into()
            });
        }
        match self.allow.first_match(subject) {
            None if !self.allow.is_empty() => Err(Reason::PolicyNoneAllows.into()),
            rule => Ok(rule),
        }
    }
}

impl<P> Rule<P> {
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition<P>> {
        let alternatives = self.from.iter().chain(&self.to).flatten();
        alternatives.chain(&self.when)
    }
}

impl Rule<PeerPattern> {
    /// The rule of a policy in this namespace, in a mesh with these names.
    pub(crate) fn placed(self, namespace: &str, domains: &TrustDomains) -> Rule {
        let condition = |condition: Condition<PeerPattern>| Condition {
            negated: condition.negated,
            test: condition.test.placed(namespace, domains),
        };
        let all = |conditions: Vec<Condition<PeerPattern>>| -> Vec<Condition> {
            conditions.into_iter().map(condition).collect()
        };
        Rule {
            from: self.from.into_iter().map(all).collect(),
            to: self.to.into_iter().map(all).collect(),
            when: all(self.when),
        }
    }
}

impl<P> Test<P> {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Claim(_, patterns)
            | Self::Header(_, patterns)
            | Self::HeaderItem(_, _, patterns)
            | Self::ServerName(patterns) => patterns.is_empty(),
            Self::Compared(_) => false,
            Self::DestinationIp(blocks) | Self::DirectIp(blocks) | Self::RemoteIp(blocks) => {
                blocks.is_empty()
            }
            Self::DestinationPort(ports) => ports.is_empty(),
            Self::Host(patterns) => patterns.is_empty(),
            Self::Metadata { patterns, .. } => patterns.is_empty(),
            Self::Path(patterns) => patterns.is_empty(),
            Self::Peer(patterns) => patterns.is_empty(),
            Self::RequestPrincipal(patterns) => patterns.is_empty(),
        }
    }
}

impl<P> Test<P> {
    /// What it looks at, in the words of a policy.
    pub(crate) fn attribute(&self) -> String {
        match self {
            Self::Claim(..) => "request.auth.claims".to_owned(),
            Self::Compared(comparison) => comparison.attribute().to_owned(),
            Self::DestinationIp(_) => "destination.ip".to_owned(),
            Self::DestinationPort(_) => "destination.port".to_owned(),
            Self::DirectIp(_) => "source.ip".to_owned(),
            Self::Header(name, _) => format!("request.headers[{name}]"),
            Self::HeaderItem(name, ..) => format!("an item of request.headers[{name}]"),
            Self::Host(_) => "hosts".to_owned(),
            Self::Metadata { filter, key, .. } => format!("experimental.{filter}[{key}]"),
            Self::Path(_) => "paths".to_owned(),
            Self::Peer(_) => "source.principal".to_owned(),
            Self::RemoteIp(_) => "remote.ip".to_owned(),
            Self::RequestPrincipal(_) => "request.auth.principal".to_owned(),
            Self::ServerName(_) => "connection.sni".to_owned(),
        }
    }

    /// The attribute, where it is about who a token or a peer says it is.
    pub(crate) fn of_identity(&self) -> Option<String> {
        match self {
            Self::Claim(..) | Self::Compared(_) | Self::Peer(_) | Self::RequestPrincipal(_) => {
                Some(self.attribute())
            }
            Self::DestinationIp(_)
            | Self::DestinationPort(_)
            | Self::DirectIp(_)
            | Self::Header(..)
            | Self::HeaderItem(..)
            | Self::Host(_)
            | Self::Metadata { .. }
            | Self::Path(_)
            | Self::RemoteIp(_)
            | Self::ServerName(_) => None,
        }
    }
}

impl Test<PeerPattern> {
    fn placed(self, namespace: &str, domains: &TrustDomains) -> Test {
        match self {
            Self::Claim(path, patterns) => Test::Claim(path, patterns),
            Self::Compared(comparison) => Test::Compared(comparison),
            Self::DestinationIp(blocks) => Test::DestinationIp(blocks),
            Self::DestinationPort(ports) => Test::DestinationPort(ports),
            Self::DirectIp(blocks) => Test::DirectIp(blocks),
            Self::Header(name, patterns) => Test::Header(name, patterns),
            Self::HeaderItem(name, separator, patterns) => {
                Test::HeaderItem(name, separator, patterns)
            }
            Self::Host(patterns) => Test::Host(patterns),
            Self::Metadata {
                filter,
                key,
                patterns,
            } => Test::Metadata {
                filter,
                key,
                patterns,
            },
            Self::Path(patterns) => Test::Path(patterns),
            Self::Peer(patterns) => {
                let placed = |pattern: &PeerPattern| pattern.placed(namespace, domains);
                Test::Peer(patterns.iter().flat_map(placed).collect())
            }
            Self::RemoteIp(blocks) => Test::RemoteIp(blocks),
            Self::RequestPrincipal(patterns) => Test::RequestPrincipal(patterns),
            Self::ServerName(patterns) => Test::ServerName(patterns),
        }
    }
}

/// Whether one of the answers is yes; `None` where those that can't be told might be.
fn any(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut told = Some(false);
    for answer in answers {
        match answer {
            Some(true) => return Some(true),
            Some(false) => {}
            None => told = None,
        }
    }
    told
}

/// Whether an address is in one of the blocks. IPv4 may be written as IPv6 (`::ffff:192.0.2.1`), in either
/// of them; Envoy takes these for two. It can't be told where that makes a difference.
fn within(blocks: &[IpNet], address: Option<IpAddr>) -> Option<bool> {
    let address = address?;
    let is_in = blocks.iter().any(|block| block.contains(&address));
    let same = address.to_canonical();
    let is_in_same = blocks.iter().any(|block| unmapped(block).contains(&same));
    (is_in == is_in_same).then_some(is_in)
}

/// The block of IPv4 that is written as one of IPv6, if it is.
fn unmapped(block: &IpNet) -> IpNet {
    let bits = block.prefix_len().checked_sub(96);
    match (block.addr().to_canonical(), bits) {
        (address @ IpAddr::V4(_), Some(bits)) if block.addr().is_ipv6() => {
            IpNet::new(address, bits).unwrap_or(*block)
        }
        _ => *block,
    }
}

/// Whether a line of a header matches. HTTP/2 keeps blanks at the ends, which an upstream by HTTP/1 doesn't
/// get, and lets methods through in small letters, of which many an upstream makes capitals: a line counts
/// where both forms say the same.
fn line(name: &str, value: &[u8], patterns: &[StringMatch]) -> Option<bool> {
    let any = |value: &[u8]| patterns.iter().any(|pattern| pattern.matches(value));
    let (matches, trimmed) = (any(value), value.trim_ascii());
    let others = if name == ":method" && value.iter().any(u8::is_ascii_lowercase) {
        let mut patterns = patterns.iter();
        patterns.any(|pattern| pattern.matches_by(<[u8]>::eq_ignore_ascii_case, trimmed))
    } else if trimmed.len() < value.len() {
        any(trimmed)
    } else {
        matches
    };
    (matches == others).then_some(matches)
}

/// Whether a line of this header does. What an upstream may take for one says no, or nothing.
fn any_line(
    request: &Request,
    name: &str,
    matches: &dyn Fn(&[u8]) -> Option<bool>,
) -> Option<bool> {
    let misspelt = request.misspelt(name).map(matches);
    let misspelt = misspelt.map(|matches| matches.filter(|matches| !matches));
    any(request.values(name).map(matches).chain(misspelt))
}

impl Condition {
    /// The scopes with which a token meets it, where it asks for nothing else.
    fn scopes(&self) -> Option<Vec<&str>> {
        match &self.test {
            _ if self.negated => None,
            Test::Claim(path, patterns) if *path == ClaimPath::top("scope") => {
                let mut patterns = patterns.iter();
                patterns
                    .find_map(StringMatch::scope)
                    .map(|scope| vec![scope])
            }
            Test::Compared(comparison) => comparison.scopes(),
            _ => None,
        }
    }

    /// `None` where it can't be told.
    fn matches(&self, subject: Subject<'_>) -> Option<bool> {
        Some(self.test.matches(subject)? != self.negated)
    }
}

impl Test {
    fn matches(&self, subject: Subject<'_>) -> Option<bool> {
        let Subject {
            request,
            identity,
            connection,
        } = subject;
        let any = |patterns: &[StringMatch], value: &[u8]| {
            patterns.iter().any(|pattern| pattern.matches(value))
        };
        match self {
            Self::Claim(path, patterns) => Some(identity.is_some_and(|identity| {
                identity.any_text(path, |text| any(patterns, text.as_bytes()))
            })),
            Self::Compared(comparison) => comparison.holds(subject),
            Self::DestinationIp(blocks) => within(blocks, connection.destination_ip()),
            Self::DestinationPort(ports) => Some(ports.contains(&connection.destination_port()?)),
            Self::DirectIp(blocks) => within(blocks, connection.direct_ip()),
            Self::Header(name, patterns) => {
                any_line(request, name, &|value| line(name, value, patterns))
            }
            Self::HeaderItem(name, separator, patterns) => any_line(request, name, &|value| {
                items::any_item(value, *separator, patterns)
            }),
            Self::Host(patterns) => Some(
                host::host(request)
                    .is_some_and(|host| patterns.iter().any(|pattern| pattern.matches(&host))),
            ),
            Self::Metadata {
                filter,
                key,
                patterns,
            } => {
                let value = connection.metadata(filter, key).ok()?;
                Some(value.is_some_and(|value| patterns.iter().any(|p| p.matches(&value))))
            }
            Self::Path(patterns) => match request.path() {
                Some(path) => self::any(patterns.iter().map(|pattern| pattern.matches(path))),
                None => Some(false),
            },
            Self::Peer(patterns) => {
                let peer = connection.peer().ok()?;
                Some(peer.is_some_and(|id| patterns.iter().any(|pattern| pattern.matches(id))))
            }
            Self::RemoteIp(blocks) => within(blocks, connection.remote_ip()),
            Self::RequestPrincipal(patterns) => {
                Some(identity.is_some_and(|identity| {
                    patterns.iter().any(|pattern| pattern.matches(identity))
                }))
            }
            Self::ServerName(patterns) => Some(any(patterns, connection.server_name().ok()?)),
        }
    }
}

impl MetadataMatch {
    /// Istio's: a value in brackets means a list.
    pub(crate) fn parse(pattern: &str) -> Self {
        let inner = pattern.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
        match inner {
            Some(inner) => Self::Item(StringMatch::text(inner)),
            None => Self::Text(StringMatch::text(pattern)),
        }
    }

    fn matches(&self, value: &Metadata) -> bool {
        match (self, value) {
            (Self::Item(pattern), Metadata::List(items)) => {
                items.iter().any(|item| pattern.matches(item))
            }
            (Self::Text(pattern), Metadata::Text(text)) => pattern.matches(text),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_an_upstream_may_read_otherwise() {
        for (name, value, pattern, expected) in [
            ("x", "on", "on", Some(true)),
            ("x", "off", "on", Some(false)),
            ("x", "On", "on", Some(false)),
            ("x", "on ", "on", None),
            ("x", "\ton", "on", None),
            ("x", "off ", "on", Some(false)),
            (":method", "POST", "POST", Some(true)),
            (":method", "post", "POST", None),
            (":method", "post ", "POST", None),
            (":method", "POST ", "POST", None),
            (":method", "post ", "GET", Some(false)),
            (":method", "post ", "*", Some(true)),
        ] {
            let patterns = [StringMatch::header(pattern)];
            let found = line(name, value.as_bytes(), &patterns);
            assert_eq!(found, expected, "{name} {value:?} {pattern}");
        }
    }

    #[test]
    fn blocks_of_ipv4_written_as_ipv6() {
        for (blocks, address, expected) in [
            (&["10.0.0.0/8"][..], Some("10.0.0.1"), Some(true)),
            (&["10.0.0.0/8"], Some("11.0.0.1"), Some(false)),
            (&["10.0.0.0/8"], Some("::ffff:10.0.0.1"), None),
            (&["10.0.0.0/8"], Some("::ffff:11.0.0.1"), Some(false)),
            (&["::ffff:10.0.0.0/104"], Some("10.0.0.1"), None),
            (&["::ffff:10.0.0.0/104"], Some("11.0.0.1"), Some(false)),
            (
                &["::ffff:10.0.0.0/104"],
                Some("::ffff:10.0.0.1"),
                Some(true),
            ),
            (&["::/0"], Some("::ffff:10.0.0.1"), None),
            (&["::/0"], Some("10.0.0.1"), Some(false)),
            (&["::/0"], Some("2001:db8::1"), Some(true)),
            (&["::/0", "0.0.0.0/0"], Some("::ffff:10.0.0.1"), Some(true)),
            (&["::ffff:0:0/95"], Some("::ffff:10.0.0.1"), None),
            (&["10.0.0.0/8"], None, None),
        ] {
            let nets: Vec<IpNet> = blocks.iter().map(|block| block.parse().unwrap()).collect();
            let parsed = address.map(|address| address.parse().unwrap());
            assert_eq!(within(&nets, parsed), expected, "{blocks:?} {address:?}");
        }
    }
}
