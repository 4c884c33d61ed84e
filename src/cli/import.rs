//! `import`: Istio's resources, put where the plugin reads them.

mod envoy;
mod gathered;
mod kubernetes;
mod needs;
mod workload;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use self::gathered::Gathered;
use self::needs::Needs;
use self::workload::Workload;
use super::check::files_in;
use super::source::Source;
use super::{Failure, Status};
use crate::config::reader::Mistakes;
use crate::policy::{Node, Policy};

/// Make a configuration of Istio's resources.
///
/// Takes RequestAuthentication, AuthorizationPolicy, PeerAuthentication, the older Policy and MeshPolicy, and
/// the ConfigMap with Istio's mesh configuration, as files or as `kubectl get -o yaml` prints them. What
/// can't come along is told on standard error. Exit status: 0 if all that decides about requests came along,
/// 1 if not, 2 if something can't be read.
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
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
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

/// What can't come along, or should be known.
#[derive(Debug, Default)]
struct Notes {
    lines: Vec<String>,
    /// Whether something is left out that decides about requests.
    is_partial: bool,
}

impl Notes {
    fn say(&mut self, line: impl Into<String>) {
        let line = line.into();
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    fn left_out(&mut self, line: impl Into<String>) {
        self.is_partial = true;
        self.say(line);
    }
}

impl Import {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        let mut notes = Notes::default();
        let gathered = self.gather(&mut notes)?;
        if gathered.resources.is_empty() {
            return Err(Failure(
                "there is no RequestAuthentication, AuthorizationPolicy, PeerAuthentication, Policy or \
                 MeshPolicy in it"
                    .to_owned(),
            ));
        }
        let workload = Workload::of(self, &gathered, &mut notes)?;
        let configuration = configuration(&gathered, &workload, self.to);
        if let Err(Mistakes(mistakes)) = Policy::read(&configuration, &workload.node(self.to)) {
            for mistake in mistakes {
                anstream::eprintln!("portcullis: mistake: {mistake}");
            }
            return Ok(Status::Wrong);
        }
        let needs = Needs::of(&gathered, self.to, &mut notes);
        let documents = match self.to {
            Target::PluginConfig => {
                needs.tell(&mut notes);
                vec![configuration]
            }
            Target::Wasmplugin => kubernetes::wasm_plugin(
                self,
                configuration,
                &gathered,
                &workload,
                &needs,
                &mut notes,
            ),
            Target::EnvoyGateway => {
                kubernetes::extension_policy(self, configuration, &workload, &needs, &mut notes)
            }
            Target::Envoy => vec![envoy::bootstrap(self, configuration, &needs)?],
        };
        for line in &notes.lines {
            anstream::eprintln!("portcullis: {line}");
        }
        print(&documents)?;
        Ok(match notes.is_partial {
            true => Status::Wrong,
            false => Status::Right,
        })
    }

    fn gather(&self, notes: &mut Notes) -> Result<Gathered, Failure> {
        let mut gathered = Gathered::default();
        let mut file = |path: &Path| -> Result<(), Failure> {
            let source = Source::read(path)?;
            let documents = source.documents().map_err(|unreadable| {
                let (line, column) = source.position(unreadable.span.start);
                let message = unreadable.message;
                Failure(format!("{}:{line}:{column}: {message}", source.name))
            })?;
            for document in documents {
                let gather = gathered.document(&document.value(), notes);
                gather
                    .map_err(|Failure(message)| Failure(format!("{}: {message}", source.name)))?;
            }
            Ok(())
        };
        for path in &self.files {
            if path.is_dir() {
                for path in files_in(path).map_err(Failure::of(path.display()))? {
                    file(&path)?;
                }
            } else {
                file(path)?;
            }
        }
        gathered.tell(notes);
        Ok(gathered)
    }
}

/// The plugin's configuration. In Istio the proxy itself tells where it is.
fn configuration(gathered: &Gathered, workload: &Workload, to: Target) -> Value {
    let mut configuration = gathered.mesh.clone();
    configuration.insert("resources".to_owned(), gathered.resources.as_slice().into());
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
