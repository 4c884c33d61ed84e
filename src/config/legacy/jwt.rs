//! The tokens that a Policy asks for, and on which paths.

use regex_lite::{Regex, RegexBuilder};
use serde_json::Value;

use crate::config::jwt_rule::{HeaderLocation, InlineKeySet, JwtRule, check_rule};
use crate::config::reader::{Input, Read, record};
use crate::config::schema::Schemas;
use crate::config::text::{HeaderName, Text};
use crate::jwks::KeySetUri;
use crate::matcher::StringMatch;

/// A header whose tokens were wrapped in others.
const EXCHANGED: &str = "ingress-authorization";

/// How much memory an expression may take when it is compiled, in bytes: some 200 states here, and fewer
/// than 500 in Wasm, whose states are smaller. Envoy's default is a program of 100 instructions.
const MAX_REGEX: usize = 10 * 1024;

/// How long a path may be that is compared with an expression, in bytes: each of them costs a step of
/// every state.
const MAX_MATCHED: usize = 1024;

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
            presence: None,
            clock_skew: None,
            require_expiration: None,
            max_token_lifetime: None,
            required_type: None,
            report_only: None,
            non_jwt: None,
            match_: None,
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
    /// Whether the token is asked for on this path, which has no query. It is where that can't be told.
    pub(crate) fn asks_on(&self, path: &str) -> bool {
        let any = |patterns: &[PathPattern], unknown| {
            let mut patterns = patterns.iter();
            patterns.any(|own| own.matches(path).unwrap_or(unknown))
        };
        !any(&self.excluded_paths, false)
            && (self.included_paths.is_empty() || any(&self.included_paths, true))
    }
}

/// Istio's `StringMatch` of v1alpha1, compiled.
#[derive(Debug)]
pub(crate) enum PathPattern {
    Regex(Regex),
    Text {
        pattern: StringMatch,
        ignores_case: bool,
    },
}

impl PathPattern {
    /// `None` where the path is too long for an expression.
    fn matches(&self, path: &str) -> Option<bool> {
        match self {
            Self::Regex(regex) => (path.len() <= MAX_MATCHED).then(|| regex.is_match(path)),
            Self::Text {
                pattern,
                ignores_case: true,
            } => Some(pattern.matches_by(<[u8]>::eq_ignore_ascii_case, path.as_bytes())),
            Self::Text { pattern, .. } => Some(pattern.matches(path.as_bytes())),
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
        /// A regular expression for the whole path, as the crate regex-lite reads it, of limited size. On
        /// a path of more than 1024 bytes the token is asked for, whatever the expression.
        regex: Option<String>,
    }
}

impl Read for PathPattern {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = PatternFields::read(input)?;
        let ignores_case = input.ignores_path_case();
        let text = |pattern| {
            Some(Self::Text {
                pattern,
                ignores_case,
            })
        };
        match (fields.exact, fields.prefix, fields.suffix, fields.regex) {
            (Some(exact), None, None, None) => text(StringMatch::Exact(exact)),
            (None, Some(prefix), None, None) => text(StringMatch::Prefix(prefix)),
            (None, None, Some(suffix), None) => text(StringMatch::Suffix(suffix)),
            (None, None, None, Some(regex)) => whole(&regex, ignores_case)
                .map_err(|mistake| input.mistake(mistake))
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
fn whole(pattern: &str, ignores_case: bool) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| format!("not a regular expression: {error}"))?;
    let whole = format!(r"\A(?:{pattern})\z");
    let mut whole = RegexBuilder::new(&whole);
    let whole = whole.size_limit(MAX_REGEX).case_insensitive(ignores_case);
    let compiled = whole.build();
    compiled.map_err(|_| {
        "the regular expression is too large to be compared with the path of every request: repeat \
         less in it, or write `prefix` or `suffix`"
            .to_owned()
    })
}
