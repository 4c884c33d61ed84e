//! The older policies, compiled.

use std::rc::Rc;
use std::time::Duration;

use super::Compiler;
use crate::authn::Rule;
use crate::authn::legacy::{Origin, Peer, Placed, Policy, Reach};
use crate::config::Defaults;
use crate::config::jwt_rule::JwtRule;
use crate::config::legacy::{LegacyPolicy, PeerMethod};

impl Compiler {
    pub(super) fn add_older(
        &mut self,
        name: String,
        policy: LegacyPolicy,
        reach: Vec<Reach>,
        defaults: Option<&Defaults>,
    ) {
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
        let policy = Rc::new(Policy {
            name,
            peers,
            peer_is_optional: policy.peer_is_optional,
            origins: origins.collect(),
            origin_is_optional: policy.origin_is_optional,
            binding: policy.principal_binding.unwrap_or_default(),
            trust_domains: Rc::clone(&self.here.trust_domains),
        });
        self.older.extend(reach.into_iter().map(|reach| Placed {
            reach,
            policy: Rc::clone(&policy),
        }));
    }

    /// The filter of their time knew no clock skew.
    fn older_rule(&mut self, mut rule: JwtRule, defaults: Option<&Defaults>) -> Rule {
        let skew = defaults.and_then(|defaults| defaults.clock_skew);
        rule.clock_skew = Some(skew.unwrap_or(Duration::ZERO));
        self.rule(rule, defaults)
    }
}
