//! `JWTRule`: which tokens are taken, where they are found, and what becomes of them.

use std::time::Duration;

use serde_json::Value;

use super::reader::{Dialect, Input, Read, Topic, record};
use super::schema::{Schemas, a, any_of, one_of};
use super::scope::Scope;
use super::text::{HeaderName, OutputHeader, Text};
use crate::jwks::{KeySet, KeySetUri, Origin};
use crate::jwt::ClaimPath;

record! {
    /// Istio's `JWTRule` (security/v1beta1/request_authentication.proto).
    pub(crate) struct JwtRule {
        /// The `iss` that a token must have, byte for byte. Without it `jwksUri` is needed.
        /// Default: any that no other rule names, also none.
        issuer: Option<String>,
        /// One of these must be in `aud`; `http://`, `https://` and one trailing `/` don't count,
        /// as in Envoy. Default: any.
        audiences: Vec<Text>,
        /// Where the key set is fetched, `http` or `https`; not together with `jwks`. Default:
        /// found by the issuer's name, where `jwks` isn't written either.
        jwks_uri: Option<KeySetUri>,
        /// The key set itself, a string: a JWK set, PEM blocks, or PEM blocks by key ID; in the
        /// short form also an object.
        jwks: Option<InlineKeySet>,
        /// Headers with a token behind the prefix; a plain name is one without prefix. What has another
        /// spelling of the name is taken out.
        /// Default: `Authorization: Bearer` and the query parameter `access_token`, where neither
        /// `fromParams` nor `fromCookies` is written.
        from_headers: Vec<HeaderLocation>,
        /// Query parameters with a token. Default: as `fromHeaders`.
        from_params: Vec<Text>,
        /// Cookies with a token. Default: as `fromHeaders`.
        from_cookies: Vec<Text>,
        /// The header that gets the payload of the verified token, in unpadded base64url. The
        /// client's own copy never passes, whatever its spelling.
        output_payload_to_header: Option<OutputHeader>,
        /// Whether the upstream gets the token, too. Default: `false`.
        forward_original_token: bool,
        /// Headers that get claims of the verified token.
        output_claim_to_headers: Vec<ClaimToHeader>,
        /// How long to wait for an answer of the key set's server, from `1ms` to `1h`. Default:
        /// `5s`.
        timeout: Option<Duration>,
        /// Claims that policies read as lists separated by spaces, besides `scope` and
        /// `permission`.
        space_delimited_claims: Vec<Text>,
        /// Whether a request must have a token of this rule: `REQUIRED`, or `OPTIONAL`. If one rule
        /// requires its token, each token that a rule finds must verify by that rule. Default:
        /// `OPTIONAL`.
        presence: Option<Presence>,
    }
    beyond {
        /// As in `defaults`, for this rule. Default: `defaults.clockSkew`.
        clock_skew: Option<Duration>,
        /// As in `defaults`, for this rule. Default: `defaults.requireExpiration`.
        require_expiration: Option<bool>,
        /// As in `defaults`, for this rule. Default: `defaults.maxTokenLifetime`.
        max_token_lifetime: Option<Duration>,
        /// As in `defaults`, for this rule. Default: `defaults.requiredType`.
        required_type: Option<Text>,
        /// Whether bad tokens of this rule refuse nobody: such a token is taken out, and the request goes
        /// on as if it hadn't been there, which is told as a dry run is. Default: `false`.
        report_only: Option<bool>,
        /// What becomes of what stands in a place of this rule and can't be a JWT, such as an opaque
        /// token: `refuse`, or `ignore`: it stays for whoever reads it behind, and gives no identity.
        /// Default: `refuse`.
        non_jwt: Option<NonJwt>,
        /// For which requests the rule is: one of these operations must match, as in the `to` of a policy.
        /// To other requests the rule isn't there; what it writes, no client can send them either.
        /// Default: every request.
        match_: Option<Scope>,
    }
    check check_rule;
}

/// What becomes of what can't be a JWT.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum NonJwt {
    /// It is no token, and stays where it is.
    Ignore,
    #[default]
    Refuse,
}

impl Read for NonJwt {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "ignore" => Some(Self::Ignore),
            "refuse" => Some(Self::Refuse),
            _ => {
                input.mistake("unknown treatment: write `refuse` or `ignore`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["ignore", "refuse"])
    }
}

impl JwtRule {
    /// The issuer that tokens must have; protobuf can't tell an empty one from none.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref().filter(|issuer| !issuer.is_empty())
    }
}

/// Istio's `JWTRule.JWTRequirement`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Presence {
    #[default]
    Optional,
    Required,
}

