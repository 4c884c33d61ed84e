//! The connection of a request: who is at its other end, and what filters ahead of us say of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use portcullis::{Attribute, Host, Metadata, Untold};
use serde_json::{Map, Value, json};

use super::case::{members, strings, text};
use super::to_bytes;

/// The port of the fixture that Istio's cases have.
const DEFAULT_PORT: u16 = 18080;
/// The port that a client happens to come from.
const CLIENT_PORT: u16 = 40000;

/// The other end of a connection, and ours.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Peer {
    /// Plain text where there is none.
    pub tls: Option<Tls>,
    pub source_ip: IpAddr,
    pub dest_ip: IpAddr,
    pub dest_port: u16,
}

/// What a client says in its TLS handshake.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Tls {
    pub certificate: Option<Certificate>,
    pub server_name: Option<String>,
    /// Whether it goes on with a session of before.
    pub resumed: bool,
}

/// The names in a certificate, and whether it is of an authority that the listener trusts.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Certificate {
    pub uris: Vec<String>,
    pub dns: Vec<String>,
    pub common_name: Option<String>,
    pub trusted: bool,
}

/// What filters ahead of us tell.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ahead {
    /// The address of the TCP peer, in filter state.
    pub direct_address: bool,
    /// Dynamic metadata, by filter.
    pub metadata: Map<String, Value>,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            tls: None,
            source_ip: Ipv4Addr::LOCALHOST.into(),
            dest_ip: Ipv4Addr::LOCALHOST.into(),
            dest_port: DEFAULT_PORT,
        }
    }
}

impl Peer {
    pub fn parse(peer: Option<&Value>) -> Self {
        let Some(peer) = peer else {
            return Self::default();
        };
        let what = peer.to_string();
        let known = [
            "mtls",
            "uri_san",
            "dns_san",
            "common_name",
            "trusted",
            "sni",
            "resumed",
            "source_ip",
            "dest_ip",
            "dest_port",
        ];
        let peer = members(peer, &what, &known);
        let server_name = peer.get("sni").map(|name| text(name).to_owned());
        let certificate = (peer.get("mtls") == Some(&json!(true))).then(|| Certificate {
            uris: one_or_more(peer.get("uri_san")),
            dns: one_or_more(peer.get("dns_san")),
            common_name: peer.get("common_name").map(|name| text(name).to_owned()),
            trusted: peer.get("trusted") != Some(&json!(false)),
        });
        let default = Self::default();
        let ip = |name: &str, default: IpAddr| match peer.get(name) {
            Some(ip) => text(ip)
                .parse()
                .unwrap_or_else(|_| panic!("{ip}: no address")),
            None => default,
        };
        Self {
            tls: (certificate.is_some() || server_name.is_some()).then_some(Tls {
                certificate,
                server_name,
                resumed: peer.get("resumed") == Some(&json!(true)),
            }),
            source_ip: ip("source_ip", default.source_ip),
            dest_ip: ip("dest_ip", default.dest_ip),
            dest_port: peer.get("dest_port").map_or(DEFAULT_PORT, |port| {
                port.as_u64()
                    .and_then(|port| port.try_into().ok())
                    .expect("a port")
            }),
        }
    }

    /// Whether Envoy says that its certificate is valid.
    pub fn is_confirmed(&self) -> bool {
        let told = self.attributes(None);
        told.contains(&(Attribute::CertificateValid, vec![1]))
    }

    /// What Envoy tells of the connection; with the address that a trusted proxy reports, where one does.
    pub fn attributes(&self, reported: Option<&str>) -> Vec<(Attribute, Vec<u8>)> {
        let source = match reported {
            Some(ip) => SocketAddr::new(ip.parse().expect("an address"), 0),
            None => SocketAddr::new(self.source_ip, CLIENT_PORT),
        };
        let destination = SocketAddr::new(self.dest_ip, self.dest_port);
        let mut told = vec![
            (Attribute::SourceAddress, source.to_string().into_bytes()),
            (
                Attribute::DestinationAddress,
                destination.to_string().into_bytes(),
            ),
        ];
        let certificate = self.tls.iter().find_map(|tls| tls.certificate.as_ref());
        told.push((Attribute::Mtls, vec![certificate.is_some().into()]));
        if let Some(tls) = &self.tls {
            // Envoy puts it into lower case.
            let name = tls.server_name.clone().unwrap_or_default();
            let name = name.to_ascii_lowercase().into_bytes();
            told.push((Attribute::ServerName, name));
            // Envoy knows nothing of it in a resumed session.
            let is_valid = certificate.is_some_and(|it| it.trusted) && !tls.resumed;
            told.push((Attribute::CertificateValid, vec![is_valid.into()]));
        }
        if let Some(certificate) = certificate {
            let names = [
                (Attribute::UriSan, certificate.uris.first()),
                (Attribute::DnsSan, certificate.dns.first()),
            ];
            for (attribute, name) in names {
                let name = name.cloned().unwrap_or_default();
                told.push((attribute, name.into_bytes()));
            }
            let subject = certificate.common_name.as_ref();
            let subject = subject.map_or(String::new(), |name| format!("CN={name}"));
            told.push((Attribute::Subject, subject.into_bytes()));
        }
        told
    }
}

