//! Policies that change nothing, found by what they say and where they apply, not by comparing each with each.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::policy::Policy;

/// The namespace whose policies apply everywhere, where nothing else is said.
const ROOT: &str = "istio-system";

/// To whom a policy applies: a namespace, and which workloads of it, as it is written.
type Scope<'p> = (Option<&'p str>, String);
/// Policies by their places, in order.
type Places = Vec<usize>;

/// Each policy of which nothing depends, with the first one that decides in any case, and why that does.
pub(super) fn find(policies: &[Policy]) -> Vec<(&Policy, &Policy, &'static str)> {
    let mut index = Index::default();
    let keys: Vec<Option<Key<'_>>> = policies.iter().map(|policy| index.key(policy)).collect();
    for (place, (policy, key)) in policies.iter().zip(&keys).enumerate() {
        if let Some(key) = key {
            index.add(place, policy, key);
        }
    }
    let mut found = Vec::new();
    for (place, (policy, key)) in policies.iter().zip(&keys).enumerate() {
        if let Some((above, why)) = key.as_ref().and_then(|key| index.above(place, key, &keys))
            && let Some(above) = policies.get(above)
        {
            found.push((policy, above, why));
        }
    }
    found
}

/// What of a policy is compared.
struct Key<'p> {
    action: &'p str,
    scope: Scope<'p>,
    takes_all: bool,
    /// By number.
    rules: BTreeSet<usize>,
}

#[derive(Default)]
struct Index<'p> {
    /// The number of each rule there is.
    rules: HashMap<String, usize>,
    /// Those with a rule for every request, by action and scope.
    taking_all: HashMap<(&'p str, Scope<'p>), Places>,
    /// Those with a rule, by action, scope and number of the rule.
    having: HashMap<(&'p str, Scope<'p>, usize), Places>,
}

impl<'p> Index<'p> {
    /// Of a policy in dry run nothing depends anyway.
    fn key(&mut self, policy: &'p Policy) -> Option<Key<'p>> {
        if policy.is_dry_run {
            return None;
        }
        let rules = policy.rules.iter().map(|rule| {
            // Members are written in the order of their names, however they stood.
            let (text, next) = (rule.value().to_string(), self.rules.len());
            *self.rules.entry(text).or_insert(next)
        });
        let rules = rules.collect();
        let reach = policy.reach.iter().map(Value::to_string);
        Some(Key {
            action: policy.action.as_str(),
            scope: (
                policy.namespace.as_deref(),
                reach.collect::<Vec<_>>().join(" "),
            ),
            takes_all: policy.takes_all(),
            rules,
        })
    }

    fn add(&mut self, place: usize, policy: &'p Policy, key: &Key<'p>) {
        let action = policy.action.as_str();
        if key.takes_all {
            let places = self.taking_all.entry((action, key.scope.clone()));
            places.or_default().push(place);
        }
        for rule in &key.rules {
            let places = self.having.entry((action, key.scope.clone(), *rule));
            places.or_default().push(place);
        }
    }

    /// The first policy that leaves one nothing to decide.
    fn above(
        &self,
        place: usize,
        key: &Key<'p>,
        keys: &[Option<Key<'p>>],
    ) -> Option<(usize, &'static str)> {
        let mut found: Option<(usize, &'static str)> = None;
        let mut take = |above: usize, why| {
            if found.is_none_or(|(first, _)| above < first) {
                found = Some((above, why));
            }
        };
        for scope in wider(&key.scope) {
            for (action, why) in [
                ("DENY", "denies every request"),
                ("ALLOW", "allows every request"),
            ] {
                let is_over = matches!(
                    (action, key.action),
                    ("DENY", "ALLOW" | "DENY") | ("ALLOW", "ALLOW")
                );
                let places = self.taking_all.get(&(action, scope.clone()));
                let mut places = places.filter(|_| is_over).into_iter().flatten();
                if let Some(above) = places.find(|above| self.is_above(**above, place, keys)) {
                    take(*above, why);
                }
            }
            if key.action != "CUSTOM" {
                // Those that have all of its rules have the one that the fewest have.
                let having = key.rules.iter().map(|rule| {
                    let places = self.having.get(&(key.action, scope.clone(), *rule));
                    places.map(Vec::as_slice).unwrap_or_default()
                });
                let mut fewest = having
                    .min_by_key(|places| places.len())
                    .into_iter()
                    .flatten();
                if let Some(above) = fewest.find(|above| self.is_above(**above, place, keys)) {
                    take(*above, "has the same rules");
                }
            }
        }
        found
    }

    /// Whether one that may be above another is. Of two that are above one another, the second is one too many.
    fn is_above(&self, above: usize, place: usize, keys: &[Option<Key<'p>>]) -> bool {
        let key = |place: usize| keys.get(place).and_then(Option::as_ref);
        let (Some(above_key), Some(key)) = (key(above), key(place)) else {
            return false;
        };
        above != place && shadows(above_key, key) && (above < place || !shadows(key, above_key))
    }
}

/// The scopes that cover one: the same, all of its namespace, and all of the mesh.
fn wider<'p>((namespace, reach): &Scope<'p>) -> BTreeSet<Scope<'p>> {
    BTreeSet::from([
        (*namespace, reach.clone()),
        (*namespace, String::new()),
        (Some(ROOT), String::new()),
    ])
}

/// Whether one leaves another nothing to decide.
fn shadows(above: &Key<'_>, below: &Key<'_>) -> bool {
    let decides = match (above.action, below.action) {
        ("DENY", "ALLOW" | "DENY") | ("ALLOW", "ALLOW") if above.takes_all => true,
        (one, other) => {
            one == other
                && one != "CUSTOM"
                && !below.rules.is_empty()
                && below.rules.is_subset(&above.rules)
        }
    };
    decides && wider(&below.scope).contains(&above.scope)
}
