//! What a user may write: one JSON object. The doc comment of a field is its reference.

mod amendment;
pub(crate) mod authorization;
mod comparison;
mod document;
mod errors;
pub(crate) mod jwt_rule;
pub(crate) mod legacy;
pub(crate) mod number;
pub(crate) mod peer_authentication;
pub(crate) mod place;
pub(crate) mod port;
pub(crate) mod provider;
pub(crate) mod reader;
pub(crate) mod schema;
pub(crate) mod scope;
pub(crate) mod text;
mod verification;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

pub(crate) use self::amendment::Amendment;
pub(crate) use self::authorization::AuthorizationRules;
use self::authorization::Provider;
pub(crate) use self::document::parse;
pub(crate) use self::errors::{Errors, Format, Override, Profile};
pub(crate) use self::jwt_rule::JwtRule;
use self::number::AtLeastOne;
use self::port::PortNumber;
use self::provider::ExtensionProvider;
use self::reader::{Input, Read, record};
use self::schema::{Schemas, one_of};
use self::text::{Name, OutputHeader, Text};
pub(crate) use self::verification::{TokenCache, Verification};
use crate::filter_state::Entry;
use crate::istio::Resource;
use crate::jwks::{ClusterMap, Fetching};
use crate::path::{Ambiguous, Normalization};

record! {
    /// The plugin configuration.
    pub(crate) struct Config {
        /// Istio resources verbatim: `RequestAuthentication`, `AuthorizationPolicy` and
        /// `PeerAuthentication` of `security.istio.io/v1` or `v1beta1`, `Policy` and `MeshPolicy`
        /// of `authentication.istio.io/v1alpha1`. Those for another workload have no effect.
        /// Inside, camelCase and snake_case are both taken, as in Istio. Of `metadata` count
        /// `name`, `namespace`, `creationTimestamp` and the annotation `istio.io/dry-run`; what
        /// else stands there, and `status`, is ignored; `spec` is strict.
        resources: Option<Vec<Resource>>,
        /// Short form: one `RequestAuthentication` that applies here.
        jwt_rules: Option<Vec<JwtRule>>,
        /// What Istio's form can't say of RequestAuthentications in `resources`, by their names.
        request_authentications: Vec<Amendment>,
        /// Short form: `AuthorizationPolicy` resources that apply here.
        authorization_policies: Option<Vec<NamedPolicy>>,
        /// Services that are asked about requests, for policies with the action CUSTOM, as in
        /// Istio's mesh configuration.
        extension_providers: Vec<ExtensionProvider>,
        /// Which of the tokens that a request presents must verify: `any`, those of one rule, or
        /// `all`, each one. Default: `any`, as in Istio.
        tokens: Option<Tokens>,
        /// How paths are normalised before anything looks at them, by Istio's names. Default:
        /// `BASE`, as in Istio.
        path_normalization: Option<Normalization>,
        /// What becomes of a path that others may read in another way: `allow`, or `reject`, with
        /// 400. Default: `allow`.
        ambiguous_paths: Option<Ambiguous>,
        /// Whether policies look at CORS preflights, which carry no token: `authorize`, or `allow`:
        /// no policy does, whatever its action, and they pass. Default: `authorize`, as in Istio.
        cors_preflights: Option<Preflights>,
        /// Who we are, for selectors. Default: what Envoy's node metadata tell.
        workload: Option<Workload>,
        /// How key sets are fetched.
        jwks: Option<Jwks>,
        /// What Istio's rules can't say, for all of them.
        defaults: Option<Defaults>,
        /// Who verifies RS256, RS384, RS512, ES256, ES384 and ES512 signatures: `auto`, the host
        /// for those of which it proves at load that it can (Envoy's `verify_signature`), and the
        /// plugin else; `host`, the same, and a host that can't is a mistake; `wasm`, the plugin.
        /// It verifies the other algorithms always. Default: `auto`.
        verification: Option<Verification>,
        /// How many verified tokens each worker remembers.
        token_cache: Option<TokenCache>,
        /// How many requests may wait on each worker, for keys or the answer of a service, from 1 on.
        /// Further ones are refused with 503. Default: 10000.
        max_waiting_requests: Option<AtLeastOne>,
        /// Claims for the filters and routes behind us.
        dynamic_metadata: Option<DynamicMetadata>,
        /// What is written to filter state. Each costs a host call.
        filter_state: Vec<Entry>,
        /// How refusals look. Default: as in Istio.
        errors: Option<Errors>,
    }
    unread {
        /// Whether policies compare hosts without their ports. Default: `false`, as in Istio.
        ignore_host_port: bool,
        /// Whether policies compare paths without the case of ASCII letters, for upstreams that do.
        /// Default: `false`, as in Istio.
        ignore_path_case: bool,
    }
    check check_config;
}