impl Ahead {
    pub fn parse(ahead: Option<&Value>) -> Self {
        let Some(ahead) = ahead else {
            return Self::default();
        };
        let ahead = members(ahead, "ahead", &["direct_address", "metadata"]);
        let metadata = ahead.get("metadata").and_then(Value::as_object);
        Self {
            direct_address: ahead.get("direct_address") == Some(&json!(true)),
            metadata: metadata.cloned().unwrap_or_default(),
        }
    }

    /// A value of dynamic metadata.
    pub fn value(&self, filter: &str, key: &str) -> Option<Metadata> {
        Some(match self.metadata.get(filter)?.get(key)? {
            Value::String(text) => Metadata::Text(to_bytes(text)),
            list => {
                let items = strings(Some(list)).into_iter();
                Metadata::List(items.map(|item| to_bytes(&item)).collect())
            }
        })
    }
}

/// A host that answers as Envoy would for a request.
#[derive(Debug)]
pub struct Given {
    attributes: BTreeMap<Attribute, Vec<u8>>,
    ahead: Ahead,
    /// The paths of what it refuses to tell.
    untold: BTreeSet<String>,
}

impl Given {
    pub fn new(peer: &Peer, ahead: &Ahead, reported: Option<&str>) -> Self {
        let mut attributes: BTreeMap<_, _> = peer.attributes(reported).into_iter().collect();
        if ahead.direct_address {
            let address = peer.source_ip.to_string().into_bytes();
            attributes.insert(Attribute::DirectAddress, address);
        }
        Self {
            attributes,
            ahead: ahead.clone(),
            untold: BTreeSet::new(),
        }
    }

    /// The same, but these are refused.
    pub fn without(self, untold: &[String]) -> Self {
        let untold = untold.iter().cloned().collect();
        Self { untold, ..self }
    }

    /// All that there is, under Envoy's names; `None`: refused.
    #[cfg(not(target_family = "wasm"))]
    pub fn properties(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|(attribute, value)| {
            let path = path(*attribute).join("\0").into_bytes();
            (path, Some(value.clone()))
        });
        let filters = self.ahead.metadata.iter();
        let metadata = filters.flat_map(|(filter, values)| {
            let values = values.as_object().expect("metadata by key").keys();
            values.filter_map(move |key| {
                let path = ["metadata", "filter_metadata", filter, key].join("\0");
                let value = match self.ahead.value(filter, key)? {
                    Metadata::Text(text) => text,
                    // A list crosses the border as a map whose names are the items.
                    Metadata::List(items) => serialized(&items),
                };
                Some((path.into_bytes(), Some(value)))
            })
        });
        let untold = self.untold.iter();
        let untold = untold.map(|path| (path.replace('/', "\0").into_bytes(), None));
        attributes.chain(metadata).chain(untold).collect()
    }
}

/// Envoy's name.
fn path(attribute: Attribute) -> [&'static str; 2] {
    match attribute {
        Attribute::CertificateValid => ["connection", "peer_certificate_valid"],
        Attribute::DestinationAddress => ["destination", "address"],
        Attribute::DirectAddress => ["filter_state", "portcullis.direct_remote_address"],
        Attribute::DnsSan => ["connection", "dns_san_peer_certificate"],
        Attribute::Mtls => ["connection", "mtls"],
        Attribute::ServerName => ["connection", "requested_server_name"],
        Attribute::SourceAddress => ["source", "address"],
        Attribute::Subject => ["connection", "subject_peer_certificate"],
        Attribute::UriSan => ["connection", "uri_san_peer_certificate"],
    }
}

impl Host for Given {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Untold> {
        match self.untold.contains(&path(attribute).join("/")) {
            true => Err(Untold),
            false => Ok(self.attributes.get(&attribute).cloned()),
        }
    }

    fn metadata(&self, filter: &str, key: &str) -> Result<Option<Metadata>, Untold> {
        match self
            .untold
            .contains(&format!("metadata/filter_metadata/{filter}/{key}"))
        {
            true => Err(Untold),
            false => Ok(self.ahead.value(filter, key)),
        }
    }
}

#[cfg(not(target_family = "wasm"))]
fn serialized(items: &[Vec<u8>]) -> Vec<u8> {
    let pairs: Vec<_> = items
        .iter()
        .map(|item| (item.clone(), Vec::new()))
        .collect();
    super::host::maps::serialized(&pairs)
}

fn one_or_more(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        several => strings(several),
    }
}
