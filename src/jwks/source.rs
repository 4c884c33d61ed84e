//! Where a key set is fetched: a URI, and the Envoy cluster that leads to its host.

use std::fmt;

/// The address of a key set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeySetUri {
    text: String,
    scheme: &'static str,
    /// Host, and port where one is written: what `:authority` says.
    authority: String,
    host: String,
    port: u16,
    path: String,
}

impl KeySetUri {
    /// Reads an absolute `http` or `https` URI.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a sentence for whoever wrote it.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, default_port, rest) = if let Some(rest) = text.strip_prefix("https://") {
            ("https", 443, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            ("http", 80, rest)
        } else {
            return Err("not an absolute URI: it must start with https:// or http://");
        };
        if text.bytes().any(|byte| !(b'!'..=b'~').contains(&byte)) {
            return Err("not a URI: percent-encode spaces and characters beyond ASCII");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a key-set URI can't carry a user name or password");
        }
        let (host, port) = split_port(authority).ok_or("its port is no number from 1 to 65535")?;
        if host.is_empty() {
            return Err("it has no host");
        }
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        Ok(Self {
            text: text.to_owned(),
            scheme,
            authority: authority.to_owned(),
            host: host.to_ascii_lowercase(),
            port: port.unwrap_or(default_port),
            path,
        })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        self.scheme
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for KeySetUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Splits `host:port`, where the host may be an IPv6 address in brackets.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = authority.find(']').map_or(0, |bracket| bracket + 1);
    let colon = authority.get(end_of_host..)?.find(':');
    let Some(colon) = colon else {
        return Some((authority, None));
    };
    let (host, port) = authority.split_at_checked(end_of_host + colon)?;
    let digits = port.strip_prefix(':')?;
    let port = digits.parse::<u16>().ok().filter(|port| *port != 0)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then_some((host, Some(port)))
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
    pub(crate) fn cluster(&self, uri: &KeySetUri) -> String {
        let with_port = format!("{}:{}", uri.host, uri.port);
        let named = |wanted: &str| {
            self.hosts
                .iter()
                .find(|(host, _)| host.eq_ignore_ascii_case(wanted))
                .map(|(_, cluster)| cluster.clone())
        };
        named(&with_port)
            .or_else(|| named(&uri.host))
            .or_else(|| self.default.clone())
            .unwrap_or_else(|| format!("outbound|{}||{}", uri.port, uri.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        for (text, scheme, authority, host, port, path) in [
            ("http://a.test", "http", "a.test", "a.test", 80, "/"),
            (
                "https://A.test/j?x=1",
                "https",
                "A.test",
                "a.test",
                443,
                "/j?x=1",
            ),
            (
                "http://a.test:1234/j",
                "http",
                "a.test:1234",
                "a.test",
                1234,
                "/j",
            ),
            ("http://a.test?x", "http", "a.test", "a.test", 80, "/?x"),
            (
                "https://[::1]:8443/j#f",
                "https",
                "[::1]:8443",
                "[::1]",
                8443,
                "/j",
            ),
            ("https://[::1]/j", "https", "[::1]", "[::1]", 443, "/j"),
        ] {
            let uri = KeySetUri::parse(text).unwrap();
            assert_eq!(uri.scheme, scheme, "{text}");
            assert_eq!(uri.authority, authority, "{text}");
            assert_eq!(uri.host, host, "{text}");
            assert_eq!(uri.port, port, "{text}");
            assert_eq!(uri.path, path, "{text}");
            assert_eq!(uri.to_string(), text);
        }
        for text in [
            "a.test",
            "tcp://a.test",
            "https://",
            "https:///j",
            "https://:443/j",
            "https://a.test:x",
            "https://a.test:+1",
            "https://a.test:0",
            "https://a.test:99999",
            "https://a.test:",
            "https://u@a.test/j",
            "https://a.test/j k",
            "https://a.test/\r\nx: y",
            "",
        ] {
            assert!(KeySetUri::parse(text).is_err(), "{text:?}");
        }
    }

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
}
