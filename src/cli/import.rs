//! `import`: Istio's resources, put where the plugin reads them.

mod aim;
mod envoy;
mod gathered;
mod guess;
mod kubernetes;
mod listener;
mod mesh;
mod mistake;
mod needs;
mod notes;
mod own;
mod workload;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use self::gathered::Gathered;
use self::listener::Connections;
use self::needs::Needs;
use self::notes::Notes;
use self::workload::Workload;
use super::configuration::pair;
use super::{Failure, Status, tell};
use crate::policy::{Node, Policy};

/// Make a configuration of Istio's resources.
///
/// Takes RequestAuthentication, AuthorizationPolicy, PeerAuthentication, the older Policy and MeshPolicy, and
/// the ConfigMap with Istio's mesh configuration, as files or as `kubectl get -o yaml` prints them; or a
/// configuration of the plugin. What can't come along is told on standard error. Exit status: 0 if all that
/// decides about requests came along, 1 if not, 2 if something can't be read.
#[derive(Args, Debug)]
pub(super) struct Import {
    /// Files and folders; `-` is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What to make.
    #[arg(long, value_enum, default_value_t)]
    to: Target,
    /// The namespace of the proxy. Default: that of the resources.
    #[arg(long)]
    namespace: Option<String>,
    /// A label of the proxy. Default: all that the resources select.
    #[arg(long, visible_alias = "labels", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = pair)]
    label: Vec<(String, String)>,
    /// The Gateway that the proxy serves. Default: the one that the resources refer to.
    #[arg(long)]
    gateway: Option<String>,
    /// More of the proxy, as in the field `workload` of the configuration.
    #[arg(long, value_name = "JSON")]
    workload: Option<String>,
    /// Which of a proxy's listeners a WasmPlugin guards. Default: a gateway's, where the resources are for
    /// one.
    #[arg(long, value_enum)]
    proxy: Option<Proxy>,
    /// The image of the plugin, in Kubernetes.
    #[arg(long, default_value = concat!("oci://registry.example.com/portcullis:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// The file of the plugin, for a plain Envoy.
    #[arg(long, default_value = "dist/portcullis.wasm")]
    plugin: String,
    /// Where a plain Envoy listens.
    #[arg(long, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// The certificate that a plain Envoy shows to clients. Default: it speaks plain text.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
    /// Whose certificates it takes from clients, which it then asks for one.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<String>,
    /// How many proxies stand before a plain Envoy, whose `x-forwarded-for` is believed. Default: as the mesh
    /// configuration says of gateways, or none.
    #[arg(long, value_name = "N")]
    num_trusted_proxies: Option<u64>,
    /// Where a plain Envoy is administered.
    #[arg(long, default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Where a plain Envoy sends requests.
    #[arg(long, value_name = "HOST:PORT", default_value = "upstream:8000")]
    upstream: String,
    /// The certificates that https key sets are trusted by.
    #[arg(long, default_value = "/etc/ssl/certs/ca-certificates.crt")]
    trusted_ca: String,
}

/// What is made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Target {
    /// The plugin's own.
    #[default]
    PluginConfig,
    /// Istio's, with the ServiceEntries and DestinationRules of the key sets.
    Wasmplugin,
    /// An EnvoyExtensionPolicy, and an EnvoyPatchPolicy with the clusters of the key sets.
    EnvoyGateway,
    /// A whole envoy.yaml.
    Envoy,
}

/// On which side of its listeners a proxy guards what is behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Proxy {
    Gateway,
    Sidecar,
}

