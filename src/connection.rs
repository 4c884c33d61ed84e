//! The connection of a request: its addresses, and who is at the other end.

use std::cell::OnceCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What the host can be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Attribute {
    /// Whether the certificate of the peer was validated in this session's handshake: one byte. Envoy
    /// tells from 1.39 on.
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
    ///
    /// # Errors
    ///
    /// The host doesn't tell whether it has one.
    fn attribute(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Untold>;

    /// What another filter wrote to dynamic metadata.
    ///
    /// # Errors
    ///
    /// The host doesn't tell what it is.
    fn metadata(&self, filter: &str, key: &str) -> Result<Option<Metadata>, Untold>;
}

/// The host refused to answer, or not in a form that can be read: it may be anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Untold;

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
    fn attribute(&self, _: Attribute) -> Result<Option<Vec<u8>>, Untold> {
        Ok(None)
    }

    fn metadata(&self, _: &str, _: &str) -> Result<Option<Metadata>, Untold> {
        Ok(None)
    }
}

/// What is known of certificates that a listener takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Validation {
    /// They are valid.
    #[default]
    Done,
    /// They may not be, and what the host doesn't confirm is unknown.
    Unknown,
}

/// The connection of one request. Each attribute is fetched at first use, and kept.
pub(crate) struct Connection<'h> {
    host: &'h dyn Host,
    validation: Validation,
    destination: OnceCell<Option<SocketAddr>>,
    direct: OnceCell<Option<IpAddr>>,
    peer: OnceCell<Result<Option<String>, Untold>>,
    server_name: OnceCell<Result<Vec<u8>, Untold>>,
    source: OnceCell<Option<SocketAddr>>,
}

impl<'h> Connection<'h> {
    pub(crate) fn new(host: &'h dyn Host, validation: Validation) -> Self {
        Self {
            host,
            validation,
            destination: OnceCell::new(),
            direct: OnceCell::new(),
            peer: OnceCell::new(),
            server_name: OnceCell::new(),
            source: OnceCell::new(),
        }
    }

    /// Whether the peer presented a valid certificate.
    ///
    /// Envoy from 1.39 on tells of every resumed TLS session that its certificate isn't valid, though it was
    /// validated when the session began. So, as in native RBAC, a listener is taken at its word that it
    /// ends the handshakes of others, unless the configuration says that it doesn't.
    pub(crate) fn is_mutual_tls(&self) -> Result<bool, Untold> {
        let is_presented = self.is(Attribute::Mtls)?;
        if is_presented && self.validation == Validation::Unknown {
            // Only a yes tells anything.
            return match self.is(Attribute::CertificateValid)? {
                true => Ok(true),
                false => Err(Untold),
            };
        }
        Ok(is_presented)
    }

