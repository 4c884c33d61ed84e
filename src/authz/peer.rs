//! Patterns for the identity of a peer, a SPIFFE ID: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.

use crate::matcher::StringMatch;
use crate::sorted;

const SPIFFE: &str = "spiffe://";
/// A trust domain that stands for the mesh's own.
const LOCAL: &str = "cluster.local";

/// Whose certificates are the mesh's own.
#[derive(Debug)]
pub(crate) struct TrustDomains {
    /// The mesh's own, and its aliases.
    pub(crate) names: Vec<String>,
}

/// A pattern as it is written. What it means depends on where its policy is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum PeerPattern {
    /// `namespaces`, `source.namespace`: `*` is anything.
    Namespace(String),
    /// `principals`, `source.principal`: the identity without `spiffe://`.
    Principal(String),
    /// `serviceAccounts`, `source.serviceAccount`: `namespace/name`, or a name in the namespace of
    /// the policy.
    ServiceAccount(String),
    /// `trustDomains`, `source.trustDomain`.
    TrustDomain(String),
}

/// A compiled pattern.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum PeerMatch {
    /// The whole identity, or its start.
    Id(StringMatch),
    /// Its end.
    IdEnd(String),
    Namespace(Glob),
    ServiceAccount {
        namespace: String,
        name: String,
    },
    TrustDomain(StringMatch),
}

impl PeerPattern {
    pub(super) fn placed(&self, namespace: &str, domains: &TrustDomains) -> Vec<PeerMatch> {
        match self {
            Self::Namespace(pattern) => {
                vec![PeerMatch::Namespace(Glob::new(&format!(
                    "*/ns/{pattern}/*"
                )))]
            }
            // One with a trust domain of the mesh means that one under all of the mesh's names
            // (pilot/pkg/security/trustdomain).
            Self::Principal(pattern) => {
                let aliases = domains.aliases(pattern);
                aliases
                    .iter()
                    .map(|alias| PeerMatch::principal(alias))
                    .collect()
            }
            Self::ServiceAccount(pattern) => {
                let (namespace, name) = pattern.split_once('/').unwrap_or((namespace, pattern));
                vec![PeerMatch::ServiceAccount {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                }]
            }
            Self::TrustDomain(pattern) => {
                vec![PeerMatch::TrustDomain(StringMatch::header(pattern))]
            }
        }
    }
}

impl PeerMatch {
    /// Istio's `StringMatcherWithPrefix`.
    fn principal(pattern: &str) -> Self {
        match StringMatch::text(pattern) {
            StringMatch::Exact(id) => Self::Id(StringMatch::Exact(format!("{SPIFFE}{id}"))),
            StringMatch::Prefix(start) => Self::Id(StringMatch::Prefix(format!("{SPIFFE}{start}"))),
            StringMatch::Suffix(end) => Self::IdEnd(end),
            any => Self::Id(any),
        }
    }

    pub(crate) fn matches(&self, id: &str) -> bool {
        match self {
            Self::Id(pattern) => pattern.matches(id.as_bytes()),
            Self::IdEnd(end) => id.strip_prefix(SPIFFE).is_some_and(|id| id.ends_with(end)),
            Self::Namespace(glob) => glob.matches(id),
            Self::ServiceAccount { namespace, name } => is_account(id, namespace, name),
            // Istio writes `*` as the prefix `spiffe://`, and any other with the `/` behind it.
            Self::TrustDomain(StringMatch::Present) => id.starts_with(SPIFFE),
            Self::TrustDomain(pattern) => id
                .strip_prefix(SPIFFE)
                .and_then(|id| id.split_once('/'))
                .is_some_and(|(domain, _)| pattern.matches(domain.as_bytes())),
        }
    }
}

/// Istio's `spiffe://.+/ns/NAMESPACE/(.+/|)sa/NAME(/.+)?`.
fn is_account(id: &str, namespace: &str, name: &str) -> bool {
    let Some(path) = id.strip_prefix(SPIFFE) else {
        return false;
    };
    let of_namespace = format!("/ns/{namespace}/");
    let account = format!("sa/{name}");
    let ends = |rest: &str| {
        let rest = rest.strip_prefix(&account);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('/').is_some_and(|rest| !rest.is_empty())
        })
    };
    path.match_indices(&of_namespace)
        .filter(|(domain, _)| *domain > 0)
        .filter_map(|(at, found)| path.get(at + found.len()..))
        .any(|rest| {
            let mut between = rest.match_indices('/').filter(|(at, _)| *at > 0);
            ends(rest) || between.any(|(at, _)| rest.get(at + 1..).is_some_and(ends))
        })
}

impl TrustDomains {
    pub(crate) fn has(&self, domain: &str) -> bool {
        self.names.iter().any(|name| name == domain)
    }

    /// The principal under every name of its trust domain, where that is the mesh's.
    fn aliases(&self, principal: &str) -> Vec<String> {
        let own = vec![principal.to_owned()];
        let Some((domain, rest)) = principal.split_once('/') else {
            return own;
        };
        // Istio looks at no trust domain in anything but a whole identity.
        if rest.matches('/').count() != 3 {
            return own;
        }
        let pattern = StringMatch::header(domain);
        let is_ours = |name: &String| pattern.matches(name.as_bytes());
        if domain != LOCAL && !self.names.iter().any(is_ours) {
            return own;
        }
        let under = |name: &String| match domain.starts_with('*') && is_ours(name) {
            true => principal.to_owned(),
            false => format!("{name}/{rest}"),
        };
        let mut all: Vec<String> = self.names.iter().map(under).collect();
        sorted::by(&mut all, Ord::cmp);
        all.dedup();
        all
    }
}

