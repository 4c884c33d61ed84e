//! The one configuration that a request is decided by, out of files.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::check::subject::{self, Kind};
use super::source::{Source, Unreadable};
use crate::policy::{Node, Policy};

/// What files don't say.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Workload {
    /// Which of several configurations in the files, counted from 1.
    #[arg(long, value_name = "N")]
    pub(super) plugin: Option<usize>,
    /// The namespace of the workload, as Envoy's node metadata tell it.
    #[arg(long)]
    pub(super) namespace: Option<String>,
    /// The labels of the workload, as Envoy's node metadata tell them.
    #[arg(long, value_name = "NAME=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(super) labels: Vec<(String, String)>,
}

/// A plugin configuration, and where Envoy's node metadata say that it is.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) document: Value,
    node: Node,
}

/// What stands before and behind the first `=`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("there is no `=` in it")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Configuration {
    /// Reads files as `check` does: there is one configuration in them, or one is chosen, or there are
    /// Istio's resources alone, which make one together.
    pub(super) fn read<P: AsRef<Path>>(files: &[P], workload: &Workload) -> Result<Self, Failure> {
        let (mut configurations, mut resources) = (Vec::new(), Vec::new());
        for path in files {
            let source = Source::read(path.as_ref())?;
            let unreadable = |Unreadable { span, message }: Unreadable| {
                let (line, column) = source.position(span.start);
                Failure(format!("{}:{line}:{column}: {message}", source.name))
            };
            let documents = source.documents().map_err(unreadable)?;
            for found in subject::find(&documents, &source, true) {
                let subject = found.map_err(unreadable)?;
                let document = subject.node.value();
                match subject.kind {
                    Kind::Configuration(node) => configurations.push(Self { document, node }),
                    Kind::Resource => resources.push(document),
                }
            }
        }
        if configurations.is_empty() && !resources.is_empty() {
            configurations.push(Self::inline(json!({ "resources": resources })));
        }
        let count = configurations.len();
        let index = match (workload.plugin, count) {
            (_, 0) => return Err(Failure("there is no configuration in the files".to_owned())),
            (None, 1) => 0,
            (None, _) => {
                return Err(Failure(format!(
                    "there are {count} configurations in the files: choose one with `plugin`, 1 to {count}"
                )));
            }
            (Some(number), _) => number.wrapping_sub(1),
        };
        match configurations.into_iter().nth(index) {
            Some(configuration) => Ok(configuration.of(workload)),
            None => Err(Failure(format!(
                "there are only {count} configurations in the files"
            ))),
        }
    }

    pub(super) fn inline(document: Value) -> Self {
        Self {
            document,
            node: Node::default(),
        }
    }

    /// The same for a workload: what is said of it here comes before what the files say.
    pub(super) fn of(mut self, workload: &Workload) -> Self {
        if let Some(namespace) = &workload.namespace {
            self.node.namespace = Some(namespace.clone());
        }
        if !workload.labels.is_empty() {
            let labels: BTreeMap<_, _> = workload.labels.iter().cloned().collect();
            self.node.labels = Some(labels);
        }
        self
    }

    pub(super) fn compile(&self) -> Result<Policy, Failure> {
        Policy::read(&self.document, &self.node).map_err(|mistakes| {
            Failure(format!(
                "the configuration is refused; `portcullis check` shows where:\n{mistakes}"
            ))
        })
    }
}
