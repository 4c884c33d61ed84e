//! The connection of a request: its addresses, and who is at the other end.

use std::cell::OnceCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What the host can be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Attribute {
    /// Whether the certificate of the peer was validated: one byte. Envoy tells from 1.39 on.
    CertificateValid,
    /// Our own address and port.
    DestinationAddress,
    /// The address of the TCP peer, where a filter ahead of us wrote it to filter state.
    DirectAddress,
    /// The first DNS name of the peer's certificate.
    DnsSan,
    /// Whether the peer presented a certificate: one byte.
    Mtls,
    /// The name that the peer asked for in its TLS hello.
    ServerName,
    /// The address of the client as Envoy sees it. With port 0 it was taken from
    /// `x-forwarded-for`.
    SourceAddress,
    /// The subject of the peer's certificate.
    Subject,
    /// The first URI of the peer's certificate.
    UriSan,
}

/// What the core needs to know of a request that isn't in its header.
pub trait Host: fmt::Debug {
    /// An attribute as the host writes it; `None` where it has none.
    fn attribute(&self, attribute: Attribute) -> Option<Vec<u8>>;

    /// What another filter wrote to dynamic metadata.
    fn metadata(&self, filter: &str, key: &str) -> Option<Metadata>;
}

/// A value of dynamic metadata.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Metadata {
    /// A list of strings.
    List(Vec<Vec<u8>>),
    /// A string.
    Text(Vec<u8>),
}

/// A host that knows nothing but the header.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn attribute(&self, _: Attribute) -> Option<Vec<u8>> {
        None
    }

    fn metadata(&self, _: &str, _: &str) -> Option<Metadata> {
        None
    }
}

/// The connection of one request. Each attribute is fetched at first use, and kept.
pub(crate) struct Connection<'h> {
    host: &'h dyn Host,
    destination: OnceCell<Option<SocketAddr>>,
    direct: OnceCell<Option<IpAddr>>,
    peer: OnceCell<Option<String>>,
    server_name: OnceCell<Vec<u8>>,
    source: OnceCell<Option<SocketAddr>>,
}

impl<'h> Connection<'h> {
    pub(crate) fn new(host: &'h dyn Host) -> Self {
        Self {
            host,
            destination: OnceCell::new(),
            direct: OnceCell::new(),
            peer: OnceCell::new(),
            server_name: OnceCell::new(),
            source: OnceCell::new(),
        }
    }

    /// Whether the peer presented a certificate that, as far as Envoy tells, is valid.
    pub(crate) fn is_mutual_tls(&self) -> bool {
        self.is_set(Attribute::Mtls) && !self.is_unset(Attribute::CertificateValid)
    }

    /// Who the peer is by its certificate: its first URI, else its first DNS name, else its subject, as
    /// Envoy's `authenticated` principal takes them. A certificate that wasn't validated tells
    /// nothing; where Envoy doesn't say whether it was, it is the listener that must see to it.
    pub(crate) fn peer(&self) -> Option<&str> {
        let peer = self.peer.get_or_init(|| {
            if !self.is_mutual_tls() {
                return None;
            }
            let names = [Attribute::UriSan, Attribute::DnsSan, Attribute::Subject];
            let mut names = names.into_iter().filter_map(|name| self.text(name));
            names.find(|name| !name.is_empty())
        });
        peer.as_deref()
    }

    /// The address of the TCP peer. What a filter ahead says comes first: with the PROXY protocol, too,
    /// the client's address isn't the peer's.
    pub(crate) fn direct_ip(&self) -> Option<IpAddr> {
        *self.direct.get_or_init(|| {
            let address: IpAddr = match self.host.attribute(Attribute::DirectAddress) {
                Some(address) => String::from_utf8(address).ok()?.parse().ok()?,
                None => self.source().filter(|source| source.port() != 0)?.ip(),
            };
            Some(address.to_canonical())
        })
    }

    /// The address of the client as trusted proxies report it.
    pub(crate) fn remote_ip(&self) -> Option<IpAddr> {
        Some(self.source()?.ip().to_canonical())
    }

    pub(crate) fn destination_ip(&self) -> Option<IpAddr> {
        Some(self.destination()?.ip().to_canonical())
    }

    pub(crate) fn destination_port(&self) -> Option<u16> {
        Some(self.destination()?.port())
    }

    /// Empty where the peer asked for none.
    pub(crate) fn server_name(&self) -> &[u8] {
        self.server_name.get_or_init(|| {
            let name = self.host.attribute(Attribute::ServerName);
            name.unwrap_or_default()
        })
    }

    pub(crate) fn metadata(&self, filter: &str, key: &str) -> Option<Metadata> {
        self.host.metadata(filter, key)
    }

    fn source(&self) -> Option<SocketAddr> {
        *self
            .source
            .get_or_init(|| self.address(Attribute::SourceAddress))
    }