fn check_config(config: &Config, input: &Input<'_>) {
    let mut names = BTreeSet::new();
    for ExtensionProvider { name, .. } in &config.extension_providers {
        if !names.insert(name.0.as_str()) {
            input.mistake(format!(
                "two of `extensionProviders` are called `{}`: give each a name of its own",
                name.0
            ));
        }
    }
    let nothing = config.resources.is_none()
        && config.jwt_rules.is_none()
        && config.authorization_policies.is_none();
    if nothing {
        input.mistake(
            "nothing to do: write at least one of `resources`, `jwtRules`, `authorizationPolicies`",
        );
    }
}

/// Which of the tokens that a request presents must verify.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Tokens {
    /// Each one, by a rule that looks for tokens where it stands.
    All,
    /// All those of one rule; the others don't reach the upstream.
    #[default]
    Any,
}

impl Read for Tokens {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "all" => Some(Self::All),
            "any" => Some(Self::Any),
            _ => {
                input.mistake("unknown demand: write `any` or `all`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["all", "any"])
    }
}

/// Whether policies look at CORS preflights.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Preflights {
    /// No policy does, whatever its action.
    Allow,
    #[default]
    Authorize,
}

impl Read for Preflights {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "allow" => Some(Self::Allow),
            "authorize" => Some(Self::Authorize),
            _ => {
                input.mistake("unknown treatment: write `authorize` or `allow`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["allow", "authorize"])
    }
}

record! {
    /// An `AuthorizationPolicy` in short form.
    pub(crate) struct NamedPolicy {
        /// What the policy is called in logs and refusals. Default: its place in the list.
        name: Option<Name>,
        /// What a matching policy does. Default: `ALLOW`.
        action: Option<authorization::Action>,
        /// Who is asked, where the action is `CUSTOM`.
        provider: Option<Provider>,
        /// Whether the policy only tells what it would do. Default: `false`.
        dry_run: bool,
        /// A request matches the policy if it matches one of the rules.
        rules: Vec<AuthorizationRules>,
    }
    check check_policy;
}

fn check_policy(policy: &NamedPolicy, input: &Input<'_>) {
    let action = policy.action.unwrap_or_default();
    authorization::check_action(action, policy.provider.as_ref(), &policy.rules, input);
    if policy.dry_run {
        authorization::check_dry_run(action, input);
    }
}

record! {
    /// Who we are.
    pub(crate) struct Workload {
        /// The name of the workload, for the log.
        name: Option<Name>,
        /// The namespace that we run in; also that of resources without one. Default: node metadata
        /// (`NAMESPACE`).
        namespace: Option<Name>,
        /// Our labels, for selectors. Default: node metadata (`LABELS`).
        labels: Option<BTreeMap<String, String>>,
        /// The name of the Gateway that we serve, for `targetRefs`. Default: the label
        /// `gateway.networking.k8s.io/gateway-name`.
        gateway: Option<Text>,
        /// The class of that Gateway, for `targetRefs`. Default: the label
        /// `gateway.networking.k8s.io/gateway-class-name`; `istio-waypoint` for a waypoint.
        gateway_class: Option<Text>,
        /// The name of our Service, for `targets` of older policies; for a waypoint, of the Service
        /// or ServiceEntry, in our namespace, that stands behind us.
        service_name: Option<Text>,
        /// The ports of our Service, for `targets` with ports.
        ports: Vec<ServicePort>,
        /// Whether we are a waypoint, which takes only resources with `targetRefs`. Default:
        /// `false`.
        waypoint: bool,
        /// The namespace whose resources apply everywhere. Default: `istio-system`.
        root_namespace: Option<Text>,
        /// The trust domain of our mesh; `cluster.local` in a policy means it, too. Default: node
        /// metadata (`TRUST_DOMAIN`), then `cluster.local`.
        trust_domain: Option<Text>,
        /// Other names of our trust domain: `principals` of one name are those of each.
        trust_domain_aliases: Vec<Text>,
        /// Whether the listener takes client certificates that it can't validate: it has
        /// `trust_chain_verification: ACCEPT_UNTRUSTED`, or no `trusted_ca`. A certificate that Envoy
        /// doesn't confirm then is unknown: it satisfies no ALLOW, every DENY, and no STRICT. Envoy
        /// confirms from 1.39 on, and no resumed TLS session. Default: `false`: what is presented is
        /// valid, as in Istio.
        untrusted_certificates: bool,
    }
}

record! {
    /// A port of our Service, as Kubernetes writes it.
    #[derive(Clone)]
    pub(crate) struct ServicePort {
        /// The port's name.
        name: Option<Text>,
        /// The port of the Service.
        number: PortNumber,
        /// The port on which requests for it arrive here. Default: `number`.
        target_port: Option<PortNumber>,
    }
}

record! {
    /// How key sets are fetched.
    pub(crate) struct Jwks {
        /// The Envoy cluster for every host that `clusters` doesn't name. Default:
        /// `outbound|PORT||HOST`, the name that Istio gives it.
        cluster: Option<Name>,
        /// Which cluster leads to which host.
        clusters: Vec<HostCluster>,
        /// How old keys may become before they are fetched again; at least `1s`. A shorter
        /// `max-age` of the answer's `cache-control` is respected; `no-cache` and `no-store` without
        /// one are no hint. Default: `5m`.
        cache_duration: Option<Duration>,
        /// How old keys become at least, whatever `cache-control` says; at least `1s`. Default:
        /// `30s`, or `cacheDuration` where that is less.
        min_cache_duration: Option<Duration>,
        /// How long keys serve beyond `cacheDuration` while fresh ones can't be had; `0s`: not at
        /// all. Default: `24h`.
        stale_if_error: Option<Duration>,
        /// A token whose key isn't in the set causes an early fetch, for which it waits; this is
        /// how long after such a fetch the next one may start; at least `1s`. Default: `30s`.
        refetch_interval: Option<Duration>,
        /// Whether key sets may be at link-local addresses and cloud metadata services
        /// (`169.254.0.0/16`, `fe80::/10`, `metadata.google.internal` and the like). Default:
        /// `false`.
        allow_link_local: bool,
        /// Whether workers share what is fetched, through Envoy's shared data; where the plugin's
        /// `vm_id` is empty, every module without one can write there. Default: where `vm_id` is
        /// set.
        shared: Option<bool>,
    }
    check jwks_durations;
}

fn jwks_durations(jwks: &Jwks, input: &Input<'_>) {
    for (name, duration) in [
        ("cacheDuration", jwks.cache_duration),
        ("minCacheDuration", jwks.min_cache_duration),
        ("refetchInterval", jwks.refetch_interval),
    ] {
        if duration.is_some_and(|duration| duration < Duration::from_secs(1)) {
            input.mistake(format!("`{name}` is too short: write at least \"1s\""));
        }
    }
    let longest = jwks.cache_duration.unwrap_or(Jwks::CACHE_DURATION);
    if jwks
        .min_cache_duration
        .is_some_and(|shortest| shortest > longest)
    {
        input.mistake("`minCacheDuration` is longer than `cacheDuration`: write a shorter one");
    }
}

impl Jwks {
    /// How long Istio's proxies keep a fetched key set.
    pub(crate) const CACHE_DURATION: Duration = Duration::from_secs(300);
    const MIN_CACHE_DURATION: Duration = Duration::from_secs(30);
    const REFETCH_INTERVAL: Duration = Duration::from_secs(30);
    const STALE_IF_ERROR: Duration = Duration::from_secs(24 * 3600);

