//! The listener that a case asks: its configuration there, what stands ahead, and where it is.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};
use socket2::{Domain, Socket, Type};

use super::case::{Case, Suite};
use super::envoy::{Listener, Transport, normalization};
use super::peer::{Ahead, Peer};

/// Where the requests of some cases go.
pub struct Place {
    /// The same for all cases of one place.
    pub name: String,
    config: Value,
    peer: Peer,
    ahead: Ahead,
}

/// A port of our own, which Envoy shares.
pub struct Reserved {
    _socket: Socket,
    pub address: SocketAddr,
}

impl Place {
    pub fn of(suite: &Suite, case: &Case) -> Self {
        let (peer, ahead) = case.connection();
        let config = suite.config(case);
        let mut name = format!("{}/{}", suite.name, case.config);
        let transport = Transport::of(&peer);
        if transport != Transport::Plain || !peer.dest_ip.eq(&Peer::default().dest_ip) {
            name.push_str(&format!(" {transport:?} {}", peer.dest_ip));
        }
        if names_port(&config, peer.dest_port) {
            name.push_str(&format!(" :{}", peer.dest_port));
        }
        if ahead != Ahead::default() {
            name.push_str(&format!(" {ahead:?}"));
        }
        Self {
            name,
            config,
            peer,
            ahead,
        }
    }

    /// The plugin's `pathNormalization`, where the configuration has one.
    pub fn normalization(&self) -> Option<&'static str> {
        normalization(&self.config)
    }

    /// The listener, behind filters made of the configuration as it is there: a port that it names
    /// and that the case takes for ours is the listener's own.
    pub fn listener<E>(
        &self,
        normalization: &'static str,
        filters: impl FnOnce(&Value) -> Result<Vec<Value>, E>,
    ) -> Result<(Listener, Reserved), E> {
        let reserved = Reserved::at(self.peer.dest_ip);
        let config = with_port(&self.config, self.peer.dest_port, reserved.address.port());
        let mut all = self.ahead.filters();
        all.extend(filters(&config)?);
        let listener = Listener {
            address: reserved.address,
            transport: Transport::of(&self.peer),
            normalization,
            ..Listener::new(&self.name, all)
        };
        Ok((listener, reserved))
    }
}

impl Reserved {
    pub fn at(ip: IpAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("a shared port");
        socket
            .bind(&SocketAddr::new(ip, 0).into())
            .expect("a free port");
        let address = socket.local_addr().expect("an address");
        Self {
            _socket: socket,
            address: address.as_socket().expect("an IP address"),
        }
    }
}

fn names_port(config: &Value, port: u16) -> bool {
    *config != with_port(config, port, 0)
}

/// The document with one port in the place of another, be it number, text or name.
fn with_port(document: &Value, from: u16, to: u16) -> Value {
    let old = from.to_string();
    match document {
        Value::Array(list) => list.iter().map(|item| with_port(item, from, to)).collect(),
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| {
                let name = if *name == old {
                    to.to_string()
                } else {
                    name.clone()
                };
                (name, with_port(value, from, to))
            });
            members.collect::<Map<_, _>>().into()
        }
        Value::Number(number) if number.as_u64() == Some(from.into()) => to.into(),
        Value::String(text) if *text == old => to.to_string().into(),
        other => other.clone(),
    }
}

impl Ahead {
    /// Envoy's filters that tell it.
    pub fn filters(&self) -> Vec<Value> {
        let mut filters = Vec::new();
        if self.direct_address {
            filters.push(json!({
            "name": "envoy.filters.http.set_filter_state",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": [{
                    "object_key": "portcullis.direct_remote_address",
                    "factory_key": "envoy.string",
                    "format_string": { "text_format_source": {
                        "inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
                    } },
                }],
            },
        }));
        }
        if !self.metadata.is_empty() {
            let entries = self.metadata.iter();
            let entries: Vec<Value> = entries
                .map(|(filter, values)| json!({ "metadata_namespace": filter, "value": values }))
                .collect();
            filters.push(json!({
            "name": "envoy.filters.http.set_metadata",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
                "metadata": entries,
            },
        }));
        }
        filters
    }
}
