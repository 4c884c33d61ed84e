//! The tokens that a Policy asks for, and on which paths.

use regex_lite::Regex;
use serde_json::Value;

use crate::config::jwt_rule::{HeaderLocation, InlineKeySet, JwtRule, check_rule};
use crate::config::reader::{Input, Read, record};
use crate::config::schema::Schemas;
use crate::config::text::{HeaderName, Text};
use crate::jwks::KeySetUri;
use crate::matcher::StringMatch;

/// A header whose tokens were wrapped in others.
const EXCHANGED: &str = "ingress-authorization";

/// A token: where it is found, and on which paths it is asked for.
#[derive(Debug)]
pub(crate) struct Jwt {
    pub(crate) rule: JwtRule,
    /// Each asks for it by itself. Where there are none, it is asked for on every path.
    pub(crate) triggers: Vec<Trigger>,
}

impl Jwt {
    pub(super) fn issuer(&self) -> &str {
        self.rule.issuer().unwrap_or_default()
    }
}

record! {
    /// Istio's `Jwt` of v1alpha1.
    pub(crate) struct JwtFields {
        /// The `iss` that a token must have; only once in a policy.
        issuer: Text,
        /// As in a JWT rule.
        audiences: Vec<Text>,
        /// Where the key set is fetched. Default: as in a JWT rule.
        jwks_uri: Option<KeySetUri>,
        /// The key set itself, a string: as in a JWT rule.
        jwks: Option<InlineKeySet>,
        /// Headers that hold a token, with nothing before it. Default: as in a JWT rule.
        jwt_headers: Vec<HeaderName>,
        /// Query parameters that hold a token. Default: as in a JWT rule.
        jwt_params: Vec<Text>,
        /// The token is asked for if one of these says so: that the path is none of the excluded
        /// and, where there are any, one of the included. Default: always.
        trigger_rules: Vec<Trigger>,
    }
    check check_headers;
}

fn check_headers(jwt: &JwtFields, input: &Input<'_>) {
    if jwt.jwt_headers.iter().any(|header| header.0 == EXCHANGED) {
        input.mistake(format!(
            "tokens in `{EXCHANGED}` stand for others inside of them, which are not looked at: \
             have the client send the token itself"
        ));
    }
}

impl Read for Jwt {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = JwtFields::read(input)?;
        let headers = fields.jwt_headers.into_iter();
        let rule = JwtRule {
            issuer: Some(fields.issuer.0),
            audiences: fields.audiences,
            jwks_uri: fields.jwks_uri,
            jwks: fields.jwks,
            from_headers: headers
                .map(|name| HeaderLocation {
                    name,
                    prefix: String::new(),
                })
                .collect(),
            from_params: fields.jwt_params,
            from_cookies: Vec::new(),
            output_payload_to_header: None,
            forward_original_token: true,
            output_claim_to_headers: Vec::new(),
            timeout: None,
            space_delimited_claims: Vec::new(),
            clock_skew: None,
            require_expiration: None,
            max_token_lifetime: None,
            required_type: None,
        };
        check_rule(&rule, input);
        Some(Self {
            rule,
            triggers: fields.trigger_rules,
        })
    }

    fn schema(schemas: &mut Schemas) -> Value {
        JwtFields::schema(schemas)
    }
}

record! {
    /// When a token is asked for: on the included paths without the excluded ones.
    pub(crate) struct Trigger {
        /// Paths on which the token isn't asked for.
        excluded_paths: Vec<PathPattern>,
        /// Paths on which it is. Default: all others.
        included_paths: Vec<PathPattern>,
    }
}

impl Trigger {
    /// Whether the token is asked for on this path, which has no query.
    pub(crate) fn asks_on(&self, path: &str) -> bool {
        let any = |patterns: &[PathPattern]| patterns.iter().any(|own| own.matches(path));
        !any(&self.excluded_paths) && (self.included_paths.is_empty() || any(&self.included_paths))
    }
}

/// Istio's `StringMatch` of v1alpha1, compiled.
#[derive(Debug)]
pub(crate) enum PathPattern {
    Regex(Regex),
    Text(StringMatch),
}

impl PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(path),
            Self::Text(pattern) => pattern.matches(path.as_bytes()),
        }
    }
}

record! {
    /// Istio's `StringMatch` of v1alpha1.
    pub(crate) struct PatternFields {
        /// The whole path.
        exact: Option<String>,
        /// The start of the path.
        prefix: Option<String>,
        /// The end of the path.
        suffix: Option<String>,
        /// A regular expression for the whole path, as the crate regex-lite reads it.
        regex: Option<String>,
    }
}

impl Read for PathPattern {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = PatternFields::read(input)?;
        match (fields.exact, fields.prefix, fields.suffix, fields.regex) {
            (Some(exact), None, None, None) => Some(Self::Text(StringMatch::Exact(exact))),
            (None, Some(prefix), None, None) => Some(Self::Text(StringMatch::Prefix(prefix))),
            (None, None, Some(suffix), None) => Some(Self::Text(StringMatch::Suffix(suffix))),
            (None, None, None, Some(regex)) => whole(&regex)
                .map_err(|error| input.mistake(format!("not a regular expression: {error}")))
                .ok()
                .map(Self::Regex),
            _ => {
                input.mistake("write one of `exact`, `prefix`, `suffix` and `regex`");
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        PatternFields::schema(schemas)
    }
}

/// An expression that the whole text has to match. Alone it must be one, too: `a)(b` isn't.
fn whole(pattern: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(pattern)?;
    Regex::new(&format!(r"\A(?:{pattern})\z"))
}
