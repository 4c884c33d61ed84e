//! What a proxy must have beside the configuration.

use std::collections::BTreeMap;

use serde_json::Value;

use super::gathered::{Gathered, named};
use super::{Import, Notes, Target};
use crate::cli::conditions::{ADDRESSES, HTTP, PEERS, REMOTE, TRUST, mentions};
use crate::config::JwtRule;
use crate::config::legacy::PeerMethod;
use crate::config::reader::{Input, Read as _, Report};
use crate::istio::{Kind, Resource};
use crate::jwks::Origin;
use crate::policy::Policy;

/// Servers that the plugin asks.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// By host and port: whether it is asked over TLS.
    servers: BTreeMap<(String, u16), bool>,
    /// Clusters that the configuration names itself.
    named: BTreeMap<(String, u16), String>,
}

/// One of them, and the cluster through which the plugin asks it.
#[derive(Debug)]
pub(super) struct Server<'n> {
    pub(super) host: &'n str,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    pub(super) cluster: String,
    /// Whether the cluster is called as Istio calls it.
    pub(super) is_of_istio: bool,
}

impl Needs {
    pub(super) fn of(
        import: &Import,
        gathered: &Gathered,
        policy: &Policy,
        notes: &mut Notes,
    ) -> Self {
        let mut needs = Self::default();
        for source in policy.key_sets() {
            let uri = source.origin.uri();
            let server = (uri.host().to_owned(), uri.port());
            let cluster = source.first().cluster().to_owned();
            needs.named.insert(server, cluster);
        }
        for document in &gathered.resources {
            let report = Report::default();
            if let Some(resource) = Resource::read(&Input::root(document, &report)) {
                needs.rules(&resource.kind, notes);
            }
            let kind = document.get("kind").and_then(Value::as_str);
            let rules = document.pointer("/spec/rules");
            let rules = rules.filter(|_| kind == Some("AuthorizationPolicy"));
            let name = named(document);
            if kind == Some("PeerAuthentication") {
                advise_on_tls(&name, import, notes);
            }
            advise(&name, rules, import, gathered, notes);
        }
        needs.short_form(import, gathered, notes);
        for provider in gathered.providers() {
            let member = |name: &str| provider.get("envoyExtAuthzHttp")?.get(name);
            let port = member("port").and_then(Value::as_u64);
            let port = port.and_then(|port| port.try_into().ok());
            let service = member("service").and_then(Value::as_str);
            if let (Some(service), Some(port)) = (service, port) {
                let host = service.split_once('/').map_or(service, |(_, host)| host);
                let server = (host.to_owned(), port);
                if let Some(cluster) = member("cluster").and_then(Value::as_str) {
                    needs.named.insert(server.clone(), cluster.to_owned());
                }
                needs.servers.entry(server).or_default();
            }
        }
        needs
    }

