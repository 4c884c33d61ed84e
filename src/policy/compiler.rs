//! A configuration is gone through, and what applies here put together.

use std::rc::Rc;
use std::time::Duration;

use super::amended::amend;
use super::by_action::{Policies, unprovided};
use super::older::Older;
use super::{Node, Policy};
use crate::authn::{Authentication, Keys, Rule};
use crate::authz::{self, PolicySet, RuleSet, Unknown};
use crate::config::place::Place;
use crate::config::reader::{Mistake, Mistakes};
use crate::config::text::text;
use crate::config::{AuthorizationRules, Config, Defaults, Jwks, JwtRule, TokenCache};
use crate::connection::Validation;
use crate::filter_state::FilterState;
use crate::istio::{DryRun, Here, Kind, named};
use crate::jwks::{Fetching, KeySetId, KeySetSource, KeySetUri, Origin};
use crate::metrics::{Counted, KeySetName, Names};
use crate::mtls::{MutualTls, Scoped};
use crate::path::Paths;
use crate::plural::counted;
use crate::sorted;

/// Why an older policy can't stand beside rules for tokens.
const BESIDE: &str = "a RequestAuthentication applies here, too, and only one of them can decide about \
                      tokens: write a RequestAuthentication and a PeerAuthentication in place of \
                      this policy";
/// How long Istio's proxies wait for a key set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many requests may wait on each worker: each takes some 11 kB of Envoy's memory.
const DEFAULT_MAX_WAITING: u32 = 10_000;

/// What is put together while resources are gone through.
pub(super) struct Compiler {
    pub(super) here: Here,
    fetching: Rc<Fetching>,
    /// Rules of older policies among them.
    rule_count: usize,
    rules: Vec<Rule>,
    policies: Policies,
    mutual_tls: Vec<Scoped>,
    key_sets: Vec<Rc<KeySetSource>>,
    /// By key set.
    key_set_names: Vec<KeySetName>,
    /// Resources that are for other workloads.
    elsewhere: Vec<String>,
}

