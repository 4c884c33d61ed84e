//! Where a key set is fetched: an address, or an issuer that publishes one, and the Envoy cluster
//! that leads there.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::{KeySetUri, form};

/// How key sets are fetched: what the configuration says of all of them.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) clusters: ClusterMap,
    /// How old keys may become.
    pub(crate) cache_duration: Duration,
    /// How old they become at least, whatever the answer says.
    pub(crate) min_cache_duration: Duration,
    /// How long keys serve beyond that while fresh ones can't be had.
    pub(crate) stale_if_error: Duration,
    /// How long after an early fetch a token that no key fits may cause the next one.
    pub(crate) refetch_interval: Duration,
    pub(crate) allow_link_local: bool,
}

/// A key set that is fetched.
#[derive(Debug)]
pub(crate) struct KeySetSource {
    pub(crate) origin: Origin,
    /// For each request; discovery takes two.
    pub(crate) timeout: Duration,
    pub(crate) fetching: Rc<Fetching>,
}

/// Where a key set is found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    At(KeySetUri),
    /// At the `jwks_uri` of the issuer's metadata (OpenID Connect Discovery 1.0 section 4).
    Discovered {
        issuer: String,
        metadata: KeySetUri,
    },
}

/// Providers that publish the key set of an account: the domain of its email address, and the
/// address in front of it.
const ACCOUNTS: &[(&str, &str)] = &[(
    "gserviceaccount.com",
    "https://www.googleapis.com/service_accounts/v1/jwk/",
)];

impl Origin {
    /// Where an issuer's keys are found without anybody saying so; `None` where nothing can be made
    /// of its name.
    pub(crate) fn of_issuer(issuer: &str) -> Option<Self> {
        if issuer.contains(['?', '#']) {
            return None;
        }
        if let Some((account, domain)) = issuer.split_once('@')
            && !issuer.contains("://")
        {
            let domain = domain.to_ascii_lowercase();
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
            let is_of = |provider: &str| {
                let rest = domain.strip_suffix(provider);
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let (_, address) = ACCOUNTS.iter().find(|(provider, _)| is_of(provider))?;
            let is_address = !account.is_empty() && account.bytes().all(is_plain);
            let uri = format!("{address}{account}@{domain}");
            return is_address.then(|| KeySetUri::parse(&uri).ok().map(Self::At))?;
        }
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let metadata = format!("{base}/.well-known/openid-configuration");
        Some(Self::Discovered {
            issuer: issuer.to_owned(),
            metadata: KeySetUri::parse(&metadata).ok()?,
        })
    }

    /// The first address that is asked.
    pub(crate) fn uri(&self) -> &KeySetUri {
        match self {
            Self::At(uri) | Self::Discovered { metadata: uri, .. } => uri,
        }
    }
}

impl KeySetSource {
    /// How many seconds a whole fetch takes at most.
    pub(crate) fn duration(&self) -> u64 {
        let requests = match self.origin {
            Origin::At(_) => 1,
            Origin::Discovered { .. } => 2,
        };
        // One more for what lies between a time-out and the tick that tells of it.
        self.timeout.as_secs().saturating_add(2) * requests
    }

    /// Under which name workers share what is fetched.
    pub(crate) fn shared_name(&self) -> String {
        let Fetch { uri, cluster, .. } = self.first();
        format!("{cluster} {uri}")
    }

    /// The first request of a fetch.
    pub(crate) fn first(&self) -> Fetch {
        self.fetch(self.origin.uri().clone())
    }

    /// The request that follows an issuer's metadata.
    ///
    /// # Errors
    ///
    /// Why the metadata can't be relied on.
    pub(crate) fn discovered(&self, issuer: &str, metadata: &[u8]) -> Result<Fetch, String> {
        let document = form::text(metadata).map_err(str::to_owned);
        let document = document
            .and_then(form::document)
            .map_err(|error| format!("metadata that can't be read: {error}"))?;
        // OpenID Connect Discovery 1.0 section 4.3: they must be identical.
        let own = document.get("issuer").and_then(Value::as_str);
        let own = own.unwrap_or_default();
        if own != issuer {
            return Err(format!(
                "metadata whose `issuer` is {} instead of {}{}",
                form::shown(own),
                form::shown(issuer),
                difference(own, issuer)
            ));
        }
        let uri = document.get("jwks_uri").and_then(Value::as_str);
        let uri = uri.ok_or("metadata without `jwks_uri`")?;
        let uri = KeySetUri::parse(uri).map_err(|error| format!("bad `jwks_uri`: {error}"))?;
        if uri.is_link_local() && !self.fetching.allow_link_local {
            return Err("a `jwks_uri` at a link-local address or metadata service".to_owned());
        }
        Ok(self.fetch(uri))
    }

    fn fetch(&self, uri: KeySetUri) -> Fetch {
        Fetch {
            cluster: self.fetching.clusters.cluster(&uri),
            timeout: self.timeout,
            uri,
        }
    }

    /// Whether what is fetched for the one does for the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.origin == other.origin && self.timeout == other.timeout
    }
}

