//! A configuration, compiled: nothing is left to interpret when a request comes.

mod amended;
mod by_action;
mod compiler;
mod older;

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use self::compiler::Compiler;
use crate::authn::{Authentication, Identity};
use crate::authz::{PolicySet, RuleSet, Subject};
use crate::check::Checks;
use crate::config::reader::{Input, Mistake, Mistakes, Read as _, Readable, Report};
use crate::config::{self, Config, Errors, Preflights, Profile, Verification, Workload};
use crate::connection::Validation;
use crate::filter_state::FilterState;
use crate::istio::{Here, Resource};
use crate::jwks::{KeySetId, KeySetSource};
use crate::metrics::Names;
use crate::mtls::MutualTls;
use crate::outcome::{Lack, Reason};
use crate::path::Paths;
use crate::sorted;

/// What Envoy's node metadata tells of the workload; the configuration's `workload` comes first.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// `NAMESPACE`
    pub namespace: Option<String>,
    /// `LABELS`
    pub labels: Option<BTreeMap<String, String>>,
    /// `TRUST_DOMAIN`
    pub trust_domain: Option<String>,
}

/// The rules of one configuration, compiled.
#[derive(Debug)]
pub struct Policy {
    pub(crate) mutual_tls: MutualTls,
    pub(crate) authentication: Authentication,
    pub(crate) checks: Checks,
    pub(crate) audit: RuleSet,
    /// What only tells what it would do.
    pub(crate) dry_run: PolicySet,
    pub(crate) authorization: PolicySet,
    pub(crate) filter_state: FilterState,
    /// Of peers' certificates.
    pub(crate) validation: Validation,
    pub(crate) paths: Paths,
    pub(crate) preflights: Preflights,
    pub(crate) errors: Errors,
    pub(crate) verification: Verification,
    /// How many tokens are remembered, and in how many bytes.
    pub(crate) token_cache: (u32, u32),
    /// How many requests may wait on each worker.
    pub(crate) max_waiting: u32,
    pub(crate) names: Rc<Names>,
    key_sets: Vec<Rc<KeySetSource>>,
    shares_keys: Option<bool>,
    summary: String,
    warnings: Vec<Mistake>,
}

impl Policy {
    /// Reads and compiles a plugin configuration: JSON, or a serialised `google.protobuf.Struct`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, all at once.
    pub fn load(configuration: &[u8], node: &Node) -> Result<Self, Mistakes> {
        Self::read(&config::parse(configuration)?, node)
    }

    /// Reads and compiles a plugin configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, all at once.
    pub(crate) fn read(document: &Value, node: &Node) -> Result<Self, Mistakes> {
        let report = Report::on(document);
        let config = Config::read(&Input::root(document, &report));
        match report.into_result(config) {
            Ok((config, warnings)) => Compiler::new(&config, node).compile(config, warnings),
            Err(mut mistakes) => {
                mistakes.0.extend(misplaced(document, node));
                Err(mistakes)
            }
        }
    }

    /// What is allowed but worth a word, each with its place.
    #[must_use]
    pub fn warnings(&self) -> &[Mistake] {
        &self.warnings
    }

