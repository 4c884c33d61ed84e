//! Kinds of documents that decide about requests: Istio's, which the plugin reads, and those of others.

/// The type of Envoy's Wasm filter.
pub(in crate::cli) const WASM: &str =
    "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// What Envoy's own filters are called that decide about requests, by name or type.
pub(super) const NATIVE: [&str; 12] = [
    "envoy.filters.http.api_key_auth",
    "envoy.filters.http.basic_auth",
    "envoy.filters.http.ext_authz",
    "envoy.filters.http.jwt_authn",
    "envoy.filters.http.oauth2",
    "envoy.filters.http.rbac",
    "filters.http.api_key_auth.v3",
    "filters.http.basic_auth.v3",
    "filters.http.ext_authz.v3",
    "filters.http.jwt_authn.v3",
    "filters.http.oauth2.v3",
    "filters.http.rbac.v3",
];

/// A file that can't be read and has one of these in it may be ours.
pub(super) const WORDS: [&str; 10] = [
    "AuthorizationPolicy",
    "MeshPolicy",
    "PeerAuthentication",
    "RequestAuthentication",
    "authentication.istio.io",
    "authorizationPolicies",
    "jwtRules",
    "jwt_rules",
    "rbac.istio.io",
    "security.istio.io",
];

/// The API of Istio that is read.
pub(super) struct Kinds;

impl Kinds {
    pub(super) const SECURITY: &str = "security.istio.io/v1";
    pub(super) const OLDER: &str = "authentication.istio.io/v1alpha1";
    /// Groups whose kinds are Istio's alone.
    pub(super) const GROUPS: [&str; 3] = [
        "authentication.istio.io",
        "rbac.istio.io",
        "security.istio.io",
    ];
    /// Kinds that nobody else's are likely to be called.
    pub(super) const KINDS: [&str; 4] = [
        "AuthorizationPolicy",
        "MeshPolicy",
        "PeerAuthentication",
        "RequestAuthentication",
    ];

    /// Those of a version of a group.
    pub(super) fn ours(version: &str) -> &'static [&'static str] {
        match version {
            "security.istio.io/v1" | "security.istio.io/v1beta1" => &[
                "AuthorizationPolicy",
                "PeerAuthentication",
                "RequestAuthentication",
            ],
            Self::OLDER => &["MeshPolicy", "Policy"],
            _ => &[],
        }
    }

    /// What to write as the `apiVersion` of a kind.
    pub(super) fn version(kind: &str) -> &'static str {
        match kind {
            "MeshPolicy" | "Policy" => Self::OLDER,
            _ => Self::SECURITY,
        }
    }
}

/// Whether a kind of somebody else decides about requests, too.
pub(super) fn decides(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "authorino.kuadrant.io" | "enterprise.gloo.solo.io" | "extauth.solo.io",
            "AuthConfig"
        ) | ("consul.hashicorp.com", "JWTProvider" | "ServiceIntentions")
            | ("gateway.envoyproxy.io", "SecurityPolicy")
            | ("gateway.kgateway.dev", "TrafficPolicy")
            | ("getambassador.io", "Filter" | "FilterPolicy")
            | ("kuadrant.io", "AuthPolicy")
            | ("kuma.io", "MeshTrafficPermission")
            | (
                "policy.linkerd.io",
                "AuthorizationPolicy"
                    | "MeshTLSAuthentication"
                    | "NetworkAuthentication"
                    | "Server"
                    | "ServerAuthorization"
            )
            | (
                "security.policy.gloo.solo.io",
                "AccessPolicy" | "ExtAuthPolicy" | "JWTPolicy"
            )
    )
}
