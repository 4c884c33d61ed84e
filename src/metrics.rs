//! What is measured: time series, their names and labels, and how many there can be.
//!
//! A name has its labels in it as those of Istio's own plugins have: `decision=.=deny;.;portcullis_...`.
//! `stats_tags` make labels of them again, ours (`envoy/observability/stats-tags.yaml`) and those that Istio
//! makes of `extraStatTags`.

mod series;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustc_hash::FxHashMap;

use self::series::rule_set;
pub(crate) use self::series::{
    By, CheckResult, Decision, FetchResult, Kind, Lookup, Place, Series,
};
use crate::check::CheckId;
use crate::jwks::KeySetId;
use crate::outcome::{DryRun, Fault, Note, Reason, Refusal};

/// How many policies of one action have series of their own. The others share `policy=other`.
const MAX_POLICIES: usize = 256;

/// What a label can't hold as it is: what a label begins or ends with, what escapes, and what formats of
/// metrics quote.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'%')
    .add(b';')
    .add(b'=')
    .add(b'\\')
    .add(b'|');

/// The policies of one configuration whose decisions are counted by name.
#[derive(Debug, Default)]
pub(crate) struct Counted<'a> {
    pub(crate) allow: &'a [String],
    pub(crate) audit: &'a [String],
    pub(crate) custom: Vec<&'a [String]>,
    pub(crate) deny: &'a [String],
    pub(crate) dry_run: [&'a [String]; 2],
    pub(crate) mutual_tls: &'a [String],
    pub(crate) older: &'a [String],
    /// Whether a rule only reports the tokens that it would refuse.
    pub(crate) reports: bool,
}

/// A key set. Several may be for one issuer, here or in another plugin of the same Envoy.
#[derive(Debug)]
pub(crate) struct KeySetName {
    /// The first issuer that it is for, or where it is, if no issuer is named.
    pub(crate) issuer: String,
    /// Where it is, without what may be secret of that.
    pub(crate) address: String,
    pub(crate) cluster: String,
}

/// What the labels of a configuration's series say.
#[derive(Debug, Default)]
pub(crate) struct Names {
    policies: Vec<String>,
    places: FxHashMap<String, usize>,
    /// The policies that allow and have series of their own, in their order.
    allow: Vec<By>,
    services: Vec<String>,
    key_sets: Vec<KeySetName>,
    /// What the configuration can lead to, so that its series begin at 0.
    expected: Vec<Series>,
}

