//! What Istio has in `MeshConfig`, and the plugin or Envoy in their configuration.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Notes;
use crate::cli::source::{Node, Source, Unreadable};

/// How to get it.
pub(super) const HOW: &str =
    "give the ConfigMap `istio`, too: kubectl get cm istio -n istio-system -o yaml";

#[derive(Debug, Default)]
pub(super) struct Mesh {
    /// Fields of the configuration.
    pub(super) fields: Map<String, Value>,
    /// Fields of its `workload`.
    pub(super) of_workload: Map<String, Value>,
    /// Proxies in front of a gateway whose `x-forwarded-for` is believed
    /// (`defaultConfig.gatewayTopology.numTrustedProxies`).
    pub(super) trusted_proxies: u64,
    providers: Vec<Value>,
}

impl Mesh {
    /// Whether a document is the ConfigMap with the mesh configuration.
    pub(super) fn is_in(document: &Node) -> bool {
        let is_config_map = document.get("kind").and_then(Node::text) == Some("ConfigMap");
        is_config_map && document.dig(&["data", "mesh"]).is_some()
    }

    /// # Errors
    ///
    /// Why the mesh configuration can't be read.
    pub(super) fn read(
        &mut self,
        document: &Node,
        source: &Source,
        notes: &mut Notes,
    ) -> Result<(), Unreadable> {
        let Some(text) = document.dig(&["data", "mesh"]) else {
            return Ok(());
        };
        let documents = text.yaml(&source.text)?;
        let Some(mesh) = documents.first().map(Node::value) else {
            return Ok(());
        };
        for name in ["rootNamespace", "trustDomain", "trustDomainAliases"] {
            if let Some(value) = mesh.get(name) {
                self.of_workload.insert(name.to_owned(), value.clone());
            }
        }
        let normalization = mesh.pointer("/pathNormalization/normalization");
        if let Some(normalization) = normalization.filter(|value| *value != "DEFAULT") {
            let name = "pathNormalization".to_owned();
            self.fields.insert(name, normalization.clone());
        }
        let topology = mesh.pointer("/defaultConfig/gatewayTopology");
        let trusted = topology.and_then(|topology| topology.get("numTrustedProxies"));
        self.trusted_proxies = trusted.and_then(Value::as_u64).unwrap_or_default();
        if topology.is_some_and(|topology| topology.get("proxyProtocol").is_some()) {
            notes.say(
                "gateways of this mesh take the PROXY protocol (`gatewayTopology.proxyProtocol`): a plain Envoy \
                 behind the same load balancer needs the listener filter \
                 `envoy.filters.listener.proxy_protocol`, too",
            );
        }
        let providers = mesh.get("extensionProviders").and_then(Value::as_array);
        self.providers = providers.cloned().unwrap_or_default();
        Ok(())
    }

    /// The providers that these resources ask.
    pub(super) fn asked<'r>(&self, resources: impl Iterator<Item = &'r Value>) -> Vec<Value> {
        let custom = resources.filter(|resource| is_custom(resource));
        let names = custom.filter_map(|resource| resource.pointer("/spec/provider/name")?.as_str());
        let names: BTreeSet<&str> = names.collect();
        let is_asked = |provider: &&Value| {
            let name = provider.get("name").and_then(Value::as_str);
            name.is_some_and(|name| names.contains(name)) && is_http(provider)
        };
        self.providers.iter().filter(is_asked).cloned().collect()
    }

    /// What to do about a provider that the plugin doesn't know.
    pub(super) fn help(&self, name: &str) -> String {
        let mut providers = self.providers.iter();
        let known =
            providers.find(|provider| provider.get("name").and_then(Value::as_str) == Some(name));
        match known {
            Some(provider) if provider.get("envoyExtAuthzGrpc").is_some() => format!(
                "the extension provider `{name}` is asked over gRPC, and the plugin asks over HTTP: let it \
                 answer HTTP, too, and write `envoyExtAuthzHttp`"
            ),
            Some(_) => format!(
                "the extension provider `{name}` isn't one that decides about requests: write one with \
                 `envoyExtAuthzHttp`"
            ),
            None if self.providers.is_empty() => {
                format!("there is no extension provider `{name}`: {HOW}")
            }
            None => format!(
                "there is no `{name}` among the `extensionProviders` of the mesh configuration"
            ),
        }
    }
}

fn is_custom(resource: &Value) -> bool {
    resource.pointer("/spec/action").and_then(Value::as_str) == Some("CUSTOM")
}

fn is_http(provider: &Value) -> bool {
    provider.get("envoyExtAuthzHttp").is_some()
}