    /// Whether the host, asked about the peer's certificate, doesn't say that it is valid.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.validation == Validation::Unknown
            && self.is(Attribute::Mtls) == Ok(true)
            && self.is(Attribute::CertificateValid) == Ok(false)
    }

    fn is(&self, attribute: Attribute) -> Result<bool, Untold> {
        let value = self.host.attribute(attribute)?;
        Ok(value.is_some_and(|value| value == [1]))
    }

    /// Who the peer is by its certificate: its first URI, else its first DNS name, else its subject, as
    /// Envoy's `authenticated` principal takes them.
    pub(crate) fn peer(&self) -> Result<Option<&str>, Untold> {
        let peer = self.peer.get_or_init(|| {
            if !self.is_mutual_tls()? {
                return Ok(None);
            }
            for attribute in [Attribute::UriSan, Attribute::DnsSan, Attribute::Subject] {
                let name = self.host.attribute(attribute)?;
                if let Some(name) = name.filter(|name| !name.is_empty()) {
                    return String::from_utf8(name).map(Some).map_err(|_| Untold);
                }
            }
            Ok(None)
        });
        match peer {
            Ok(peer) => Ok(peer.as_deref()),
            Err(untold) => Err(*untold),
        }
    }

    /// The address of the TCP peer. What a filter ahead says comes first: with the PROXY protocol, too,
    /// the client's address isn't the peer's.
    pub(crate) fn direct_ip(&self) -> Option<IpAddr> {
        *self.direct.get_or_init(|| {
            let address: IpAddr = match self.host.attribute(Attribute::DirectAddress).ok()? {
                Some(address) => String::from_utf8(address).ok()?.parse().ok()?,
                None => self.source().filter(|source| source.port() != 0)?.ip(),
            };
            Some(address)
        })
    }

    /// The address of the client as trusted proxies report it.
    pub(crate) fn remote_ip(&self) -> Option<IpAddr> {
        Some(self.source()?.ip())
    }

    pub(crate) fn destination_ip(&self) -> Option<IpAddr> {
        Some(self.destination()?.ip())
    }

    pub(crate) fn destination_port(&self) -> Option<u16> {
        Some(self.destination()?.port())
    }

    /// Empty where the peer asked for none.
    pub(crate) fn server_name(&self) -> Result<&[u8], Untold> {
        let name = self.server_name.get_or_init(|| {
            let name = self.host.attribute(Attribute::ServerName)?;
            Ok(name.unwrap_or_default())
        });
        match name {
            Ok(name) => Ok(name),
            Err(untold) => Err(*untold),
        }
    }

    pub(crate) fn metadata(&self, filter: &str, key: &str) -> Result<Option<Metadata>, Untold> {
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
        let address = self.host.attribute(attribute).ok()??;
        str::from_utf8(&address).ok()?.parse().ok()
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
        untold: Option<Attribute>,
        asked: RefCell<Vec<Attribute>>,
    }

    impl Host for Told {
        fn attribute(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Untold> {
            self.asked.borrow_mut().push(attribute);
            match self.untold == Some(attribute) {
                true => Err(Untold),
                false => Ok(self.attributes.get(&attribute).cloned()),
            }
        }

        fn metadata(&self, _: &str, _: &str) -> Result<Option<Metadata>, Untold> {
            Ok(None)
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
        let named = "spiffe://td/ns/a/sa/b";
        let uri: (Attribute, &[u8]) = (UriSan, named.as_bytes());
        for (attributes, expected) in [
            (&[][..], None),
            (&[uri], None),
            (&[(Mtls, &[0]), uri], None),
            (&[(Mtls, &[1]), uri], Some(named)),
            (&[(Mtls, &[1]), (CertificateValid, &[0]), uri], Some(named)),
            (&[(Mtls, &[1]), (CertificateValid, &[1]), uri], Some(named)),
            (&[(Mtls, &[1]), (DnsSan, b"a.test")], Some("a.test")),
            (&[(Mtls, &[1]), (Subject, b"CN=a")], Some("CN=a")),
            (
                &[(Mtls, &[1]), (UriSan, b""), (Subject, b"CN=a")],
                Some("CN=a"),
            ),
            (&[(Mtls, &[1])], None),
        ] {
            let host = told(attributes);
            let connection = Connection::new(&host, Validation::Done);
            assert_eq!(connection.peer(), Ok(expected), "{attributes:?}");
            assert!(!host.asked.borrow().contains(&CertificateValid));
        }
        for (attributes, expected) in [
            (&[(Mtls, &b"\0"[..]), uri][..], Ok(None)),
            (&[uri], Ok(None)),
            (&[(Mtls, &[1]), uri], Err(Untold)),
            (&[(Mtls, &[1]), (CertificateValid, &[0]), uri], Err(Untold)),
            (
                &[(Mtls, &[1]), (CertificateValid, &[1]), uri],
                Ok(Some(named)),
            ),
        ] {
            let host = told(attributes);
            let connection = Connection::new(&host, Validation::Unknown);
            assert_eq!(connection.peer(), expected, "{attributes:?}");
        }
        let host = told(&[(Mtls, &[1]), (UriSan, b"\xff"), (Subject, b"CN=a")]);
        let connection = Connection::new(&host, Validation::Done);
        assert_eq!(connection.peer(), Err(Untold));
    }

    #[test]
    fn what_the_host_does_not_tell_is_not_taken_for_nothing() {
        use Attribute::{CertificateValid, DirectAddress, DnsSan, Mtls, ServerName, UriSan};
        let known: [(Attribute, &[u8]); 3] = [
            (Attribute::SourceAddress, b"10.0.0.1:5000"),
            (Mtls, &[1]),
            (UriSan, b"spiffe://td/ns/a/sa/b"),
        ];
        let host = |untold| Told {
            untold: Some(untold),
            ..told(&known)
        };
        for (untold, is_mutual_tls, peer) in [
            (Mtls, Err(Untold), Err(Untold)),
            (
                CertificateValid,
                Ok(true),
                Ok(Some("spiffe://td/ns/a/sa/b")),
            ),
            (UriSan, Ok(true), Err(Untold)),
            (DnsSan, Ok(true), Ok(Some("spiffe://td/ns/a/sa/b"))),
        ] {
            let host = host(untold);
            let connection = Connection::new(&host, Validation::Done);
            assert_eq!(connection.is_mutual_tls(), is_mutual_tls, "{untold:?}");
            assert_eq!(connection.peer(), peer, "{untold:?}");
        }
        let direct = host(DirectAddress);
        assert_eq!(Connection::new(&direct, Validation::Done).direct_ip(), None);
        let name = host(ServerName);
        assert_eq!(
            Connection::new(&name, Validation::Done).server_name(),
            Err(Untold)
        );
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
                ip("::ffff:10.0.0.1"),
                ip("::ffff:10.0.0.1"),
            ),
            (&[(SourceAddress, b"/tmp/socket")], None, None),
        ] {
            let host = told(attributes);
            let connection = Connection::new(&host, Validation::Done);
            assert_eq!(connection.direct_ip(), direct, "{attributes:?}");
            assert_eq!(connection.remote_ip(), remote, "{attributes:?}");
        }
    }

    #[test]
    fn the_host_is_asked_once() {
        let host = told(&[(Attribute::DestinationAddress, b"10.0.0.1:80")]);
        let connection = Connection::new(&host, Validation::Done);
        for _ in 0..2 {
            assert_eq!(connection.destination_port(), Some(80));
            assert_eq!(connection.destination_ip(), "10.0.0.1".parse().ok());
            assert_eq!(connection.server_name(), Ok(&b""[..]));
        }
        assert_eq!(
            *host.asked.borrow(),
            [Attribute::DestinationAddress, Attribute::ServerName]
        );
    }
}