impl Names {
    /// Whom a key set is for.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn issuer(&self, id: KeySetId) -> &str {
        (self.key_sets.get(id.0)).map_or("", |key_set| &key_set.issuer)
    }

    /// `services` and `key_sets` are in the order of their ids.
    pub(crate) fn new(
        counted: &Counted<'_>,
        services: Vec<String>,
        key_sets: Vec<KeySetName>,
    ) -> Self {
        let mut names = Self {
            services,
            key_sets,
            ..Self::default()
        };
        let by_nobody = Reason::ALL.iter().filter(|reason| !names_policy(**reason));
        names.expected.push(Series::Allowed(By::Nobody));
        names
            .expected
            .extend(by_nobody.map(|reason| Series::Refused(*reason, By::Nobody)));
        names.expect(counted.allow, |by| vec![Series::Allowed(by)]);
        let allow = counted.allow.iter().take(MAX_POLICIES);
        names.allow = allow.map(|policy| names.by(Some(policy))).collect();
        names.expect(counted.audit, |by| vec![Series::Audited(by)]);
        for custom in &counted.custom {
            names.expect(custom, |by| refused(Fault::Check, by));
        }
        names.expect(counted.deny, |by| {
            vec![Series::Refused(Reason::PolicyDenied, by)]
        });
        let dry_run = |by| Decision::ALL.iter().map(move |it| Series::DryRun(*it, by));
        for policies in counted.dry_run {
            names.expect(policies, |by| dry_run(by).collect());
        }
        if counted.dry_run.iter().any(|policies| !policies.is_empty()) {
            names.expected.extend(dry_run(By::Nobody));
        }
        names.expect(counted.mutual_tls, |by| {
            vec![Series::Refused(Reason::MtlsRequired, by)]
        });
        names.expect(counted.older, |by| refused(Fault::Caller, by));
        if counted.reports {
            let reasons = of_fault(Fault::Token).map(Series::Reported);
            names.expected.extend(reasons);
        }
        names
            .expected
            .extend([Series::Remembered, Series::Unseen, Series::Waiting]);
        let lookups = Lookup::ALL.iter();
        names
            .expected
            .extend(lookups.map(|lookup| Series::TokenLookups(*lookup)));
        let places = Place::ALL.iter();
        names
            .expected
            .extend(places.map(|place| Series::Verified(*place)));
        for id in (0..names.services.len()).map(CheckId) {
            let results = CheckResult::ALL.iter();
            names
                .expected
                .extend(results.map(|result| Series::Checked(id, *result)));
            names
                .expected
                .extend([Series::CheckTime(id), Series::Unchecked(id)]);
        }
        for id in (0..names.key_sets.len()).map(KeySetId) {
            let results = FetchResult::ALL.iter();
            names
                .expected
                .extend(results.map(|result| Series::Fetched(id, *result)));
            names.expected.push(Series::FetchedAt(id));
        }
        if !names.key_sets.is_empty() {
            names.expected.push(Series::KeyWait);
        }
        names
    }

    fn expect(&mut self, policies: &[String], series: impl Fn(By) -> Vec<Series>) {
        for name in policies.iter().take(MAX_POLICIES) {
            let place = match self.places.get(name) {
                Some(place) => *place,
                None => {
                    self.places.insert(name.clone(), self.policies.len());
                    self.policies.push(name.clone());
                    self.policies.len() - 1
                }
            };
            self.expected.extend(series(By::Policy(place)));
        }
        if policies.len() > MAX_POLICIES {
            self.expected.extend(series(By::Other));
        }
    }

    pub(crate) fn expected(&self) -> &[Series] {
        &self.expected
    }

    pub(crate) fn refused(&self, refusal: &Refusal) -> Series {
        Series::Refused(refusal.reason, self.by(refusal.policy.as_deref()))
    }

    pub(crate) fn noted(&self, note: &Note) -> Option<Series> {
        Some(match note {
            Note::Audit(rule) => Series::Audited(self.by(Some(rule))),
            Note::DryRun(DryRun::Token { reason, .. }) => Series::Reported(*reason),
            Note::DryRun(DryRun::Policies { denied, rule }) => {
                let decision = match denied {
                    true => Decision::Deny,
                    false => Decision::Allow,
                };
                Series::DryRun(decision, self.by(rule.as_deref()))
            }
            Note::Unchecked(service) => {
                let place = self.services.iter().position(|name| name == service)?;
                Series::Unchecked(CheckId(place))
            }
        })
    }

    /// The policy of a rule, or the policy itself.
    fn by(&self, rule: Option<&str>) -> By {
        let Some(rule) = rule else {
            return By::Nobody;
        };
        let policy = rule
            .rsplit_once("-rule[")
            .map_or(rule, |(policy, _)| policy);
        let place = self.places.get(policy).or_else(|| self.places.get(rule));
        place.map_or(By::Other, |place| By::Policy(*place))
    }

    /// What allowed a request: nothing, or the policy with this place among those that allow.
    pub(crate) fn allowed(&self, policy: Option<usize>) -> Series {
        Series::Allowed(match policy {
            None => By::Nobody,
            Some(policy) => self.allow.get(policy).copied().unwrap_or(By::Other),
        })
    }

    /// The name of a series, labels included.
    pub(crate) fn name(&self, series: Series) -> String {
        let labels = self.labels(series).into_iter().map(|(label, value)| {
            let value = utf8_percent_encode(value, ESCAPED);
            format!("{label}=.={value};.;")
        });
        let labels: String = labels.collect();
        format!("{labels}portcullis_{}", series.metric())
    }

    fn labels(&self, series: Series) -> Vec<(&'static str, &str)> {
        let policy = |by| {
            let name = match by {
                By::Nobody => "none",
                By::Other => "other",
                By::Policy(place) => at(&self.policies, place),
            };
            ("policy", name)
        };
        let key_set = |id: KeySetId| {
            let names = self.key_sets.get(id.0).into_iter();
            names.flat_map(|names| {
                [
                    ("issuer", names.issuer.as_str()),
                    ("address", &names.address),
                    ("jwks_cluster", &names.cluster),
                ]
            })
        };
        let service = |id: CheckId| ("service", at(&self.services, id.0));
        match series {
            Series::Allowed(by) => vec![
                ("decision", Decision::Allow.label()),
                ("reason", "none"),
                ("rule_set", if by == By::Nobody { "none" } else { "allow" }),
                policy(by),
            ],
            Series::Refused(reason, by) => vec![
                ("decision", Decision::Deny.label()),
                ("reason", reason.code()),
                ("rule_set", rule_set(reason)),
                policy(by),
            ],
            Series::Audited(by) => vec![policy(by)],
            Series::Reported(reason) => vec![("reason", reason.code())],
            Series::DryRun(decision, by) => vec![("decision", decision.label()), policy(by)],
            Series::Checked(id, result) => vec![("result", result.label()), service(id)],
            Series::CheckTime(id) | Series::Unchecked(id) => vec![service(id)],
            Series::Fetched(id, result) => {
                let result = [("result", result.label())].into_iter();
                result.chain(key_set(id)).collect()
            }
            Series::FetchedAt(id) => key_set(id).collect(),
            Series::KeyWait | Series::Remembered | Series::Unseen | Series::Waiting => vec![],
            Series::TokenLookups(lookup) => vec![("result", lookup.label())],
            Series::Verified(place) => vec![("verifier", place.label())],
        }
    }
}