impl Compiler {
    pub(super) fn new(config: &Config, node: &Node) -> Self {
        Self {
            here: Here::new(config.workload.as_ref(), node),
            fetching: Rc::new(Jwks::fetching(config.jwks.as_ref())),
            rule_count: 0,
            rules: Vec::new(),
            policies: Policies::default(),
            mutual_tls: Vec::new(),
            key_sets: Vec::new(),
            key_set_names: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    pub(super) fn compile(
        mut self,
        config: Config,
        mut warnings: Vec<Mistake>,
    ) -> Result<Policy, Mistakes> {
        let mut mistakes = Vec::new();
        let validation = match &config.workload {
            Some(workload) if workload.untrusted_certificates => Validation::Unknown,
            _ => Validation::Done,
        };
        let defaults = config.defaults;
        for rule in config.jwt_rules.unwrap_or_default() {
            let rule = self.rule(rule, defaults.as_ref());
            self.rules.push(rule);
        }
        let ours = self.here.namespace.clone().unwrap_or_default();
        let providers = config.extension_providers;
        for (index, policy) in config
            .authorization_policies
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            if let Some(message) = unprovided(policy.provider.as_ref(), &providers) {
                let policies = Place::default().member("authorizationPolicies");
                mistakes.push(unprovided_at(policies.item(index), message));
            }
            let name = text(&policy.name).unwrap_or_else(|| index.to_string());
            let action = policy.action.unwrap_or_default();
            let policies = self.policies.of(action, policy.provider, policy.dry_run);
            policies.push(placed(&self.here, &ours, &name, policy.rules));
        }
        let mut resources = config.resources.unwrap_or_default();
        mistakes.extend(amend(&mut resources, config.request_authentications, &ours));
        let mut applying = Vec::new();
        for resource in resources {
            match resource.applies(&self.here) {
                Ok(true) => applying.push(resource),
                Ok(false) => self.elsewhere.push(resource.to_string()),
                Err(message) => mistakes.push(resource.misplaced(message)),
            }
        }
        // As Istio looks them up. Of rules with one issuer, the first is tried first.
        sorted::by(&mut applying, |one, other| {
            one.order(&self.here).cmp(&other.order(&self.here))
        });
        let first = applying.iter().find(|resource| resource.kind.is_older());
        let beside = first.map(|resource| resource.misplaced(BESIDE));
        let mut older = Vec::new();
        for resource in applying {
            let namespace = resource.namespace.as_deref().unwrap_or(&ours);
            let name = match resource.kind {
                Kind::MeshPolicy(_) => format!("mesh-policy[{}]", resource.name),
                _ => policy_name(namespace, &resource.name),
            };
            let (reach, scope) = (resource.reach(&self.here), resource.scope(&self.here));
            match resource.kind {
                Kind::AuthorizationPolicy(policy, DryRun(dry_run)) => {
                    if let Some(message) = unprovided(policy.provider.as_ref(), &providers) {
                        mistakes.push(unprovided_at(resource.place.member("spec"), message));
                    }
                    let action = policy.action.unwrap_or_default();
                    let policies = self.policies.of(action, policy.provider, dry_run);
                    policies.push(placed(&self.here, namespace, &resource.name, policy.rules));
                }
                Kind::MeshPolicy(policy) | Kind::Policy(policy) => match reach {
                    Ok(reach) => older.push(Older {
                        name,
                        policy,
                        reach,
                    }),
                    Err(mistake) => mistakes.push(mistake),
                },
                Kind::PeerAuthentication(spec) => match scope {
                    Ok(scope) => self.mutual_tls.push(Scoped { scope, name, spec }),
                    Err(ignored) => warnings.push(ignored),
                },
                Kind::RequestAuthentication(rules) => {
                    for rule in rules {
                        let rule = self.rule(rule, defaults.as_ref());
                        self.rules.push(rule);
                    }
                }
            }
        }
        if !self.rules.is_empty() {
            mistakes.extend(beside);
        }
        let metadata = config.dynamic_metadata.map(|metadata| metadata.header.0);
        if let Some(header) = &metadata
            && self.rules.iter().any(|rule| rule.writes(header))
        {
            mistakes.push(Mistake::at(
                Place::default().member("dynamicMetadata").member("header"),
                format!("a JWT rule writes `{header}`, too: choose another header"),
            ));
        }
        if !mistakes.is_empty() {
            return Err(Mistakes(mistakes));
        }
        let older = self.older(older, defaults.as_ref());
        warnings.extend(self.one_for_several());
        let mutual_tls = MutualTls::new(self.mutual_tls);
        let mut summary = format!(
            "{}, {} apply to workload `{}` in namespace `{}`",
            counted(self.rules.len(), "JWT rule", "JWT rules"),
            self.policies,
            config
                .workload
                .and_then(|workload| text(&workload.name))
                .unwrap_or_default(),
            ours,
        );
        if let Some(name) = mutual_tls.required_by() {
            summary.push_str(&format!("; {name} requires mutual TLS"));
        }
        let older_names = older.names();
        if !older_names.is_empty() {
            summary.push_str(&format!("; authentication by {}", older_names.join(", ")));
        }
        if let Some(names) = named(&self.elsewhere) {
            summary.push_str(&format!("; for other workloads: {names}"));
        }
        let nothing = self.rules.is_empty()
            && self.policies.is_empty()
            && older_names.is_empty()
            && mutual_tls.required_by().is_none();
        if nothing {
            warnings.push(Mistake::at(
                Place::default(),
                "nothing applies here, so every request passes",
            ));
        }
        let owned =
            |names: Vec<&str>| -> Vec<String> { names.into_iter().map(str::to_owned).collect() };
        let (older_names, requirers) =
            (owned(older_names), owned(mutual_tls.requirers().collect()));
        let checks = self.policies.checks(&providers);
        let audit = RuleSet::new(self.policies.audit, Unknown::Matches);
        let dry_run = PolicySet::new(self.policies.dry_run_deny, self.policies.dry_run_allow);
        let authorization = PolicySet::new(self.policies.deny, self.policies.allow);
        let names = Names::new(
            &Counted {
                allow: authorization.allow.policies(),
                audit: audit.policies(),
                custom: checks.iter().map(|(_, rules)| rules.policies()).collect(),
                deny: authorization.deny.policies(),
                dry_run: [dry_run.deny.policies(), dry_run.allow.policies()],
                mutual_tls: &requirers,
                older: &older_names,
                reports: self.rules.iter().any(Rule::reports_only),
            },
            checks.iter().map(|(name, _)| name.to_owned()).collect(),
            self.key_set_names,
        );
        Ok(Policy {
            summary,
            mutual_tls,
            validation,
            authentication: Authentication::new(
                self.rules,
                older,
                config.tokens.unwrap_or_default(),
                metadata,
            ),
            checks,
            audit,
            dry_run,
            authorization,
            filter_state: FilterState::new(config.filter_state),
            paths: Paths {
                normalization: config.path_normalization.unwrap_or_default(),
                ambiguous: config.ambiguous_paths.unwrap_or_default(),
            },
            verification: config.verification.unwrap_or_default(),
            token_cache: TokenCache::bounds(config.token_cache),
            max_waiting: config
                .max_waiting_requests
                .map_or(DEFAULT_MAX_WAITING, |most| most.0),
            preflights: config.cors_preflights.unwrap_or_default(),
            errors: config.errors.unwrap_or_default(),
            names: Rc::new(names),
            key_sets: self.key_sets,
            shares_keys: config.jwks.and_then(|jwks| jwks.shared),
            warnings,
        })
    }

    pub(super) fn rule(&mut self, mut rule: JwtRule, defaults: Option<&Defaults>) -> Rule {
        let uri = rule.jwks_uri.take().map(Origin::At);
        let origin = uri.or_else(|| Origin::of_issuer(rule.issuer()?));
        let issuer = rule.issuer().map(str::to_owned);
        let keys = match (rule.jwks.take(), origin) {
            (Some(inline), _) => Keys::Inline(Rc::new(inline.0)),
            (None, Some(origin)) => {
                let source = KeySetSource {
                    origin,
                    timeout: rule.timeout.unwrap_or(DEFAULT_TIMEOUT),
                    fetching: Rc::clone(&self.fetching),
                };
                Keys::Remote(self.key_set(source, issuer))
            }
            (None, None) => Keys::Nowhere,
        };
        self.rule_count += 1;
        let scope = rule.match_.take();
        let namespace = self.here.namespace.as_deref().unwrap_or_default();
        let scope = scope.map(|scope| {
            scope
                .into_rule()
                .placed(namespace, &self.here.trust_domains)
        });
        Rule::new(self.rule_count, rule, scope, keys, defaults)
    }

    /// What to know where one cluster has the key sets of several hosts.
    fn one_for_several(&self) -> Option<Mistake> {
        let uris = self.key_sets.iter().map(|source| source.origin.uri());
        let shared = uris.filter(|uri| self.fetching.clusters.is_shared(uri));
        let mut hosts: Vec<&str> = shared.map(KeySetUri::host).collect();
        sorted::by(&mut hosts, Ord::cmp);
        hosts.dedup();
        (hosts.len() > 1).then(|| {
            let named = named(&hosts).unwrap_or_default();
            Mistake::at(
                Place::default().member("jwks").member("cluster"),
                format!(
                    "one cluster for the key sets of several hosts: a server that answers for one of \
                     them with the keys of another signs for that one's issuers, too. Write \
                     `clusters` with a cluster for each, unless this one leads to each host by its \
                     name: {named}"
                ),
            )
        })
    }

    /// Rules with the same source share what is fetched.
    fn key_set(&mut self, source: KeySetSource, issuer: Option<String>) -> KeySetId {
        let known = self
            .key_sets
            .iter()
            .position(|other| other.is_same(&source));
        KeySetId(known.unwrap_or_else(|| {
            let address = source.origin.uri().without_query().to_owned();
            self.key_set_names.push(KeySetName {
                cluster: source.first().cluster().to_owned(),
                issuer: issuer.unwrap_or_else(|| address.clone()),
                address,
            });
            self.key_sets.push(Rc::new(source));
            self.key_sets.len() - 1
        }))
    }
}

fn unprovided_at(policy: Place, message: String) -> Mistake {
    Mistake::at(policy.member("provider").member("name"), message)
}

fn placed(
    here: &Here,
    namespace: &str,
    name: &str,
    rules: Vec<AuthorizationRules>,
) -> authz::Policy {
    let rules = rules.into_iter();
    authz::Policy {
        name: policy_name(namespace, name),
        rules: rules
            .map(|rule| rule.0.placed(namespace, &here.trust_domains))
            .collect(),
    }
}

/// A policy, in Istio's form.
fn policy_name(namespace: &str, name: &str) -> String {
    format!("ns[{namespace}]-policy[{name}]")
}
