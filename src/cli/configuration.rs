//! The one configuration that a request is decided by, out of files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::check::subject::{self, Found, Kind, Subject};
use super::document::is_mentioned;
use super::files::{Content, Files};
use super::shown::{self, Secrets};
use super::tally::Tally;
use crate::config;
use crate::config::place::Step;
use crate::config::reader::{Input, Readable, Report};
use crate::istio::{Here, Resource, named};
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
    #[arg(long, visible_alias = "label", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = pair)]
    pub(super) labels: Vec<(String, String)>,
}

/// A plugin configuration, and where Envoy's node metadata say that it is.
#[derive(Clone, Debug)]
pub(super) struct Configuration {
    pub(super) document: Value,
    node: Node,
    /// Whether it is made of resources that stand alone, which don't say where the proxy is.
    is_bare: bool,
}

/// What stands before and behind the first `=`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("there is no `=` in it")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Configuration {
    /// Reads files as `check` does, and counts what is in them: there is one configuration, or one is chosen, or
    /// there are Istio's resources alone, which make one together.
    pub(super) fn read(
        files: &[PathBuf],
        workload: &Workload,
        tally: &mut Tally,
    ) -> Result<Self, Failure> {
        let mut configurations = found(files, tally)?;
        let count = configurations.len();
        let index = match (workload.plugin, count) {
            (_, 0) => {
                return Err(Failure(format!("there is no configuration in it: {tally}")));
            }
            (None, 1) => 0,
            (None, _) => {
                let numbered = (1..).zip(&configurations);
                let places = numbered.map(|(number, (place, _))| format!("{number} at {place}"));
                return Err(Failure(format!(
                    "there are {count} configurations in the files: choose one with `--plugin` or, in a \
                     file of tests, `plugin`: {}",
                    places.collect::<Vec<_>>().join(", ")
                )));
            }
            (Some(number), _) if (1..=count).contains(&number) => number - 1,
            _ => {
                return Err(Failure(match count {
                    1 => "there is only one configuration in the files".to_owned(),
                    count => format!("there are only {count} configurations in the files"),
                }));
            }
        };
        Ok(configurations.swap_remove(index).1.of(workload))
    }

    pub(super) fn inline(document: Value) -> Self {
        Self {
            document,
            node: Node::default(),
            is_bare: false,
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
            let help = match self.is_bare && self.node.namespace.is_none() {
                true => "--namespace and --labels say where the proxy is, in a file of tests `namespace` and `labels`",
                false => "`portcullis check` shows where",
            };
            // What somebody wrote into a name can't be a line of ours.
            let (text, document) = (mistakes.iter(), self.document.to_string());
            let secrets = Secrets::of_source(&document);
            let told = text.map(|mistake| shown::line(&secrets.unsaid(&document, &mistake.to_string())));
            let mistakes = told.collect::<Vec<_>>().join("\n");
            Failure(format!("the configuration is refused; {help}:\n{mistakes}"))
        })
    }

    pub(super) fn elsewhere(&self) -> Option<String> {
        named(&elsewhere(&self.document, &self.node))
    }
}

/// The configurations in files, and where they are.
fn found(files: &[PathBuf], tally: &mut Tally) -> Result<Vec<(String, Configuration)>, Failure> {
    let files = Files::of(files);
    let mut failures = files.failures;
    files.charts.iter().for_each(|chart| tally.chart(chart));
    let (mut configurations, mut resources) = (Vec::new(), Vec::new());
    for file in &files.files {
        let (source, documents) = match file.read(is_mentioned) {
            Content::Documents(source, documents) => (source, documents),
            Content::Wrong(source, unreadable) => {
                failures.push(source.failure(&unreadable));
                continue;
            }
            Content::Others => {
                tally.no_document(&file.path);
                continue;
            }
            Content::Missing(failure) => {
                failures.push(failure);
                continue;
            }
        };
        tally.files += 1;
        let is_plain = file.is_asked_for && documents.len() == 1;
        let found = subject::find(documents, &source, is_plain, tally);
        let Found {
            subjects, wrong, ..
        } = found;
        failures.extend(wrong.iter().map(|unreadable| source.failure(unreadable)));
        for Subject { node, kind } in subjects {
            let document = node.value();
            match kind {
                Kind::Configuration(metadata) => {
                    let (line, _) = source.position(node.span.start);
                    let place = format!("{}:{line}", source.name);
                    let configuration = Configuration {
                        document,
                        node: metadata,
                        is_bare: false,
                    };
                    configurations.push((place, configuration));
                }
                Kind::Resource => resources.push(document),
                Kind::NotRead(_) | Kind::Suite => {}
            }
        }
    }
    // A decision without what couldn't be read would be another one.
    if let Some(failure) = Failure::all(failures) {
        return Err(failure);
    }
    if configurations.is_empty() && !resources.is_empty() {
        let configuration = Configuration {
            is_bare: true,
            ..Configuration::inline(json!({ "resources": resources }))
        };
        configurations.push((String::new(), configuration));
    }
    Ok(configurations)
}

/// The resources of a configuration that are for other workloads, and so have no effect.
pub(super) fn elsewhere(document: &Value, node: &Node) -> Vec<Resource> {
    let report = Report::default();
    let read = Input::root(document, &report).object().and_then(|object| {
        let workload = object.field::<Option<config::Workload>>("workload")?;
        let resources = object.field::<Vec<Readable<Resource>>>("resources")?;
        Some((Here::new(workload.as_ref(), node), resources))
    });
    let Some((here, resources)) = read else {
        return Vec::new();
    };
    let resources = resources.into_iter().filter_map(|readable| readable.0);
    resources
        .filter(|resource| resource.applies(&here) == Ok(false))
        .collect()
}

/// Where in `resources` those are.
pub(super) fn elsewhere_indices(document: &Value, node: &Node) -> BTreeSet<usize> {
    let elsewhere = elsewhere(document, node);
    let last = elsewhere
        .iter()
        .map(|resource| resource.place.steps().last());
    last.filter_map(|step| match step {
        Some(Step::Item(index)) => Some(*index),
        _ => None,
    })
    .collect()
}
