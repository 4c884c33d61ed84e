//! What a `PeerAuthentication` says (security/v1beta1/peer_authentication.proto).

use serde_json::Value;

use super::port::PortNumber;
use super::reader::{Input, Read, record};
use super::schema::{Schemas, map_of, one_of};
use crate::istio::Selector;

/// Whether connections have to be mutual TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Istio's proxies then speak plain text only, which is up to the listener and not to a filter.
    Disable,
    Permissive,
    Strict,
    /// As in the wider scope.
    #[default]
    Unset,
}

impl Read for Mode {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "DISABLE" => Some(Self::Disable),
            "PERMISSIVE" => Some(Self::Permissive),
            "STRICT" => Some(Self::Strict),
            "UNSET" => Some(Self::Unset),
            _ => {
                input.mistake("unknown mode: write STRICT, PERMISSIVE, DISABLE or UNSET");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["DISABLE", "PERMISSIVE", "STRICT", "UNSET"])
    }
}

record! {
    /// What a PeerAuthentication says.
    pub(crate) struct PeerAuthentication {
        /// Whether connections have to be mutual TLS. Default: as in the wider scope.
        mtls: Option<MutualTls>,
        /// The same by port of the workload: `{8080: {mode: DISABLE}}`; needs a `selector` with
        /// labels.
        port_level_mtls: Option<PortModes>,
    }
    unread {
        /// Which workloads of the namespace, by labels. Default: all of the namespace; in the root
        /// namespace, all of the mesh.
        selector: Option<Selector>,
    }
    check check_ports;
}

record! {
    /// Istio's `PeerAuthentication.MutualTLS`.
    pub(crate) struct MutualTls {
        /// `STRICT`: required; `PERMISSIVE`, `DISABLE`: not; `UNSET`: as in the wider scope.
        /// Default: `UNSET`.
        mode: Option<Mode>,
    }
}

impl MutualTls {
    fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }
}

impl PeerAuthentication {
    pub(crate) fn mode(&self) -> Mode {
        self.mtls.as_ref().map(MutualTls::mode).unwrap_or_default()
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = (u16, Mode)> {
        let ports = self.port_level_mtls.iter().flat_map(|ports| &ports.0);
        ports.map(|(port, mode)| (port.0, *mode))
    }
}

/// As Istio's webhook says it.
fn check_ports(spec: &PeerAuthentication, input: &Input<'_>) {
    let selector = input.value().get("selector");
    let labels = selector.and_then(|selector| {
        let labels = selector.get("matchLabels");
        labels.or_else(|| selector.get("match_labels"))
    });
    let selects = labels
        .and_then(Value::as_object)
        .is_some_and(|labels| !labels.is_empty());
    match &spec.port_level_mtls {
        Some(ports) if ports.0.is_empty() => {
            input.mistake("`portLevelMtls` is empty: write a port, or remove it");
        }
        Some(_) if !selects => {
            input.mistake("`portLevelMtls` is for workloads: write a `selector` with labels");
        }
        _ => {}
    }
}

/// Modes by port.
#[derive(Debug)]
pub(crate) struct PortModes(Vec<(PortNumber, Mode)>);

impl Read for PortModes {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Value::Object(members) = input.value() else {
            return input.expected("an object of modes by port");
        };
        let object = input.object()?;
        let modes: Vec<Option<(PortNumber, Mode)>> = members
            .keys()
            .map(|name| {
                let port = PortNumber::parse(name);
                if port.is_none() {
                    input.mistake(format!("`{name}`: {}", PortNumber::RANGE));
                }
                let own = object.field::<Option<MutualTls>>(name)?;
                Some((port?, own.map(|own| own.mode()).unwrap_or_default()))
            })
            .collect();
        modes.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema(schemas: &mut Schemas) -> Value {
        map_of(&MutualTls::schema(schemas))
    }
}