/// A pattern in which every `*` is anything but a line feed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Glob(pub(super) Vec<String>);

impl Glob {
    fn new(pattern: &str) -> Self {
        Self(pattern.split('*').map(str::to_owned).collect())
    }

    fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else {
            return false;
        };
        let Some(mut text) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return text.is_empty();
        };
        if text.contains('\n') {
            return false;
        }
        for piece in middle {
            let Some((_, after)) = text.split_once(piece.as_str()) else {
                return false;
            };
            text = after;
        }
        text.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(names: &[&str]) -> TrustDomains {
        TrustDomains {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn matches(pattern: PeerPattern, id: &str) -> bool {
        let placed = pattern.placed("own", &mesh(&["cluster.local"]));
        placed.iter().any(|pattern| pattern.matches(id))
    }

    #[test]
    fn principals() {
        for (pattern, id, expected) in [
            ("td/ns/a/sa/b", "spiffe://td/ns/a/sa/b", true),
            ("td/ns/a/sa/b", "td/ns/a/sa/b", false),
            ("td/ns/a/sa/b", "spiffe://td/ns/a/sa/bc", false),
            ("td/ns/a/*", "spiffe://td/ns/a/sa/b", true),
            ("*/sa/b", "spiffe://td/ns/a/sa/b", true),
            ("*/sa/b", "https://td/ns/a/sa/b", false),
            ("*", "spiffe://td/ns/a/sa/b", true),
            ("*", "CN=a", true),
            ("t*", "CN=t", false),
        ] {
            let compiled = PeerPattern::Principal(pattern.to_owned());
            assert_eq!(matches(compiled, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn a_mesh_may_have_several_names() {
        let names = mesh(&["new", "old"]);
        for (pattern, expected) in [
            (
                "cluster.local/ns/a/sa/b",
                &["new/ns/a/sa/b", "old/ns/a/sa/b"][..],
            ),
            ("old/ns/a/sa/b", &["new/ns/a/sa/b", "old/ns/a/sa/b"]),
            ("other/ns/a/sa/b", &["other/ns/a/sa/b"]),
            ("*ew/ns/a/sa/b", &["*ew/ns/a/sa/b", "old/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            ("new/ns/a/*", &["new/ns/a/*"]),
            ("*", &["*"]),
        ] {
            assert_eq!(names.aliases(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn namespaces() {
        for (pattern, id, expected) in [
            ("foo", "spiffe://td/ns/foo/sa/b", true),
            ("foo", "spiffe://td/ns/foobar/sa/b", false),
            ("foo*", "spiffe://td/ns/foobar/sa/b", true),
            ("*bar", "spiffe://td/ns/foobar/sa/b", true),
            ("f*r", "spiffe://td/ns/foobar/sa/b", true),
            ("*", "spiffe://td/ns/foobar/sa/b", true),
            ("foo", "spiffe://td/ns/foo", false),
            ("foo", "spiffe://td/ns/foo/\n", false),
            ("f.o", "spiffe://td/ns/foo/sa/b", false),
        ] {
            let compiled = PeerPattern::Namespace(pattern.to_owned());
            assert_eq!(matches(compiled, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn service_accounts() {
        for (pattern, id, expected) in [
            ("ns/a", "spiffe://td/ns/ns/sa/a", true),
            ("ns/a", "spiffe://td/ns/ns/sa/a/k/v", true),
            ("ns/a", "spiffe://td/ns/ns/sa/a/", false),
            ("ns/a", "spiffe://td/k/v/ns/ns/sa/a", true),
            ("ns/a", "spiffe://td/ns/ns/sa/ab", false),
            ("ns/a", "td/ns/ns/sa/a", false),
            ("ns/a", "spiffe:///ns/ns/sa/a", false),
            ("ns/a", "spiffe://td/ns/ns/x/y/sa/a/z", true),
            ("ns/a", "spiffe://td/ns/ns//sa/a", false),
            ("ns/a", "spiffe://td/ns/ns/xsa/a", false),
            ("a", "spiffe://td/ns/own/sa/a", true),
            ("a", "spiffe://td/ns/other/sa/a", false),
        ] {
            let compiled = PeerPattern::ServiceAccount(pattern.to_owned());
            assert_eq!(matches(compiled, id), expected, "{pattern} {id}");
        }
    }

    #[test]
    fn trust_domains() {
        for (pattern, id, expected) in [
            ("td", "spiffe://td/ns/a/sa/b", true),
            ("td", "spiffe://td2/ns/a/sa/b", false),
            ("td", "spiffe://td", false),
            ("t*", "spiffe://td/ns/a/sa/b", true),
            ("*d", "spiffe://td/ns/a/sa/b", true),
            ("*", "spiffe://td/ns/a/sa/b", true),
            ("*", "spiffe://td", true),
            ("*", "CN=td", false),
        ] {
            let compiled = PeerPattern::TrustDomain(pattern.to_owned());
            assert_eq!(matches(compiled, id), expected, "{pattern} {id}");
        }
    }
}