    /// What applies to whom, in a sentence for the log.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Which of these trailers of a request don't reach the upstream: in any spelling, those that rules
    /// or services write as headers, and those under which rules look for tokens. Servers may make
    /// headers of trailers (RFC 9110 section 6.5.1). Each is named once.
    pub(crate) fn forged_trailers<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
        let is_forged = |name: &&str| {
            self.authentication.sets_or_seeks(name.as_bytes()) || self.checks.write(name)
        };
        let mut forged: Vec<&str> = names.filter(is_forged).collect();
        sorted::by(&mut forged, Ord::cmp);
        forged.dedup();
        forged
    }

    /// What refuses every request that comes to this port without a client certificate, if anything does.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn requires_mutual_tls(&self, port: u16) -> Option<&str> {
        let older = || self.authentication.requires_mutual_tls(port);
        self.mutual_tls.required_on(port).or_else(older)
    }

    /// Whether workers share what they fetch; `None` where the configuration leaves that open.
    pub(crate) fn shares_keys(&self) -> Option<bool> {
        self.shares_keys
    }

    /// What would help a request that policies refuse.
    pub(crate) fn lack(&self, subject: Subject<'_>, reason: Reason) -> Lack {
        let has_token = subject.identity.is_some_and(Identity::has_token);
        match (has_token, reason) {
            (false, _) if self.authentication.takes_tokens(subject) => Lack::Token,
            (false, _) => Lack::Nothing,
            (true, Reason::PolicyNoneAllows) if self.errors.profile == Some(Profile::Rfc6750) => {
                Lack::Scope(self.authorization.allow.missing_scope(subject))
            }
            (true, _) => Lack::Scope(None),
        }
    }

    pub(crate) fn key_set(&self, id: KeySetId) -> Option<&KeySetSource> {
        self.key_sets.get(id.0).map(Rc::as_ref)
    }

    pub(crate) fn key_sets(&self) -> &[Rc<KeySetSource>] {
        &self.key_sets
    }
}

/// The resources that can't be placed, of a configuration in which other things are wrong.
fn misplaced(document: &Value, node: &Node) -> Vec<Mistake> {
    let found_before = Report::default();
    let input = Input::root(document, &found_before);
    let read = input.object().and_then(|object| {
        let workload = object.field::<Option<Workload>>("workload")?;
        let resources = object.field::<Vec<Readable<Resource>>>("resources")?;
        Some((Here::new(workload.as_ref(), node), resources))
    });
    let Some((here, resources)) = read else {
        return Vec::new();
    };
    let resources = resources.iter().filter_map(|readable| readable.0.as_ref());
    resources
        .filter_map(|resource| Some(resource.misplaced(resource.applies(&here).err()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trailers_that_a_server_may_make_headers_of() {
        let rule = json!({
            "issuer": "https://issuer.test",
            "jwksUri": "https://issuer.test/keys",
            "fromHeaders": [{ "name": "x-jwt" }],
            "fromCookies": ["session"],
            "outputClaimToHeaders": [{ "header": "x-sub", "claim": "sub" }],
        });
        let service = json!({
            "name": "authz",
            "envoyExtAuthzHttp": {
                "service": "authz.test",
                "port": 80,
                "headersToUpstreamOnAllow": ["x-user-*", "authorization"],
            },
        });
        let policy = json!({
            "action": "CUSTOM",
            "provider": { "name": "authz" },
            "rules": [{}],
        });
        let older = json!({
            "apiVersion": "authentication.istio.io/v1alpha1",
            "kind": "MeshPolicy",
            "metadata": { "name": "default" },
            "spec": { "origins": [{ "jwt": {
                "issuer": "https://issuer.test",
                "jwksUri": "https://issuer.test/keys",
                "jwtHeaders": ["x-older"],
            } }] },
        });
        let sent = [
            "authorization",
            "cookie",
            "grpc-status",
            "x-jwt",
            "x-jwt-2",
            "x-older",
            "x-sub",
            "x-user-id",
            "x.sub",
            "x_jwt",
            "x_sub",
            "x_sub",
            "x_user.id",
        ];
        for (configuration, expected) in [
            (
                json!({
                    "jwtRules": [rule],
                    "extensionProviders": [service],
                    "authorizationPolicies": [policy],
                }),
                &[
                    "cookie",
                    "x-jwt",
                    "x-sub",
                    "x-user-id",
                    "x.sub",
                    "x_jwt",
                    "x_sub",
                    "x_user.id",
                ][..],
            ),
            (
                json!({ "jwtRules": [{
                    "issuer": "https://issuer.test",
                    "jwksUri": "https://issuer.test/keys",
                }] }),
                &["authorization"],
            ),
            (
                json!({ "workload": { "namespace": "foo" }, "resources": [older] }),
                &["x-older"],
            ),
            (json!({ "authorizationPolicies": [] }), &[]),
        ] {
            let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default());
            let forged = policy.unwrap();
            let forged = forged.forged_trailers(sent.into_iter().rev());
            assert_eq!(forged, expected, "{configuration}");
        }
    }
}