fn at(names: &[String], place: usize) -> &str {
    names.get(place).map_or("", String::as_str)
}

/// Whether a refusal for this reason says which policy decided.
fn names_policy(reason: Reason) -> bool {
    let of_policy = matches!(reason, Reason::MtlsRequired | Reason::PolicyDenied);
    of_policy || matches!(reason.fault(), Fault::Caller | Fault::Check)
}

/// Refusals for all reasons with this fault.
fn refused(fault: Fault, by: By) -> Vec<Series> {
    of_fault(fault)
        .map(|reason| Series::Refused(reason, by))
        .collect()
}

fn of_fault(fault: Fault) -> impl Iterator<Item = Reason> {
    let reasons = Reason::ALL.iter().copied();
    reasons.filter(move |reason| reason.fault() == fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(count: usize) -> Vec<String> {
        let names = (0..count).map(|index| format!("ns[foo]-policy[p.{index}]"));
        names.collect()
    }

    #[test]
    fn policies_beyond_the_bound_share_a_series() {
        for (count, others) in [
            (0, 0),
            (MAX_POLICIES, 0),
            (MAX_POLICIES + 1, 1),
            (10_000, 1),
        ] {
            let policies = policies(count);
            let counted = Counted {
                allow: &policies,
                ..Counted::default()
            };
            let names = Names::new(&counted, vec![], vec![]);
            let own = names.expected().iter();
            let own = own.filter(|series| matches!(series, Series::Allowed(By::Policy(_))));
            assert_eq!(own.count(), count.min(MAX_POLICIES));
            let other = names.expected().iter();
            let other = other.filter(|series| matches!(series, Series::Allowed(By::Other)));
            assert_eq!(other.count(), others);
            let last = names.allowed(count.checked_sub(1));
            assert!(names.expected().contains(&last), "{last:?}");
        }
    }

    #[test]
    fn a_rule_counts_for_its_policy() {
        let deny = ["ns[]-policy[a-rule[1]]", "ns[foo]-policy[b]"].map(str::to_owned);
        let counted = Counted {
            deny: &deny,
            ..Counted::default()
        };
        let names = Names::new(&counted, vec![], vec![]);
        for (rule, policy) in [
            (
                Some("ns[]-policy[a-rule[1]]-rule[0]"),
                "ns[]-policy[a-rule[1]]",
            ),
            (Some("ns[foo]-policy[b]-rule[12]"), "ns[foo]-policy[b]"),
            (Some("ns[foo]-policy[c]-rule[0]"), "other"),
            (None, "none"),
        ] {
            let refusal = Refusal {
                policy: rule.map(str::to_owned),
                ..Reason::PolicyDenied.into()
            };
            let name = names.name(names.refused(&refusal));
            let expected = format!(
                "decision=.=deny;.;reason=.=policy_denied;.;rule_set=.=deny;.;\
                 policy=.={policy};.;portcullis_requests_total"
            );
            assert_eq!(name, expected);
        }
    }

    #[test]
    fn labels_end_where_they_should() {
        for (issuer, label) in [
            ("https://idp.test/a?b", "https://idp.test/a?b"),
            ("idp..test.", "idp..test."),
            ("a;.;policy=.=x", "a%3B.%3Bpolicy%3D.%3Dx"),
            ("x y\n%|\"\\\u{e9}", "x%20y%0A%25%7C%22%5C%C3%A9"),
        ] {
            let key_set = KeySetName {
                issuer: issuer.to_owned(),
                address: "https://idp.test/keys".to_owned(),
                cluster: "outbound|443||idp.test".to_owned(),
            };
            let names = Names::new(&Counted::default(), vec![], vec![key_set]);
            let name = names.name(Series::FetchedAt(KeySetId(0)));
            let expected = format!(
                "issuer=.={label};.;address=.=https://idp.test/keys;.;\
                 jwks_cluster=.=outbound%7C443%7C%7Cidp.test;.;\
                 portcullis_key_set_fetched_timestamp_seconds"
            );
            assert_eq!(name, expected);
        }
    }
}