    /// Each cluster once.
    pub(super) fn servers(&self) -> Vec<Server<'_>> {
        let mut servers: Vec<Server<'_>> = Vec::new();
        for ((host, port), is_tls) in &self.servers {
            let of_istio = format!("outbound|{port}||{host}");
            let named = self.named.get(&(host.clone(), *port)).cloned();
            let cluster = named.unwrap_or_else(|| of_istio.clone());
            if servers.iter().all(|server| server.cluster != cluster) {
                let is_of_istio = cluster == of_istio;
                servers.push(Server {
                    host,
                    port: *port,
                    is_tls: *is_tls,
                    cluster,
                    is_of_istio,
                });
            }
        }
        servers
    }

    /// The rules of a configuration that was read.
    fn short_form(&mut self, import: &Import, gathered: &Gathered, notes: &mut Notes) {
        let list = |name: &str| {
            let list = gathered.mesh.fields.get(name).and_then(Value::as_array);
            list.into_iter().flatten()
        };
        for rule in list("jwtRules") {
            let report = Report::default();
            if let Some(rule) = JwtRule::read(&Input::root(rule, &report)) {
                self.rule(&rule, notes);
            }
        }
        for policy in list("authorizationPolicies") {
            let name = policy.get("name").and_then(Value::as_str);
            let name = format!("policy {}", name.unwrap_or("without a name"));
            advise(&name, policy.get("rules"), import, gathered, notes);
        }
    }

    fn rules(&mut self, kind: &Kind, notes: &mut Notes) {
        match kind {
            Kind::RequestAuthentication(rules) => {
                rules.iter().for_each(|rule| self.rule(rule, notes));
            }
            Kind::MeshPolicy(policy) | Kind::Policy(policy) => {
                for method in &policy.peers {
                    if let PeerMethod::Jwt(jwt) = method {
                        self.rule(&jwt.rule, notes);
                    }
                }
                for method in &policy.origins {
                    self.rule(&method.jwt.rule, notes);
                }
            }
            Kind::AuthorizationPolicy(..) | Kind::PeerAuthentication(_) => {}
        }
    }

    fn rule(&mut self, rule: &JwtRule, notes: &mut Notes) {
        if rule.jwks.is_some() {
            return;
        }
        let origin = match &rule.jwks_uri {
            Some(uri) => Some(Origin::At(uri.clone())),
            None => rule.issuer().and_then(Origin::of_issuer),
        };
        let Some(origin) = origin else { return };
        if let Origin::Discovered { issuer, .. } = &origin {
            notes.say(format!(
                "the keys of `{issuer}` are where its OpenID metadata say: if that is another host, it needs \
                 a cluster, too, or write `jwksUri`"
            ));
        }
        let uri = origin.uri();
        let server = (uri.host().to_owned(), uri.port());
        *self.servers.entry(server).or_default() |= uri.scheme() == "https";
    }

    /// Tells which clusters have to be there.
    pub(super) fn tell(&self, notes: &mut Notes) {
        for server in self.servers() {
            let tls = if server.is_tls { " with TLS" } else { "" };
            let cluster = server.cluster;
            notes.say(format!(
                "Envoy needs the cluster `{cluster}`{tls}, or name yours in `jwks.clusters`"
            ));
        }
    }
}

/// Whether the listener asks for certificates, as far as is known.
fn has_certificates(import: &Import) -> bool {
    import.to == Target::Wasmplugin || import.client_ca.is_some()
}

fn advise_on_tls(name: &str, import: &Import, notes: &mut Notes) {
    if !has_certificates(import) {
        notes.say(format!(
            "{name}: in Istio it also makes proxies speak TLS; here connections without a valid client \
             certificate are refused, and the listener must ask for one{}",
            how(import.to)
        ));
    }
}

/// Says what a policy means in Istio beyond what an HTTP filter can do, and what it takes from others.
fn advise(
    name: &str,
    rules: Option<&Value>,
    import: &Import,
    gathered: &Gathered,
    notes: &mut Notes,
) {
    let Some(rules) = rules else { return };
    let to = import.to;
    let has_peers = mentions(rules, &PEERS);
    if has_peers && !has_certificates(import) {
        notes.say(format!(
            "{name}: who the peer is, is known by client certificates only: the listener must ask for them{}",
            how(to)
        ));
    }
    if mentions(rules, &TRUST)
        && to != Target::Wasmplugin
        && !gathered.mesh.of_workload.contains_key("trustDomain")
    {
        notes.say(format!(
            "{name}: the trust domain of the mesh isn't known and is taken to be cluster.local: say otherwise \
             with --workload '{{\"trustDomain\": \"...\"}}'"
        ));
    }
    if mentions(rules, &ADDRESSES) && to != Target::Envoy {
        notes.say(format!(
            "{name}: addresses of TCP peers need a filter ahead of the plugin where Envoy trusts \
             x-forwarded-for (docs/operations.md)"
        ));
    }
    let trusted = import.num_trusted_proxies;
    let trusted = trusted.unwrap_or(gathered.mesh.trusted_proxies);
    if mentions(rules, &REMOTE) && to == Target::Envoy && trusted == 0 {
        notes.say(format!(
            "{name}: the client's address is that of its connection; if proxies stand before this Envoy, say how many \
             with --num-trusted-proxies"
        ));
    }
    let has_rules = rules.as_array().is_some_and(|rules| !rules.is_empty());
    if has_rules && !mentions(rules, &HTTP) {
        notes.say(format!(
            "{name}: it has no condition on HTTP, so Istio applies it to TCP connections, too, which the \
             plugin never sees"
        ));
    }
}

/// The options for a listener that asks for certificates.
fn how(to: Target) -> &'static str {
    match to {
        Target::Envoy => " (--tls-cert, --tls-key, --client-ca)",
        _ => "",
    }
}
