//! Principals of tokens and of peers, which are easily taken for one another, and issuers that no rule has.

use super::Advice;
use super::pattern::Value;
use super::spelling::are_near;
use crate::cli::codes::Code;
use crate::matcher::StringMatch;

/// What of a file somebody has to fill in first.
const TEMPLATES: [&str; 3] = ["{{", "${", "<"];

/// The same without slashes at the end.
fn bare(issuer: &str) -> &str {
    issuer.trim_end_matches('/')
}

/// What a pattern for `issuer/subject` asks of the issuer, and what of the subject, as `PrincipalMatch` cuts it.
/// `None` if any issuer will do.
fn cut(pattern: &str) -> Option<(StringMatch, &str, &str)> {
    let exact = |text: &str| StringMatch::Exact(text.to_owned());
    match pattern.rsplit_once('/') {
        _ if pattern == "*" => None,
        Some((issuer, subject)) if pattern.starts_with('*') => {
            Some((StringMatch::text(issuer), issuer, subject))
        }
        None if pattern.starts_with('*') => None,
        Some((issuer, subject)) => Some((exact(issuer), issuer, subject)),
        None => Some((StringMatch::text(pattern), pattern, "*")),
    }
}

/// Whether a principal of a peer is written so: `cluster.local/ns/NAMESPACE/sa/ACCOUNT`.
fn is_of_peer(text: &str) -> bool {
    let mut parts = text.split('/');
    let domain = parts.next().unwrap_or_default();
    !domain.is_empty() && !domain.contains([':', '*']) && parts.next() == Some("ns")
}

impl Advice {
    /// Whether a rule takes tokens of an issuer like this.
    fn takes(&self, issuer: &StringMatch) -> bool {
        let mut known = self.issuers.iter();
        known.any(|known| {
            let known = known.as_deref();
            known.is_none_or(|own| issuer.matches(own.as_bytes()))
        })
    }

    /// The issuer of a rule of which this is true.
    fn issuer_that(&self, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        let mut known = self.issuers.iter().flatten().map(String::as_str);
        known.find(|issuer| is_it(issuer))
    }

    /// A value of `requestPrincipals`. An older Policy may bind that to the peer.
    pub(super) fn request_principal(&mut self, value: &Value<'_>) {
        let text = value.text;
        let Some((issuer, name, subject)) = cut(text) else {
            return;
        };
        let is_taken = self.takes(&issuer);
        if self.is_older || is_taken && text.contains('/') {
            return;
        }
        let is_exact = !text.contains('*');
        // The host of an address is no subject.
        let is_address = text
            .split_once("://")
            .is_some_and(|(_, rest)| !rest.contains('/'));
        let alone = self.issuer_that(|own| bare(own) == bare(text));
        let why = if is_exact && (alone.is_some() || is_address || !text.contains('/')) {
            let instead = match alone.or(is_address.then_some(text)) {
                Some(issuer) => format!("write `{issuer}/*`"),
                None => "write `issuer/subject`, or `issuer/*`".to_owned(),
            };
            format!("a principal is an issuer and a subject; {instead}")
        } else if is_of_peer(text) {
            "this is the principal of a peer, and no token has such a one; write it in `principals`, or as \
             `source.principal`"
                .to_owned()
        } else if let Some(own) = self.issuer_that(|own| bare(own) == bare(name)) {
            format!(
                "the issuer of the JWT rule is `{own}`, but here it is `{name}`: the last `/` separates issuer and \
                 subject; write `{own}/{subject}`"
            )
        } else {
            return self.issuer(value, &issuer, name);
        };
        self.never(value, why);
    }

    /// A value of the claim `iss`.
    pub(super) fn issuer_claim(&mut self, value: &Value<'_>) {
        let pattern = StringMatch::text(value.text);
        if self.is_older || self.takes(&pattern) {
            return;
        }
        match self.issuer_that(|own| bare(own) == bare(value.text)) {
            Some(own) => {
                let why = format!("the issuer of the JWT rule is `{own}`; write `{own}`");
                self.never(value, why);
            }
            None => self.issuer(value, &pattern, value.text),
        }
    }

    /// What the tokens of no rule can say.
    fn issuer(&mut self, value: &Value<'_>, pattern: &StringMatch, name: &str) {
        if self.is_whole && !self.is_older && !self.takes(pattern) {
            let near = self.issuer_that(|own| are_near(own, name));
            let is_start = |own: &str| {
                let rest = name.strip_prefix(own);
                rest.is_some_and(|rest| rest.starts_with('/'))
            };
            let help = match near {
                Some(near) => format!("; do you mean `{near}`?"),
                None if self.issuer_that(is_start).is_some() => {
                    "; the subject begins behind the last `/`: ask for one with a `/` by `request.auth.claims[sub]`"
                        .to_owned()
                }
                None => String::new(),
            };
            let why = format!("no JWT rule takes tokens of `{name}`{help}");
            self.never(value, why);
        }
    }

    /// A value of `principals`, which are SPIFFE IDs without `spiffe://`.
    pub(super) fn peer(&mut self, value: &Value<'_>, name: &str) {
        let text = value.text;
        if let Some(instead) = text.strip_prefix("spiffe://") {
            let why = format!("principals have no scheme; write `{instead}`");
            return self.never(value, why);
        }
        let domain = text.split('/').next().unwrap_or_default();
        let is_of_rule = |own: &str| {
            let rest = text.strip_prefix(bare(own));
            rest.is_some_and(|rest| rest.starts_with('/')) && !is_of_peer(text)
        };
        let is_template = TEMPLATES.iter().any(|template| text.contains(template));
        // A trust domain has letters, digits, `.`, `-` and `_`.
        let is_of_token = domain.contains([':', '@']) && !is_template && !text.starts_with('*');
        if is_of_token || self.issuer_that(is_of_rule).is_some() {
            let instead = match name {
                "principals" => "requestPrincipals",
                _ => "request.auth.principal",
            };
            self.never(
                value,
                format!(
                    "no peer has such a principal: it is like `cluster.local/ns/NAMESPACE/sa/ACCOUNT`; for the \
                     issuer and the subject of a token write `{instead}`"
                ),
            );
        }
    }

    /// A value of the claim `aud`. A token may be for others beside those that a rule names.
    pub(super) fn audience(&mut self, value: &Value<'_>) {
        let audiences = &self.audiences;
        if value.is_negative || audiences.is_empty() || self.takes_any_audience || self.is_older {
            return;
        }
        let pattern = StringMatch::text(value.text);
        let is_known = |own: &String| {
            pattern.matches(own.as_bytes()) || without_scheme(own) == without_scheme(value.text)
        };
        let near = audiences.iter().find(|own| are_near(own, value.text));
        if audiences.iter().any(is_known) || !self.is_whole && near.is_none() {
            return;
        }
        let help = match near {
            Some(near) => format!("do you mean `{near}`?"),
            None => "write it there, too, if it is meant for this service".to_owned(),
        };
        let text = format!(
            "no JWT rule has `{}` in its `audiences`: a token for it alone is refused; {help}",
            value.text
        );
        let code = Code::UnknownAudience;
        self.found(value.source, code, value.node.span.clone(), text);
    }
}

/// Audiences are compared in this form with those of a rule, as Envoy does.
fn without_scheme(audience: &str) -> &str {
    let scheme = audience.strip_prefix("http://");
    let bare = scheme.or_else(|| audience.strip_prefix("https://"));
    let bare = bare.unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}