/// What to make of two issuers that aren't the same.
fn difference(own: &str, issuer: &str) -> &'static str {
    if own.contains("{tenantid}") {
        ": that is a template for many tenants; name the issuer of one, or write `jwksUri` without \
         `issuer` and compare the claims `iss` and `tid` in policies"
    } else if own.trim_end_matches('/') == issuer.trim_end_matches('/') {
        ": they differ in a slash at the end only; write `issuer` as the provider does"
    } else {
        ""
    }
}

impl fmt::Display for KeySetSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fetch { uri, cluster, .. } = self.first();
        let uri = uri.without_query();
        match self.origin {
            Origin::At(_) => write!(formatter, "key set {uri} (cluster `{cluster}`)"),
            Origin::Discovered { .. } => {
                write!(formatter, "key set told by {uri} (cluster `{cluster}`)")
            }
        }
    }
}

/// A `GET` that the shell is to send.
#[derive(Clone, Debug)]
pub struct Fetch {
    uri: KeySetUri,
    cluster: String,
    timeout: Duration,
}

impl Fetch {
    /// The Envoy cluster that leads to the host.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// `:scheme`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.uri.scheme()
    }

    /// `:authority`.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.uri.authority()
    }

    /// `:path`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// How long to wait for the whole answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What may be told of the URI.
    pub(crate) fn address(&self) -> &str {
        self.uri.without_query()
    }

    /// The URI as it was configured or discovered.
    #[must_use]
    pub fn uri(&self) -> String {
        self.uri.to_string()
    }
}

/// Which cluster leads to which host.
#[derive(Debug, Default)]
pub(crate) struct ClusterMap {
    /// For hosts of which nothing else is said.
    pub(crate) default: Option<String>,
    /// Hosts, with or without a port, and their clusters.
    pub(crate) hosts: Vec<(String, String)>,
}

impl ClusterMap {
    /// The cluster for a URI: the one of its host and port, of its host, the default one, or else
    /// the name that Istio gives to the cluster of a `ServiceEntry`.
    fn cluster(&self, uri: &KeySetUri) -> String {
        let named = self.named(uri).or(self.default.as_deref());
        named.map_or_else(
            || format!("outbound|{}||{}", uri.port(), uri.host()),
            str::to_owned,
        )
    }

    /// Whether the cluster for a URI is that of all hosts without one of their own.
    pub(crate) fn is_shared(&self, uri: &KeySetUri) -> bool {
        self.default.is_some() && self.named(uri).is_none()
    }

    fn named(&self, uri: &KeySetUri) -> Option<&str> {
        let with_port = format!("{}:{}", uri.host(), uri.port());
        let named = |wanted: &str| {
            let mut hosts = self.hosts.iter();
            hosts.find(|(host, _)| host.eq_ignore_ascii_case(wanted))
        };
        let found = named(&with_port).or_else(|| named(uri.host()));
        found.map(|(_, cluster)| cluster.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_wins() {
        let uri = |text| KeySetUri::parse(text).unwrap();
        let istio = ClusterMap::default();
        assert_eq!(
            istio.cluster(&uri("https://A.test/j")),
            "outbound|443||a.test"
        );
        let map = ClusterMap {
            default: Some("all".to_owned()),
            hosts: vec![
                ("a.test".to_owned(), "a".to_owned()),
                ("A.test:8443".to_owned(), "a-8443".to_owned()),
            ],
        };
        assert_eq!(map.cluster(&uri("https://a.test/j")), "a");
        assert_eq!(map.cluster(&uri("https://a.test:8443/j")), "a-8443");
        assert_eq!(map.cluster(&uri("https://b.test/j")), "all");
    }

    #[test]
    fn an_issuer_tells_where_its_keys_are() {
        let well_known = "/.well-known/openid-configuration";
        for (issuer, expected) in [
            ("https://a.test", format!("https://a.test{well_known}")),
            ("https://a.test/", format!("https://a.test{well_known}")),
            (
                "http://a.test:81/b/",
                format!("http://a.test:81/b{well_known}"),
            ),
        ] {
            let origin = Origin::of_issuer(issuer).unwrap();
            assert_eq!(origin.uri().to_string(), expected);
            assert!(matches!(origin, Origin::Discovered { issuer: own, .. } if own == issuer));
        }
        let google = "https://www.googleapis.com/service_accounts/v1/jwk/";
        for (issuer, expected) in [
            (
                "628645741881@developer.gserviceaccount.com",
                "628645741881@developer.gserviceaccount.com",
            ),
            (
                "a-b@c.iam.gserviceaccount.com",
                "a-b@c.iam.gserviceaccount.com",
            ),
            ("a@GServiceAccount.com", "a@gserviceaccount.com"),
        ] {
            let origin = Origin::of_issuer(issuer).unwrap();
            assert_eq!(origin.uri().to_string(), format!("{google}{expected}"));
            assert!(matches!(origin, Origin::At(_)));
        }
        for issuer in [
            "issuer-foo",
            "accounts.google.com",
            "a@b.test",
            "a@evilgserviceaccount.com",
            "a@gserviceaccount.com.evil.test",
            "@gserviceaccount.com",
            "a/../b@gserviceaccount.com",
            "a@b@gserviceaccount.com",
            "https://a.test/?x",
            "https://a.test#x",
            "https://u@a.test",
            "spiffe://a.test",
            "",
        ] {
            assert_eq!(Origin::of_issuer(issuer), None, "{issuer}");
        }
    }
}
