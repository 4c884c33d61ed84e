//! A request as people write it down, and what Envoy knows of its connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::config::port::PortNumber;
use crate::config::reader::{Input, Read, record};
use crate::config::schema::Schemas;
use crate::connection::{Attribute, Host, Metadata, Untold};
use crate::request::Request;

/// Of clients whose address is told. A port of 0 means to Envoy that a proxy reports the address.
const CLIENT_PORT: u16 = 49152;

record! {
    /// A request.
    #[derive(Clone, Default)]
    pub(crate) struct Written {
        /// Default: `GET`.
        method: Option<String>,
        /// With its query. Default: `/`.
        path: Option<String>,
        /// `host` or `host:port`. Default: `localhost`.
        host: Option<String>,
        /// `http` or `https`. Default: `https`.
        scheme: Option<String>,
        /// An object of strings or lists of strings, or a list of pairs.
        headers: Headers,
        /// The identity in the client's certificate: `spiffe://...`. Default: there is none.
        peer: Option<String>,
        /// The address of the TCP peer. Default: unknown.
        source_ip: Option<Ip>,
        /// The address of the client as trusted proxies report it. Default: `sourceIp`.
        remote_ip: Option<Ip>,
        /// Our own address. Default: `127.0.0.1`, where there is a `destinationPort`.
        destination_ip: Option<Ip>,
        /// The port on which the request arrives. Default: unknown.
        destination_port: Option<PortNumber>,
        /// The name that the client asks for in its TLS hello.
        sni: Option<String>,
    }
}

/// Header lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

/// An address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip(pub(crate) IpAddr);

impl Read for Headers {
    fn read(input: &Input<'_>) -> Option<Self> {
        let line = |name: &str, value: &Value| Some((name.to_owned(), value.as_str()?.to_owned()));
        let lines: Option<Vec<Vec<_>>> = match input.value() {
            Value::Object(members) => {
                let members = members.iter().map(|(name, value)| match value {
                    Value::Array(values) => values.iter().map(|value| line(name, value)).collect(),
                    value => Some(vec![line(name, value)?]),
                });
                members.collect()
            }
            Value::Array(pairs) => {
                let pairs = pairs.iter().map(|pair| match pair.as_array()?.as_slice() {
                    [name, value] => Some(vec![line(name.as_str()?, value)?]),
                    _ => None,
                });
                pairs.collect()
            }
            _ => None,
        };
        match lines {
            Some(lines) => Some(Self(lines.concat())),
            None => input.expected("an object of strings, or a list of pairs of strings"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": ["object", "array"] })
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(Self::default())
    }
}

impl Read for Ip {
    fn read(input: &Input<'_>) -> Option<Self> {
        let address = input.text()?.parse();
        if address.is_err() {
            input.mistake("no IP address");
        }
        address.ok().map(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "string" })
    }
}

impl Written {
    /// The request as Envoy hands it over.
    pub(super) fn request(&self) -> Request {
        let or =
            |value: &Option<String>, default: &str| value.as_deref().unwrap_or(default).to_owned();
        let pseudo = [
            (":authority", or(&self.host, "localhost")),
            (":path", or(&self.path, "/")),
            (":method", or(&self.method, "GET")),
            (":scheme", or(&self.scheme, "https")),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value));
        let headers = self.headers.0.iter();
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let lines = pseudo.into_iter().chain(headers);
        Request::new(
            lines
                .map(|(name, value)| (name, value.into_bytes()))
                .collect(),
        )
    }

    /// Adds a line; `host` is no header of its own.
    pub(super) fn header(&mut self, name: &str, value: &str) {
        match name.eq_ignore_ascii_case("host") {
            true => self.host = Some(value.to_owned()),
            false => self.headers.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Takes scheme, host and path from an address. A path alone leaves the others as they are.
    ///
    /// # Errors
    ///
    /// What keeps it from being one.
    pub(super) fn address(&mut self, url: &str) -> Result<(), String> {
        if url.contains(char::is_whitespace) {
            return Err(format!("`{url}`: an address has no blanks in it"));
        }
        if url.starts_with('/') {
            let path = url.split('#').next().unwrap_or_default();
            self.path = Some(path.to_owned());
            return Ok(());
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() {
            return Err(format!("`{url}`: there is no host in it"));
        }
        self.scheme = Some(scheme.to_ascii_lowercase());
        self.host = Some(host.to_owned());
        self.path = Some(match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        });
        Ok(())
    }
}

impl Host for Written {
    fn attribute(&self, attribute: Attribute) -> Result<Option<Vec<u8>>, Untold> {
        let text = |value: Option<String>| value.map(String::into_bytes);
        let has_peer = self.peer.is_some();
        Ok(match attribute {
            Attribute::CertificateValid => has_peer.then(|| vec![1]),
            Attribute::Mtls => Some(vec![u8::from(has_peer)]),
            Attribute::UriSan => text(self.peer.clone()),
            Attribute::DnsSan | Attribute::Subject => None,
            Attribute::ServerName => text(self.sni.as_ref().map(|name| name.to_ascii_lowercase())),
            Attribute::DestinationAddress => text(self.destination_port.map(|PortNumber(port)| {
                let local = Ip(Ipv4Addr::LOCALHOST.into());
                SocketAddr::new(self.destination_ip.unwrap_or(local).0, port).to_string()
            })),
            Attribute::DirectAddress => text(self.source_ip.map(|Ip(ip)| ip.to_string())),
            Attribute::SourceAddress => text(match (self.remote_ip, self.source_ip) {
                (Some(Ip(ip)), _) => Some(SocketAddr::new(ip, 0).to_string()),
                (None, Some(Ip(ip))) => Some(SocketAddr::new(ip, CLIENT_PORT).to_string()),
                (None, None) => None,
            }),
        })
    }

    fn metadata(&self, _: &str, _: &str) -> Result<Option<Metadata>, Untold> {
        Ok(None)
    }
}