    /// What is written, and the defaults of what isn't.
    pub(crate) fn fetching(jwks: Option<&Self>) -> Fetching {
        let or =
            |field: fn(&Self) -> Option<Duration>, default| jwks.and_then(field).unwrap_or(default);
        let hosts = jwks.into_iter().flat_map(|jwks| &jwks.clusters);
        Fetching {
            clusters: ClusterMap {
                default: jwks.and_then(|jwks| text::text(&jwks.cluster)),
                hosts: hosts
                    .map(|entry| (entry.host.0.clone(), entry.cluster.0.clone()))
                    .collect(),
            },
            cache_duration: or(|jwks| jwks.cache_duration, Self::CACHE_DURATION),
            min_cache_duration: or(|jwks| jwks.min_cache_duration, Self::MIN_CACHE_DURATION),
            stale_if_error: or(|jwks| jwks.stale_if_error, Self::STALE_IF_ERROR),
            refetch_interval: or(|jwks| jwks.refetch_interval, Self::REFETCH_INTERVAL),
            allow_link_local: jwks.is_some_and(|jwks| jwks.allow_link_local),
        }
    }
}

record! {
    /// The cluster of a key-set host.
    pub(crate) struct HostCluster {
        /// The host of a `jwksUri`, with or without a port.
        host: Text,
        /// The name of an Envoy cluster.
        cluster: Name,
    }
}

record! {
    /// What Istio's rules can't say.
    pub(crate) struct Defaults {
        /// How far the clocks of issuer and proxy may be apart; `0s` takes a token at its word.
        /// Default: `60s`, as in Envoy; `0s` where an older policy decides.
        clock_skew: Option<Duration>,
        /// Whether a token without `exp` is refused. Default: `false`, as in Envoy.
        require_expiration: Option<bool>,
        /// How long a token may still be good for when it is presented; it must have an `exp`,
        /// then. Default: any.
        max_token_lifetime: Option<Duration>,
        /// What a token's `typ` must say, such as `at+jwt` (RFC 9068), so that no other kind of
        /// token passes; case and `application/` don't count. Default: any but those of tokens that are no
        /// bearer tokens, `wit+jwt` and `wpt+jwt`.
        required_type: Option<Text>,
    }
}

record! {
    /// Claims for the filters and routes behind us.
    pub(crate) struct DynamicMetadata {
        /// The header that gets the claims of the verified token: a serialised
        /// `google.protobuf.Value` in base64, for Envoy's `header_to_metadata`. The client's own
        /// copy never passes; no rule may write the same header.
        header: OutputHeader,
    }
}