impl Read for Presence {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "OPTIONAL" => Some(Self::Optional),
            "REQUIRED" => Some(Self::Required),
            _ => {
                input.mistake("unknown presence: write `OPTIONAL` or `REQUIRED`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["OPTIONAL", "REQUIRED"])
    }
}

pub(super) fn check_rule(rule: &JwtRule, input: &Input<'_>) {
    if rule.issuer().is_none() && rule.jwks_uri.is_none() {
        input.mistake("write `issuer` or `jwksUri`: without either every token would be taken");
    }
    match (&rule.jwks, &rule.jwks_uri) {
        (Some(_), Some(_)) => input.mistake("write only one of `jwks` and `jwksUri`"),
        (None, None) => check_issuer(rule.issuer(), input),
        _ => {}
    }
    if rule.jwks_uri.as_ref().is_some_and(is_metadata) {
        input.warn(
            Topic::MetadataAddress,
            "`jwksUri` looks like the address of the issuer's metadata, not of its key set: remove it, and \
             the key set is found by the issuer's name; or write what `jwks_uri` says there",
        );
    }
    warn_of_reports(rule.report_only, input);
    let sensible = Duration::from_millis(1)..=Duration::from_secs(3600);
    if rule
        .timeout
        .is_some_and(|timeout| !sensible.contains(&timeout))
    {
        input.mistake("`timeout` is out of bounds: write from \"1ms\" to \"1h\"");
    }
}

/// Rules that only report are easily forgotten.
pub(super) fn warn_of_reports(report_only: Option<bool>, input: &Input<'_>) {
    if report_only == Some(true) {
        input.warn(
            Topic::ReportOnly,
            "bad tokens of this rule refuse nobody, and are only told of: remove `reportOnly` when you \
             know what it would refuse",
        );
    }
}

/// Whether this is the address of an issuer's metadata (OpenID Connect Discovery 1.0 section 4, RFC 8414
/// section 3). Key sets may be below the former.
fn is_metadata(uri: &KeySetUri) -> bool {
    let path = uri.path().split('?').next().unwrap_or_default();
    path.ends_with("/.well-known/openid-configuration")
        || path.contains("/.well-known/oauth-authorization-server")
}

/// Looks at an issuer that has to tell by itself where its keys are.
fn check_issuer(issuer: Option<&str>, input: &Input<'_>) {
    match issuer.map(Origin::of_issuer) {
        Some(Some(origin)) => check_address(origin.uri(), input),
        Some(None) => input.warn(
            Topic::NoKeys,
            "neither `jwks` nor `jwksUri` is written, and the issuer's name doesn't tell where its \
             keys are: every token of this issuer will be refused",
        ),
        None => {}
    }
}

impl Read for KeySetUri {
    const EMPTY_IS_UNSET: bool = true;

    fn read(input: &Input<'_>) -> Option<Self> {
        let uri = Self::parse(input.text()?)
            .map_err(|error| input.mistake(error))
            .ok()?;
        check_address(&uri, input);
        Some(uri)
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

fn check_address(uri: &KeySetUri, input: &Input<'_>) {
    if uri.is_link_local() && !input.allows_link_local() {
        input.mistake(
            "no key set is fetched from link-local addresses and cloud metadata services: name \
             another host, or write `jwks.allowLinkLocal: true`",
        );
    }
}

/// A key set in the configuration.
#[derive(Debug)]
pub(crate) struct InlineKeySet(pub(crate) KeySet);

impl Read for InlineKeySet {
    const EMPTY_IS_UNSET: bool = true;

    fn read(input: &Input<'_>) -> Option<Self> {
        let parsed = match (input.value(), input.dialect()) {
            (Value::Object(_), Dialect::Short) => {
                KeySet::parse(input.value().to_string().as_bytes())
            }
            (Value::Object(_), Dialect::Istio) => {
                return input.expected_so("a string", "write the key set as JSON in a string");
            }
            _ => KeySet::parse(input.text()?.as_bytes()),
        };
        match parsed {
            Ok(keys) => {
                keys.warnings()
                    .iter()
                    .for_each(|warning| input.warn(Topic::KeyLeftOut, warning));
                Some(Self(keys))
            }
            Err(error) => {
                input.mistake(error);
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        match schemas.dialect() {
            Dialect::Istio => a("string"),
            Dialect::Short => any_of([a("string"), a("object")]),
        }
    }
}

/// Where in the header a token may stand.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct HeaderLocation {
    pub(crate) name: HeaderName,
    pub(crate) prefix: String,
}

record! {
    /// Istio's `JWTHeader`.
    pub(crate) struct JwtHeader {
        /// The header.
        name: HeaderName,
        /// What stands before the token, byte for byte; of `authorization` and `proxy-authorization` one
        /// word is a scheme, whose letters have no case.
        prefix: Option<String>,
    }
}

impl Read for HeaderLocation {
    fn read(input: &Input<'_>) -> Option<Self> {
        // Istio's reference page writes a plain string where its proto has an object.
        let header = match input.value() {
            Value::String(_) => JwtHeader {
                name: HeaderName::read(input)?,
                prefix: None,
            },
            _ => JwtHeader::read(input)?,
        };
        Some(Self {
            name: header.name,
            prefix: header.prefix.unwrap_or_default(),
        })
    }

    fn schema(schemas: &mut Schemas) -> Value {
        any_of([a("string"), JwtHeader::schema(schemas)])
    }
}

record! {
    /// Istio's `ClaimToHeader`.
    pub(crate) struct ClaimToHeader {
        /// The header to write. The client's own copy never passes.
        header: OutputHeader,
        /// The claim: `a.b` is the member `b` of the claim `a`; names with dots go in brackets,
        /// `[a.b][c]`.
        claim: ClaimPath,
    }
}

impl Read for ClaimPath {
    fn read(input: &Input<'_>) -> Option<Self> {
        let path = Self::dotted(input.text()?);
        if path.is_none() {
            input.mistake("not a claim: write `name`, `outer.inner` or `[na.me][inner]`");
        }
        path
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}
