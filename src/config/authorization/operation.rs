//! What a rule is about.

use serde_json::Value;

use super::{compile, conditions};
use crate::authz::{Condition, HostMatch, PathMatch, PeerPattern, Test};
use crate::config::reader::{Input, Read, record};
use crate::config::schema::{Schemas, a};
use crate::config::text::Text;
use crate::matcher::StringMatch;

/// All of these must hold.
#[derive(Debug)]
pub(crate) struct Operation(pub(super) Vec<Condition<PeerPattern>>);

record! {
    /// Istio's `Operation`.
    #[derive(Clone)]
    pub(crate) struct OperationFields {
        /// Hosts, whole, with the port where the request has one; case doesn't count.
        hosts: Vec<HostMatch>,
        /// Hosts that don't match.
        not_hosts: Vec<HostMatch>,
        /// Methods, such as `GET`.
        methods: Vec<Text>,
        /// Methods that don't match.
        not_methods: Vec<Text>,
        /// Paths, without the query. In a template the segment `{*}` is one segment, which isn't
        /// empty, and `{**}` anything, also nothing; `{**}` is the last of them:
        /// `/foo/{*}/bar/{**}`.
        paths: Vec<PathMatch>,
        /// Paths that don't match.
        not_paths: Vec<PathMatch>,
        /// Our own ports, in quotes.
        ports: Vec<Port>,
        /// Ports that don't match.
        not_ports: Vec<Port>,
    }
}

impl OperationFields {
    /// Whether no field is stated.
    pub(crate) fn is_empty(&self) -> bool {
        let texts = [&self.methods, &self.not_methods];
        let ports = [&self.ports, &self.not_ports];
        let (hosts, paths) = (
            [&self.hosts, &self.not_hosts],
            [&self.paths, &self.not_paths],
        );
        texts.iter().all(|list| list.is_empty())
            && ports.iter().all(|list| list.is_empty())
            && hosts.iter().all(|list| list.is_empty())
            && paths.iter().all(|list| list.is_empty())
    }

    /// What is stated.
    pub(crate) fn conditions(self) -> Vec<Condition<PeerPattern>> {
        let methods = |texts: Vec<Text>| {
            Test::Header(":method".to_owned(), compile(&texts, StringMatch::header))
        };
        let ports = |ports: Vec<Port>| {
            Test::DestinationPort(ports.into_iter().map(|port| port.0).collect())
        };
        conditions([
            (false, Test::Host(self.hosts)),
            (true, Test::Host(self.not_hosts)),
            (false, methods(self.methods)),
            (true, methods(self.not_methods)),
            (false, Test::Path(self.paths)),
            (true, Test::Path(self.not_paths)),
            (false, ports(self.ports)),
            (true, ports(self.not_ports)),
        ])
    }
}

impl Read for Operation {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = OperationFields::read(input)?;
        if fields.is_empty() {
            input.mistake("`operation` must not be empty: remove `to` to match any operation");
        }
        Some(Self(fields.conditions()))
    }

    fn schema(schemas: &mut Schemas) -> Value {
        OperationFields::schema(schemas)
    }
}

impl Read for HostMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(host) = Text::read(input)?;
        let ignores_port = input.ignores_host_port();
        // Any port is none in particular.
        let name = match ignores_port {
            true => host.strip_suffix(":*").unwrap_or(&host),
            false => &host,
        };
        let after_address = name.rsplit(']').next().unwrap_or(name);
        if ignores_port && after_address.contains(':') {
            input.mistake(
                "`ignoreHostPort` leaves no port to compare: write the host without, or `:*`",
            );
            return None;
        }
        Some(Self {
            pattern: StringMatch::host(name),
            ignores_port,
        })
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

impl Read for PathMatch {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(path) = Text::read(input)?;
        Self::parse(&path, input.ignores_path_case())
            .map_err(|error| input.mistake(error))
            .ok()
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A port, which Istio writes as a string.
#[derive(Clone, Debug)]
pub(crate) struct Port(pub(super) u16);

impl Read for Port {
    fn read(input: &Input<'_>) -> Option<Self> {
        let port = input.text()?.parse().ok().map(Self);
        if port.is_none() {
            input.mistake("not a port: write a number from 0 to 65535 in quotes");
        }
        port
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}
