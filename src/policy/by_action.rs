//! Authorization policies, by what becomes of the requests that they match.

use std::collections::BTreeMap;
use std::fmt;

use crate::authz::{Policy, RuleSet, Unknown};
use crate::check::{Checks, Service};
use crate::config::authorization::{Action, Provider};
use crate::config::provider::ExtensionProvider;

/// The policies that apply, by what becomes of them.
#[derive(Default)]
pub(super) struct Policies {
    pub(super) allow: Vec<Policy>,
    pub(super) audit: Vec<Policy>,
    /// By the service that is asked.
    custom: BTreeMap<String, Vec<Policy>>,
    pub(super) deny: Vec<Policy>,
    pub(super) dry_run_allow: Vec<Policy>,
    pub(super) dry_run_deny: Vec<Policy>,
}

impl Policies {
    pub(super) fn of(
        &mut self,
        action: Action,
        provider: Option<Provider>,
        dry_run: bool,
    ) -> &mut Vec<Policy> {
        match (action, dry_run) {
            (Action::Allow, false) => &mut self.allow,
            (Action::Allow, true) => &mut self.dry_run_allow,
            (Action::Audit, _) => &mut self.audit,
            (Action::Custom, _) => {
                let name = provider.map(|provider| provider.name.0);
                self.custom.entry(name.unwrap_or_default()).or_default()
            }
            (Action::Deny, false) => &mut self.deny,
            (Action::Deny, true) => &mut self.dry_run_deny,
        }
    }

    /// What can't be told counts as in Istio, whose rules for CUSTOM are those of a DENY.
    pub(super) fn checks(&mut self, providers: &[ExtensionProvider]) -> Checks {
        let services = providers.iter().filter_map(|provider| {
            let policies = self.custom.remove(&provider.name.0)?;
            let rules = RuleSet::new(policies, Unknown::Matches);
            Some((Service::new(provider), rules))
        });
        Checks::new(services.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        let lists = [
            &self.allow,
            &self.audit,
            &self.deny,
            &self.dry_run_allow,
            &self.dry_run_deny,
        ];
        self.custom.is_empty() && lists.iter().all(|list| list.is_empty())
    }
}

impl fmt::Display for Policies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let custom = self.custom.values().map(Vec::len).sum();
        let dry_run = self.dry_run_allow.len() + self.dry_run_deny.len();
        for (count, what) in [
            (custom, "CUSTOM"),
            (self.audit.len(), "AUDIT"),
            (dry_run, "dry-run"),
        ] {
            if count > 0 {
                write!(formatter, "{count} {what}, ")?;
            }
        }
        let (deny, allow) = (self.deny.len(), self.allow.len());
        let policies = match custom + self.audit.len() + dry_run + deny + allow {
            1 => "policy",
            _ => "policies",
        };
        write!(formatter, "{deny} DENY and {allow} ALLOW {policies}")
    }
}

/// What is wrong with a policy whose service isn't known.
pub(super) fn unprovided(
    provider: Option<&Provider>,
    providers: &[ExtensionProvider],
) -> Option<String> {
    let name = &provider?.name.0;
    let is_known = providers.iter().any(|known| known.name.0 == *name);
    (!is_known).then(|| format!("there is no `{name}` in `extensionProviders`: write it there"))
}