impl Import {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        let mut notes = Notes::default();
        let mut gathered = Gathered::read(&self.files, &mut notes)?;
        let workload = Workload::of(self, &gathered, &mut notes)?;
        for Failure(wrong) in &gathered.wrong {
            tell(wrong);
        }
        let node = workload.node(self.to);
        let read = Policy::read(&configuration(&gathered, &workload, self.to), &node);
        let policy = match read {
            Ok(policy) if gathered.wrong.is_empty() => policy,
            Ok(_) => return Ok(Status::Wrong),
            Err(mistakes) => {
                mistake::tell_all(&gathered, &mistakes);
                return Ok(Status::Wrong);
            }
        };
        if let Some(Failure(refused)) = self.refuses_all(&gathered, &policy) {
            tell(&refused);
            return Ok(Status::Wrong);
        }
        own::keep(self, &mut gathered, &workload, &mut notes);
        let needs = Needs::of(self, &gathered, &policy, &mut notes);
        let documents = self.documents(&gathered, &workload, &needs, &policy, &mut notes)?;
        for line in notes.lines() {
            tell(&line);
        }
        tell(&gathered.tally.to_string());
        print(&documents)?;
        Ok(match notes.is_partial() {
            true => Status::Wrong,
            false => Status::Right,
        })
    }

    /// Why the listener that is made would refuse every request.
    fn refuses_all(&self, gathered: &Gathered, policy: &Policy) -> Option<Failure> {
        let required_by = policy.requires_mutual_tls(self.listen.port())?;
        let is_plain = self.to == Target::Envoy && self.client_ca.is_none();
        is_plain.then(|| {
            gathered.mistake_in(
                required_by,
                "it requires client certificates, and this listener would ask for none, so every request would \
                 be refused: say with --tls-cert, --tls-key and --client-ca what it shows and takes",
            )
        })
    }

    fn documents(
        &self,
        gathered: &Gathered,
        workload: &Workload,
        needs: &Needs,
        policy: &Policy,
        notes: &mut Notes,
    ) -> Result<Vec<Value>, Failure> {
        let made = configuration(gathered, workload, self.to);
        Ok(match self.to {
            Target::PluginConfig => {
                needs.tell(notes);
                vec![made]
            }
            Target::Wasmplugin => {
                kubernetes::wasm_plugin(self, made, gathered, workload, needs, notes)
            }
            Target::EnvoyGateway => {
                kubernetes::extension_policy(self, made, workload, needs, notes)
            }
            Target::Envoy => {
                let trusted_proxies = self.num_trusted_proxies;
                let port = self.listen.port();
                let connections = Connections {
                    trusted_proxies: trusted_proxies.unwrap_or(gathered.mesh.trusted_proxies),
                    need_certificates: policy.requires_mutual_tls(port).is_some(),
                };
                vec![envoy::bootstrap(self, made, needs, connections)?]
            }
        })
    }
}

/// The plugin's configuration. In Istio the proxy itself tells where it is.
fn configuration(gathered: &Gathered, workload: &Workload, to: Target) -> Value {
    let mut configuration = gathered.mesh.fields.clone();
    if gathered.base.is_none() || !gathered.resources.is_empty() {
        configuration.insert("resources".to_owned(), gathered.resources.as_slice().into());
    }
    let providers = gathered.providers();
    if !providers.is_empty() {
        configuration.insert("extensionProviders".to_owned(), providers.into());
    }
    let workload = match to {
        Target::Wasmplugin => &workload.beyond_node,
        _ => &workload.whole,
    };
    if !workload.is_empty() {
        configuration.insert("workload".to_owned(), workload.clone().into());
    }
    configuration.into()
}

fn print(documents: &[Value]) -> Result<(), Failure> {
    let mut text = String::new();
    for (index, document) in documents.iter().enumerate() {
        let document = serde_saphyr::to_string(document)
            .map_err(|error| Failure(format!("the configuration can't be written: {error}")))?;
        text += if index > 0 { "---\n" } else { "" };
        text += &document;
    }
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::of("the configuration can't be written"))
}

impl Workload {
    /// What a proxy there would tell the plugin.
    fn node(&self, to: Target) -> Node {
        match to {
            Target::Wasmplugin => Node {
                namespace: self.namespace().map(str::to_owned),
                labels: Some(self.labels()),
                trust_domain: None,
            },
            _ => Node::default(),
        }
    }
}

/// A resource of Kubernetes.
fn resource(version: &str, kind: &str, name: &str, namespace: Option<&str>, spec: Value) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec })
}
