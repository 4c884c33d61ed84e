//! Mutual TLS, where a PeerAuthentication asks for it.

use std::collections::BTreeMap;

use crate::config::peer_authentication::{Mode, PeerAuthentication};
use crate::connection::Connection;
use crate::outcome::{Reason, Refusal};
use crate::sorted;

/// What the PeerAuthentications that apply here come to.
#[derive(Debug, Default)]
pub(crate) struct MutualTls {
    everywhere: Requirement,
    /// By port of the workload, where that isn't as everywhere.
    ports: BTreeMap<u16, Requirement>,
}

/// The PeerAuthentication that requires mutual TLS, if one does.
type Requirement = Option<String>;

/// How far a PeerAuthentication reaches. A nearer one comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Scope {
    Mesh,
    Namespace,
    Workload,
}

/// A PeerAuthentication that applies here.
#[derive(Debug)]
pub(crate) struct Scoped {
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) spec: PeerAuthentication,
}

impl MutualTls {
    /// Puts them together as Istio does (`ComposePeerAuthentication`): the first one of a scope counts,
    /// and what it leaves `UNSET` is as in the wider scope. By default nothing is required.
    pub(crate) fn new(oldest_first: Vec<Scoped>) -> Self {
        let mut composed = Self::default();
        for scope in [Scope::Mesh, Scope::Namespace, Scope::Workload] {
            let Some(own) = oldest_first.iter().find(|own| own.scope == scope) else {
                continue;
            };
            let requirement = |mode, inherited: &Requirement| match mode {
                Mode::Disable | Mode::Permissive => None,
                Mode::Strict => Some(own.name.clone()),
                Mode::Unset => inherited.clone(),
            };
            composed.everywhere = requirement(own.spec.mode(), &composed.everywhere);
            let ports = own.spec.ports();
            let ports = ports.map(|(port, mode)| (port, requirement(mode, &composed.everywhere)));
            composed.ports = sorted::collected(ports);
        }
        composed
    }

    /// The PeerAuthentications that require mutual TLS on some port.
    pub(crate) fn requirers(&self) -> impl Iterator<Item = &str> {
        let all = self.ports.values().chain([&self.everywhere]);
        all.flatten().map(String::as_str)
    }

    /// One of them.
    pub(crate) fn required_by(&self) -> Option<&str> {
        self.requirers().next()
    }

    /// The one that requires it on this port of the workload.
    pub(crate) fn required_on(&self, port: u16) -> Option<&str> {
        self.ports.get(&port).unwrap_or(&self.everywhere).as_deref()
    }

    /// Refuses a connection that has to be mutual TLS and isn't.
    pub(crate) fn admit(&self, connection: &Connection<'_>) -> Result<(), Refusal> {
        match self.requirement(connection) {
            Some(name) if connection.is_mutual_tls() != Ok(true) => Err(Refusal {
                policy: Some(name.to_owned()),
                ..Reason::MtlsRequired.into()
            }),
            _ => Ok(()),
        }
    }

    fn requirement(&self, connection: &Connection<'_>) -> Option<&str> {
        if self.ports.is_empty() {
            return self.everywhere.as_deref();
        }
        match connection.destination_port() {
            Some(port) => self.required_on(port),
            // It may be any of them.
            None => self.required_by(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::connection::{NoHost, Validation};
    use crate::policy::{Node, Policy};

    fn admits(ports: &Value) -> bool {
        let configuration = json!({
            "workload": { "namespace": "foo", "labels": { "app": "a" } },
            "resources": [{
                "apiVersion": "security.istio.io/v1",
                "kind": "PeerAuthentication",
                "metadata": { "name": "a", "namespace": "foo" },
                "spec": { "selector": { "matchLabels": { "app": "a" } }, "portLevelMtls": ports },
            }],
        });
        let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
        let connection = Connection::new(&NoHost, Validation::Done);
        policy.unwrap().mutual_tls.admit(&connection).is_ok()
    }

    #[test]
    fn a_port_that_cant_be_told_may_be_any() {
        assert!(admits(&json!({ "80": { "mode": "PERMISSIVE" } })));
        let one_is_strict = json!({ "80": { "mode": "PERMISSIVE" }, "81": { "mode": "STRICT" } });
        assert!(!admits(&one_is_strict));
    }
}
