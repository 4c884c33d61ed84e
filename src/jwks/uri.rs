//! The address of a key set, and which addresses are out of bounds.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names under which clouds serve the credentials of the machine that asks.
const METADATA_NAMES: &[&str] = &[
    "api.metadata.cloud.ibm.com",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.tencentyun.com",
    "rancher-metadata",
];

/// Metadata services outside of the link-local blocks: Alibaba's, Azure's and Oracle's older one.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// Those of IPv6: Google's, Oracle's, Scaleway's and Linode's.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
];
/// The start of all that Amazon serves its machines by IPv6.
const AMAZON_V6: [u16; 2] = [0xfd00, 0xec2];

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
            return Err("it can't carry a user name or password");
        }
        let (host, port) = split_port(authority).ok_or("its port is no number from 1 to 65535")?;
        if host.is_empty() {
            return Err("it has no host");
        }
        let host = host.to_ascii_lowercase();
        if looks_like_an_address(&host) && address(&host).is_none() {
            return Err(
                "its host is no address: write IPv4 as four decimal numbers, IPv6 in brackets",
            );
        }
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        Ok(Self {
            text: text.to_owned(),
            scheme,
            authority: authority.to_owned(),
            host,
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

    /// In lower case; an IPv6 address in its brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// What may be told of it: without the query, which may hold what is secret, and the fragment.
    pub(crate) fn without_query(&self) -> &str {
        let end = self.text.find(['?', '#']).unwrap_or(self.text.len());
        self.text.get(..end).unwrap_or_default()
    }

    /// Whether this is a link-local address or a cloud's metadata service, where no issuer has its
    /// keys and requests may bring out credentials (istiod's `blockedIP`).
    pub(crate) fn is_link_local(&self) -> bool {
        let name = self.host.strip_suffix('.').unwrap_or(&self.host);
        METADATA_NAMES.contains(&name) || address(&self.host).is_some_and(is_link_local)
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

/// Whether resolvers would read the host as an address: `0xa9fea9fe`, `169.254.43518` and the like
/// are some (the URL standard's "ends in a number").
fn looks_like_an_address(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    host.starts_with('[')
        || last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(is_hex)
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
        None => Some(IpAddr::V4(
            host.strip_suffix('.').unwrap_or(host).parse().ok()?,
        )),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || METADATA_V4.contains(&address),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || METADATA_V6.contains(&address)
                || address.segments().starts_with(&AMAZON_V6)
                || embedded(address).is_some_and(|address| is_link_local(address.into()))
        }
    }
}

/// The IPv4 address to which this one leads: mapped or compatible (RFC 4291 section 2.5.5),
/// translated (RFC 6052 section 2.1), or 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let pair = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(pair(high, low))
        }
        [0x2002, high, low, ..] => Some(pair(high, low)),
        _ => None,
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
            (
                "http://127.0.0.1/j",
                "http",
                "127.0.0.1",
                "127.0.0.1",
                80,
                "/j",
            ),
        ] {
            let uri = KeySetUri::parse(text).unwrap();
            assert_eq!(uri.scheme, scheme, "{text}");
            assert_eq!(uri.authority, authority, "{text}");
            assert_eq!(uri.host, host, "{text}");
            assert_eq!(uri.port, port, "{text}");
            assert_eq!(uri.path, path, "{text}");
            assert_eq!(uri.to_string(), text);
            let shown = text.split(['?', '#']).next();
            assert_eq!(Some(uri.without_query()), shown, "{text}");
        }
        for text in [
            "a.test",
            "tcp://a.test",
            "file:///j",
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
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://169.254.43518/",
            "http://0251.0376.0251.0376/",
            "http://1.2.3.4.5/",
            "http://[fe80::1%25eth0]/",
            "http://[a.test]/",
            "",
        ] {
            assert!(KeySetUri::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn link_local_addresses_and_metadata_services() {
        for (host, expected) in [
            ("169.254.169.254", true),
            ("169.254.169.254.", true),
            ("169.254.0.1", true),
            ("169.254.170.2", true),
            ("169.254.170.23", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("192.0.0.192", true),
            ("[fd00:ec2::23]", true),
            ("[fd20:ce::254]", true),
            ("[fd00:c1::a9fe:a9fe]", true),
            ("[fd00:42::42]", true),
            ("[fd00:a9fe:a9fe::1]", true),
            ("[fe80::a9fe:a9fe]", true),
            ("[::ffff:168.63.129.16]", true),
            ("[64:ff9b::192.0.0.192]", true),
            ("metadata.tencentyun.com", true),
            ("168.63.129.17", false),
            ("192.0.0.193", false),
            ("[fd20:ce::255]", false),
            ("[fd00:ec3::254]", false),
            ("[fe80::1]", true),
            ("[fd00:ec2::254]", true),
            ("[::ffff:169.254.169.254]", true),
            ("[::a9fe:a9fe]", true),
            ("[64:ff9b::169.254.169.254]", true),
            ("[2002:a9fe:a9fe::1]", true),
            ("metadata.google.internal", true),
            ("METADATA.google.internal.", true),
            ("a.test", false),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("100.100.100.201", false),
            ("[::1]", false),
            ("[::ffff:10.0.0.1]", false),
            ("[fd00::1]", false),
        ] {
            let uri = KeySetUri::parse(&format!("http://{host}:8080/j")).unwrap();
            assert_eq!(uri.is_link_local(), expected, "{host}");
        }
    }
}
