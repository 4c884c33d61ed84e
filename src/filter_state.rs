//! What filter state tells those behind us: access logs, native RBAC, CEL.

use serde_json::Value;

use crate::authn::Identity;
use crate::authz::RuleName;
use crate::config::reader::{Input, Read};
use crate::config::schema::{Schemas, one_of};
use crate::outcome::{DryRun, Property, Refusal};
use crate::sorted;

/// One thing that can be told.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Entry {
    Decision,
    DryRun,
    Policy,
    Principal,
    Reason,
}

impl Read for Entry {
    fn read(input: &Input<'_>) -> Option<Self> {
        Some(match input.text()? {
            "decision" => Self::Decision,
            "dryRun" => Self::DryRun,
            "policy" => Self::Policy,
            "principal" => Self::Principal,
            "reason" => Self::Reason,
            _ => {
                input.mistake(
                    "nothing that can be told: write `decision`, `reason`, `policy`, `principal` \
                     or `dryRun`",
                );
                return None;
            }
        })
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["decision", "dryRun", "policy", "principal", "reason"])
    }
}

impl Entry {
    /// One element of a property path, the dot being part of it.
    fn name(self) -> &'static str {
        match self {
            Self::Decision => "portcullis.decision",
            Self::DryRun => "portcullis.dry_run",
            Self::Policy => "portcullis.policy",
            Self::Principal => "portcullis.principal",
            Self::Reason => "portcullis.reason",
        }
    }
}

/// What is asked for; nothing else is put together.
#[derive(Debug)]
pub(crate) struct FilterState(Vec<Entry>);

impl FilterState {
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        sorted::by(&mut entries, Ord::cmp);
        entries.dedup();
        Self(entries)
    }

    /// What is told of a request that goes on, by the rule that allowed it where one did.
    pub(crate) fn forwarded(
        &self,
        rule: Option<&RuleName<'_>>,
        identity: Option<&Identity<'_>>,
        dry_run: Option<&DryRun>,
    ) -> Vec<Property> {
        self.tell(|entry| match entry {
            Entry::Decision => Some("allow".to_owned()),
            Entry::DryRun => dry_run.map(ToString::to_string),
            Entry::Policy => rule.map(ToString::to_string),
            Entry::Principal => identity?.principal(),
            Entry::Reason => None,
        })
    }

    /// What is told of a request that is refused. The identity is that of a verified token.
    pub(crate) fn refused(
        &self,
        refusal: &Refusal,
        identity: Option<&Identity<'_>>,
        dry_run: Option<&DryRun>,
    ) -> Vec<Property> {
        self.tell(|entry| match entry {
            Entry::Decision => Some("deny".to_owned()),
            Entry::DryRun => dry_run.map(ToString::to_string),
            Entry::Policy => refusal.policy.clone(),
            Entry::Principal => identity?.principal(),
            Entry::Reason => Some(refusal.reason.code().to_owned()),
        })
    }

    fn tell(&self, value: impl Fn(Entry) -> Option<String>) -> Vec<Property> {
        let property = |entry: &Entry| {
            Some(Property {
                name: entry.name(),
                value: value(*entry)?,
            })
        };
        self.0.iter().filter_map(property).collect()
    }
}
