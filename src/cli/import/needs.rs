//! What a proxy must have beside the configuration.

use std::collections::BTreeMap;

use serde_json::Value;

use super::gathered::{Gathered, named};
use super::{Notes, Target};
use crate::config::JwtRule;
use crate::config::legacy::PeerMethod;
use crate::config::reader::{Input, Read as _, Report};
use crate::istio::{Kind, Resource};
use crate::jwks::Origin;

/// Conditions on who is at the other end of a connection.
const PEERS: [&str; 9] = [
    "namespaces",
    "principals",
    "serviceaccounts",
    "source.namespace",
    "source.principal",
    "source.serviceaccount",
    "source.trustdomain",
    "trustdomains",
    "connection.sni",
];
/// Those that a trust domain counts for.
const TRUST: [&str; 4] = [
    "principals",
    "source.principal",
    "source.trustdomain",
    "trustdomains",
];
/// Conditions on what only HTTP has.
const HTTP: [&str; 9] = [
    "hosts",
    "methods",
    "paths",
    "remoteipblocks",
    "requestprincipals",
    "remote.ip",
    "request.auth",
    "request.headers",
    "experimental",
];

/// Servers that the plugin asks.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// By host and port: whether it is asked over TLS.
    pub(super) servers: BTreeMap<(String, u16), bool>,
}

impl Needs {
    pub(super) fn of(gathered: &Gathered, to: Target, notes: &mut Notes) -> Self {
        let mut needs = Self::default();
        for document in &gathered.resources {
            let report = Report::default();
            if let Some(resource) = Resource::read(&Input::root(document, &report)) {
                needs.rules(&resource.kind, notes);
            }
            advise(document, gathered, to, notes);
        }
        let providers = gathered.mesh.get("extensionProviders");
        for provider in providers.and_then(Value::as_array).into_iter().flatten() {
            let service = provider.pointer("/envoyExtAuthzHttp/service");
            let port = provider.pointer("/envoyExtAuthzHttp/port");
            let port = port
                .and_then(Value::as_u64)
                .and_then(|port| port.try_into().ok());
            if let (Some(service), Some(port)) = (service.and_then(Value::as_str), port) {
                let host = service.split_once('/').map_or(service, |(_, host)| host);
                needs.servers.entry((host.to_owned(), port)).or_default();
            }
        }
        needs
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
        for ((host, port), is_tls) in &self.servers {
            let tls = if *is_tls { " with TLS" } else { "" };
            let cluster = cluster(host, *port);
            notes.say(format!(
                "Envoy needs the cluster `{cluster}`{tls}, or name yours in `jwks.clusters`"
            ));
        }
    }
}

/// The name by which the plugin asks for a host where nothing else is said: Istio's.
pub(super) fn cluster(host: &str, port: u16) -> String {
    format!("outbound|{port}||{host}")
}

/// Says what a resource means in Istio beyond what an HTTP filter can do, and what it takes from others.
fn advise(document: &Value, gathered: &Gathered, to: Target, notes: &mut Notes) {
    let name = named(document);
    let kind = document.get("kind").and_then(Value::as_str);
    if kind == Some("PeerAuthentication") && to != Target::Wasmplugin {
        notes.say(format!(
            "{name}: in Istio it also makes proxies speak TLS; here connections without a valid client \
             certificate are refused, and the listener must ask for one"
        ));
    }
    if kind != Some("AuthorizationPolicy") {
        return;
    }
    let rules = document.pointer("/spec/rules").unwrap_or(&Value::Null);
    let has_peers = mentions(rules, &PEERS);
    if has_peers && to != Target::Wasmplugin {
        notes.say(format!(
            "{name}: who the peer is, is known by client certificates only: the listener must ask for them"
        ));
    }
    if mentions(rules, &TRUST)
        && to != Target::Wasmplugin
        && !gathered.of_workload.contains_key("trustDomain")
    {
        notes.say(format!(
            "{name}: the trust domain of the mesh isn't known and is taken to be cluster.local: say otherwise \
             with --workload '{{\"trustDomain\": \"...\"}}'"
        ));
    }
    if mentions(rules, &["ipblocks", "source.ip"]) && to != Target::Envoy {
        notes.say(format!(
            "{name}: addresses of TCP peers need a filter ahead of the plugin where Envoy trusts \
             x-forwarded-for (docs/operations.md)"
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

/// Whether one of these conditions stands somewhere in rules, in any spelling and also as its `not` form.
fn mentions(rules: &Value, conditions: &[&str]) -> bool {
    let is_one = |name: &str| {
        let name = name.replace('_', "").to_ascii_lowercase();
        let name = name.strip_prefix("not").unwrap_or(&name);
        conditions.iter().any(|condition| {
            let rest = name.strip_prefix(condition);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    match rules {
        Value::Array(items) => items.iter().any(|item| mentions(item, conditions)),
        Value::Object(members) => members.iter().any(|(name, value)| match name.as_str() {
            "key" => value.as_str().is_some_and(is_one),
            name => is_one(name) || mentions(value, conditions),
        }),
        _ => false,
    }
}
