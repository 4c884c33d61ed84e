//! The older policies, compiled.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::compiler::Compiler;
use crate::authn::legacy::{Origin, Peer, Placed, Policies, Policy, Reach};
use crate::authn::{Rule, Sought};
use crate::config::Defaults;
use crate::config::jwt_rule::JwtRule;
use crate::config::legacy::{LegacyPolicy, PeerMethod};

/// One that applies here, as it is written.
pub(super) struct Older {
    pub(super) name: String,
    pub(super) policy: LegacyPolicy,
    pub(super) reach: Vec<Reach>,
}

impl Compiler {
    /// Compiles those that decide about some request: for the others no keys are fetched.
    pub(super) fn older(
        &mut self,
        mut oldest_first: Vec<Older>,
        defaults: Option<&Defaults>,
    ) -> Policies {
        let policies = oldest_first.iter_mut().enumerate();
        let placed = policies.flat_map(|(policy, older)| {
            let reach = std::mem::take(&mut older.reach).into_iter();
            reach.map(move |reach| Placed { reach, policy })
        });
        let placed = Placed::deciding(placed.collect());
        let mut compiled = BTreeMap::new();
        for (index, older) in oldest_first.into_iter().enumerate() {
            if placed.iter().any(|placed| placed.policy == index) {
                compiled.insert(index, Rc::new(self.older_policy(older, defaults)));
            }
        }
        let compiled = placed.into_iter().filter_map(|Placed { reach, policy }| {
            let policy = Rc::clone(compiled.get(&policy)?);
            Some(Placed { reach, policy })
        });
        Policies(compiled.collect())
    }

    fn older_policy(&mut self, older: Older, defaults: Option<&Defaults>) -> Policy {
        let Older { name, policy, .. } = older;
        let peers = policy.peers.into_iter();
        let peers = peers.map(|method| match method {
            PeerMethod::Jwt(jwt) => Peer::Token(Box::new(self.older_rule(jwt.rule, defaults))),
            PeerMethod::MutualTls { is_strict } => Peer::MutualTls { is_strict },
        });
        let peers = peers.collect();
        let origins = policy.origins.into_iter();
        let origins = origins.map(|origin| Origin {
            rule: self.older_rule(origin.jwt.rule, defaults),
            triggers: origin.jwt.triggers,
        });
        Policy {
            name,
            peers,
            peer_is_optional: policy.peer_is_optional,
            origins: origins.collect(),
            origin_is_optional: policy.origin_is_optional,
            binding: policy.principal_binding.unwrap_or_default(),
            trust_domains: Rc::clone(&self.here.trust_domains),
            sought: Sought::default(),
        }
        .seeking()
    }

    /// The filter of their time knew no clock skew.
    fn older_rule(&mut self, mut rule: JwtRule, defaults: Option<&Defaults>) -> Rule {
        let skew = defaults.and_then(|defaults| defaults.clock_skew);
        rule.clock_skew = Some(skew.unwrap_or(Duration::ZERO));
        self.rule(rule, defaults)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::policy::{Node, Policy};

    #[test]
    fn keys_are_fetched_only_for_what_decides() {
        let policy = |kind: &str, name: &str, targets: Value| {
            json!({
                "apiVersion": "authentication.istio.io/v1alpha1",
                "kind": kind,
                "metadata": { "name": name, "namespace": "foo" },
                "spec": {
                    "targets": targets,
                    "origins": [{ "jwt": {
                        "issuer": "a",
                        "jwksUri": format!("https://{kind}-{name}.test/"),
                    } }],
                },
            })
        };
        let mesh = policy("MeshPolicy", "default", json!([]));
        let namespace = policy("Policy", "default", json!([]));
        let service = policy("Policy", "service", json!([{ "name": "a" }]));
        let port = json!([{ "name": "a", "ports": [{ "number": 80 }] }]);
        let port = policy("Policy", "port", port);
        for (resources, expected) in [
            (json!([mesh]), &["MeshPolicy-default"][..]),
            (json!([mesh, namespace]), &["Policy-default"]),
            (json!([mesh, namespace, service]), &["Policy-service"]),
            (
                json!([mesh, namespace, port]),
                &["Policy-default", "Policy-port"],
            ),
            (
                json!([mesh, namespace, service, port]),
                &["Policy-port", "Policy-service"],
            ),
        ] {
            let configuration = json!({
                "workload": { "namespace": "foo", "serviceName": "a", "ports": [{ "number": 80 }] },
                "resources": resources,
            });
            let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
            let policy = policy.unwrap();
            let sets = policy.key_sets().iter().map(ToString::to_string);
            let sets: Vec<String> = sets.collect();
            assert_eq!(sets.len(), expected.len(), "{sets:?}");
            for name in expected {
                let is_of = |set: &String| set.contains(&format!("https://{name}.test/"));
                assert!(sets.iter().any(is_of), "{name}: {sets:?}");
            }
        }
    }
}
