//! What is found while a configuration is read.

use std::cell::RefCell;
use std::fmt;

use serde_json::Value;

use super::Input;
use crate::config::place::Place;

/// What a warning is about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Topic {
    /// A selector that selects everything.
    EmptySelector,
    /// A key of a key set, or a part of one, that isn't used.
    KeyLeftOut,
    /// A key set that is looked for at the address of metadata.
    MetadataAddress,
    /// An issuer whose keys can't be found.
    NoKeys,
    #[default]
    Other,
    /// A rule whose bad tokens refuse nobody.
    ReportOnly,
}

/// One thing that is wrong in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// Whether it is the name there that is wrong, whatever its value.
    pub is_name: bool,
    pub(crate) topic: Topic,
    /// What, and what to write instead.
    pub message: String,
}

impl Mistake {
    pub(crate) fn at(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            is_name: false,
            topic: Topic::Other,
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.steps().is_empty() {
            write!(formatter, "{}: ", self.place)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything that is wrong in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistakes(pub(crate) Vec<Mistake>);

impl Mistakes {
    /// The mistakes, in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What is found while reading: mistakes, which refuse the configuration, and warnings.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(super) mistakes: RefCell<Vec<Mistake>>,
    pub(super) warnings: RefCell<Vec<Mistake>>,
    pub(super) allows_link_local: bool,
    /// Whether policies compare hosts without their ports.
    pub(super) ignores_host_port: bool,
    /// Whether policies compare paths without letter case.
    pub(super) ignores_path_case: bool,
}

impl Report {
    /// A report on this document, whose `jwks.allowLinkLocal`, `ignoreHostPort` and `ignorePathCase` decide
    /// which addresses and hosts are mistakes everywhere else, and how hosts and paths are compared.
    pub(crate) fn on(document: &Value) -> Self {
        let allowed = document
            .get("jwks")
            .and_then(|jwks| jwks.get("allowLinkLocal"));
        let report = Self::default();
        let ignored = |name| match document {
            Value::Object(_) => Input::root(document, &report)
                .object()
                .and_then(|document| document.field(name))
                .unwrap_or_default(),
            _ => false,
        };
        let (ignores_host_port, ignores_path_case) =
            (ignored("ignore_host_port"), ignored("ignore_path_case"));
        Self {
            allows_link_local: allowed == Some(&Value::Bool(true)),
            ignores_host_port,
            ignores_path_case,
            ..report
        }
    }

    /// What was read, and warnings; or everything that kept it from being read.
    pub(crate) fn into_result<T>(self, read: Option<T>) -> Result<(T, Vec<Mistake>), Mistakes> {
        let mistakes = self.mistakes.into_inner();
        match read {
            Some(read) if mistakes.is_empty() => Ok((read, self.warnings.into_inner())),
            _ => Err(Mistakes(mistakes)),
        }
    }
}