    fn destination(&self) -> Option<SocketAddr> {
        *self
            .destination
            .get_or_init(|| self.address(Attribute::DestinationAddress))
    }

    fn address(&self, attribute: Attribute) -> Option<SocketAddr> {
        self.text(attribute)?.parse().ok()
    }

    fn text(&self, attribute: Attribute) -> Option<String> {
        String::from_utf8(self.host.attribute(attribute)?).ok()
    }

    fn is_set(&self, attribute: Attribute) -> bool {
        self.host
            .attribute(attribute)
            .is_some_and(|value| value == [1])
    }

    fn is_unset(&self, attribute: Attribute) -> bool {
        self.host
            .attribute(attribute)
            .is_some_and(|value| value != [1])
    }
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connection")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default)]
    struct Told {
        attributes: BTreeMap<Attribute, Vec<u8>>,
        asked: RefCell<Vec<Attribute>>,
    }

    impl Host for Told {
        fn attribute(&self, attribute: Attribute) -> Option<Vec<u8>> {
            self.asked.borrow_mut().push(attribute);
            self.attributes.get(&attribute).cloned()
        }

        fn metadata(&self, _: &str, _: &str) -> Option<Metadata> {
            None
        }
    }

    fn told(attributes: &[(Attribute, &[u8])]) -> Told {
        Told {
            attributes: attributes
                .iter()
                .map(|(name, value)| (*name, value.to_vec()))
                .collect(),
            ..Told::default()
        }
    }

    #[test]
    fn who_the_peer_is() {
        use Attribute::{CertificateValid, DnsSan, Mtls, Subject, UriSan};
        let uri: (Attribute, &[u8]) = (UriSan, b"spiffe://td/ns/a/sa/b");
        for (attributes, expected) in [
            (&[][..], None),
            (&[uri], None),
            (&[(Mtls, &[0]), uri], None),
            (&[(Mtls, &[1]), uri], Some("spiffe://td/ns/a/sa/b")),
            (&[(Mtls, &[1]), (CertificateValid, &[0]), uri], None),
            (
                &[(Mtls, &[1]), (CertificateValid, &[1]), uri],
                Some("spiffe://td/ns/a/sa/b"),
            ),
            (&[(Mtls, &[1]), (DnsSan, b"a.test")], Some("a.test")),
            (&[(Mtls, &[1]), (Subject, b"CN=a")], Some("CN=a")),
            (
                &[(Mtls, &[1]), (UriSan, b""), (Subject, b"CN=a")],
                Some("CN=a"),
            ),
            (&[(Mtls, &[1]), (UriSan, b"\xff")], None),
            (&[(Mtls, &[1])], None),
        ] {
            let host = told(attributes);
            assert_eq!(Connection::new(&host).peer(), expected, "{attributes:?}");
        }
    }

    #[test]
    fn the_peers_address_is_not_what_a_header_says() {
        use Attribute::{DirectAddress, SourceAddress};
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for (attributes, direct, remote) in [
            (&[][..], None, None),
            (
                &[(SourceAddress, &b"10.0.0.1:5000"[..])],
                ip("10.0.0.1"),
                ip("10.0.0.1"),
            ),
            (&[(SourceAddress, b"9.9.9.9:0")], None, ip("9.9.9.9")),
            (
                &[(SourceAddress, b"9.9.9.9:0"), (DirectAddress, b"10.0.0.1")],
                ip("10.0.0.1"),
                ip("9.9.9.9"),
            ),
            (
                &[(SourceAddress, b"9.9.9.9:7"), (DirectAddress, b"10.0.0.1")],
                ip("10.0.0.1"),
                ip("9.9.9.9"),
            ),
            (
                &[(SourceAddress, b"9.9.9.9:7"), (DirectAddress, b"-")],
                None,
                ip("9.9.9.9"),
            ),
            (
                &[(SourceAddress, b"[::ffff:10.0.0.1]:1")],
                ip("10.0.0.1"),
                ip("10.0.0.1"),
            ),
            (&[(SourceAddress, b"/tmp/socket")], None, None),
        ] {
            let host = told(attributes);
            let connection = Connection::new(&host);
            assert_eq!(connection.direct_ip(), direct, "{attributes:?}");
            assert_eq!(connection.remote_ip(), remote, "{attributes:?}");
        }
    }

    #[test]
    fn the_host_is_asked_once() {
        let host = told(&[(Attribute::DestinationAddress, b"10.0.0.1:80")]);
        let connection = Connection::new(&host);
        for _ in 0..2 {
            assert_eq!(connection.destination_port(), Some(80));
            assert_eq!(connection.destination_ip(), "10.0.0.1".parse().ok());
            assert_eq!(connection.server_name(), b"");
        }
        assert_eq!(
            *host.asked.borrow(),
            [Attribute::DestinationAddress, Attribute::ServerName]
        );
    }
}
