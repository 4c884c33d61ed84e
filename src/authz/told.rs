//! What a condition wants and what it sees, in the words of a policy: for explanations.

use std::fmt;

use super::path::Pattern;
use super::peer::Glob;
use super::{Condition, MetadataMatch, PathMatch, PeerMatch, Subject, Test, host};
use crate::connection::Metadata;
use crate::matcher::StringMatch;

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "not " } else { "" };
        write!(formatter, "{not}{}", self.test.attribute())?;
        match &self.test {
            Test::Claim(path, _) => write!(formatter, "{path}"),
            Test::Compared(comparison) => formatter.write_str(&comparison.claim()),
            _ => Ok(()),
        }
    }
}

impl Condition {
    /// The patterns, of which one must match; or, negated, none.
    pub(super) fn wanted(&self) -> Vec<String> {
        fn all<T: fmt::Display>(patterns: &[T]) -> Vec<String> {
            patterns.iter().map(T::to_string).collect()
        }
        match &self.test {
            Test::Claim(_, patterns)
            | Test::Header(_, patterns)
            | Test::HeaderItem(_, _, patterns)
            | Test::ServerName(patterns) => all(patterns),
            Test::Compared(comparison) => comparison.wanted(),
            Test::DestinationIp(blocks) | Test::DirectIp(blocks) | Test::RemoteIp(blocks) => {
                all(blocks)
            }
            Test::DestinationPort(ports) => all(ports),
            Test::Host(patterns) => patterns
                .iter()
                .map(|host| host.pattern.to_string())
                .collect(),
            Test::Metadata { patterns, .. } => all(patterns),
            Test::Path(patterns) => all(patterns),
            Test::Peer(patterns) => all(patterns),
            Test::RequestPrincipal(patterns) => all(patterns),
        }
    }

    /// What the request has there; `None` where it has nothing, or nothing that can be told.
    pub(super) fn seen(&self, subject: Subject<'_>) -> Option<String> {
        let Subject {
            request,
            identity,
            connection,
        } = subject;
        let readable = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match &self.test {
            Test::Claim(path, _) => Some(identity?.claim(path)?.to_string()),
            Test::Compared(comparison) => comparison.seen(identity?),
            Test::DestinationIp(_) => Some(connection.destination_ip()?.to_string()),
            Test::DestinationPort(_) => Some(connection.destination_port()?.to_string()),
            Test::DirectIp(_) => Some(connection.direct_ip()?.to_string()),
            Test::Header(name, _) | Test::HeaderItem(name, ..) => {
                let values: Vec<String> = request.values(name).map(readable).collect();
                (!values.is_empty()).then(|| values.join(", "))
            }
            Test::Host(_) => Some(readable(&host::host(request)?)),
            Test::Metadata { filter, key, .. } => {
                Some(match connection.metadata(filter, key).ok()?? {
                    Metadata::List(items) => {
                        let items: Vec<String> = items.iter().map(|item| readable(item)).collect();
                        format!("[{}]", items.join(", "))
                    }
                    Metadata::Text(text) => readable(&text),
                })
            }
            Test::Path(_) => Some(readable(request.path()?)),
            Test::Peer(_) => Some(connection.peer().ok()??.to_owned()),
            Test::RemoteIp(_) => Some(connection.remote_ip()?.to_string()),
            Test::RequestPrincipal(_) => identity?.principal(),
            Test::ServerName(_) => {
                let name = connection.server_name().ok()?;
                (!name.is_empty()).then(|| readable(name))
            }
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Template(template) => template.fmt(formatter),
            Pattern::Text(pattern) => pattern.fmt(formatter),
        }
    }
}

impl fmt::Display for PeerMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(pattern) => pattern.fmt(formatter),
            Self::IdEnd(end) => write!(formatter, "*{end}"),
            Self::Namespace(Glob(pieces)) => formatter.write_str(&pieces.join("*")),
            Self::ServiceAccount { namespace, name } => {
                write!(formatter, "*/ns/{namespace}/sa/{name}")
            }
            Self::TrustDomain(StringMatch::Present) => formatter.write_str("spiffe://*"),
            Self::TrustDomain(pattern) => write!(formatter, "spiffe://{pattern}/*"),
        }
    }
}

impl fmt::Display for MetadataMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(pattern) => write!(formatter, "[{pattern}]"),
            Self::Text(pattern) => pattern.fmt(formatter),
        }
    }
}
