//! What comes of a request.

use std::fmt;

use crate::authz::RuleName;
use crate::check::Check;
use crate::jwks::KeySetId;

/// The answer of [`crate::evaluate`].
#[derive(Debug)]
pub enum Outcome {
    /// The request goes on to the upstream, changed like this.
    Forward(Changes, Told),
    /// The request is answered here.
    Refuse(Refusal, Told),
    /// This service is to be asked first; evaluate again with what comes of it.
    Ask(Check),
    /// These key sets are needed first; evaluate again when each was fetched or couldn't be.
    Await(Vec<KeySetId>),
}

/// What is told of a decision.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// In filter state.
    pub state: Vec<Property>,
    /// In the log.
    pub notes: Vec<Note>,
    /// In metrics, where an ALLOW policy let the request in: its place among those that apply.
    pub allowed_by: Option<usize>,
}

impl Told {
    pub(crate) fn of(state: Vec<Property>) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }
}

/// Something about a request that decided nothing, and is worth a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Note {
    /// This rule of an AUDIT policy matched.
    Audit(String),
    /// What the policies in dry run, or rules that only report, would have answered.
    DryRun(DryRun),
    /// The service of this name gave no answer, and lets requests pass then.
    Unchecked(String),
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audit(rule) => write!(formatter, "audit: policy={rule}"),
            Self::DryRun(DryRun::Policies { denied, rule }) => {
                let rule = rule.as_deref().unwrap_or("none");
                write!(formatter, "dry run: {} policy={rule}", answer(*denied))
            }
            Self::DryRun(DryRun::Token { issuer, reason }) => {
                let (code, issuer) = (reason.code(), issuer.as_deref().unwrap_or("any"));
                write!(formatter, "dry run: denied reason={code} issuer={issuer}")
            }
            Self::Unchecked(name) => {
                write!(
                    formatter,
                    "unchecked: `{name}` doesn't answer, and fails open"
                )
            }
        }
    }
}

/// What would have been answered, did it count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DryRun {
    /// By the policies in dry run, were they the only ones.
    Policies {
        /// Whether the request would have been refused.
        denied: bool,
        /// By which rule, where one decided.
        rule: Option<String>,
    },
    /// By a rule that only reports: it would have refused the request.
    Token {
        /// The issuer of the rule; any where `None`.
        issuer: Option<String>,
        /// For what.
        reason: Reason,
    },
}

impl From<Result<Option<RuleName<'_>>, Refusal>> for DryRun {
    fn from(answer: Result<Option<RuleName<'_>>, Refusal>) -> Self {
        Self::Policies {
            denied: answer.is_err(),
            rule: match answer {
                Ok(rule) => rule.map(|rule| rule.to_string()),
                Err(refusal) => refusal.policy,
            },
        }
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policies { denied, rule } => {
                formatter.write_str(answer(*denied))?;
                rule.iter()
                    .try_for_each(|rule| write!(formatter, " {rule}"))
            }
            Self::Token { reason, .. } => write!(formatter, "denied {}", reason.code()),
        }
    }
}

fn answer(denied: bool) -> &'static str {
    match denied {
        true => "denied",
        false => "allowed",
    }
}

/// What is told of a request in filter state: there, `wasm.` stands before the name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Property {
    /// `portcullis.reason` and the like.
    pub name: &'static str,
    /// As it stands in an access log.
    pub value: String,
}

/// A change of the request's header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A line behind those that are there.
    Append(String, Vec<u8>),
    /// No line with this name.
    Remove(String),
    /// A line of the answer that the client gets from the upstream.
    Respond(String, Vec<u8>),
    /// One line with this name, instead of all that are there.
    Set(String, Vec<u8>),
    /// No line, where one belongs that those behind us couldn't read: worth a word in the log.
    Withhold(String),
}

/// Changes of the request's header, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes(pub(crate) Vec<Change>);

impl Changes {
    /// The changes, in the order in which they are made.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }

    /// These changes, and then others.
    pub(crate) fn then(mut self, others: Self) -> Self {
        if self.0.is_empty() {
            return others;
        }
        self.0.extend(others.0);
        self
    }
}

/// Why a request was refused, and by what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The policy rule that decided, in Istio's form: `ns[foo]-policy[name]-rule[0]`.
    pub policy: Option<String>,
    /// How the answer looks, where a service that was asked says that.
    pub denial: Option<Box<Denial>>,
    /// What would have helped.
    pub lack: Lack,
}

/// What a request lacks, as far as tokens could help.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Lack {
    /// Nothing that is known.
    #[default]
    Nothing,
    /// Its token is good, but not enough: it needs these scopes, where that is known.
    Scope(Option<String>),
    /// It has no token, where tokens are looked for.
    Token,
}

/// The answer that a service has for a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            policy: None,
            denial: None,
            lack: Lack::Nothing,
        }
    }
}

/// Who is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The request or its connection doesn't tell who it is.
    Caller,
    /// A service that was asked doesn't let the request pass.
    Check,
    /// The request isn't allowed.
    Policy,
    /// We can't tell.
    Proxy,
    /// The request can't be read in one way only.
    Request,
    /// The token, or what is known of its issuer's keys.
    Token,
}

macro_rules! reasons {
    ($( $name:ident = $fault:ident $status:literal $code:literal $text:literal, )*) => {
        /// Every reason for which a request can be refused.
        ///
        /// Texts are Envoy's where Envoy has one (its `jwt_authn` status strings and the body of
        /// `rbac`), because that is what Istio's users see today.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason {
            $( #[doc = concat!("`", $code, "`, ", $status, ": ", $text)] $name, )*
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// The stable name, for logs and metrics.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $( Self::$name => $code, )* }
            }

            /// Who is wrong.
            #[must_use]
            pub fn fault(self) -> Fault {
                match self { $( Self::$name => Fault::$fault, )* }
            }

            /// The HTTP status of the answer.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $( Self::$name => $status, )* }
            }

            /// The body of the answer.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

reasons! {
    AlgorithmMissing = Token 401 "jwt_algorithm_missing" "Jwt header [alg] field is required and must be a string",
    AlgorithmUnsupported = Token 401 "jwt_algorithm_unsupported" "Jwt header [alg] is not supported",
    AudienceNotAString = Token 401 "jwt_audience_type" "Jwt payload [aud] field is not a string or string list",
    AudienceNotAllowed = Token 403 "jwt_audience_not_allowed" "Audiences in Jwt are not allowed",
    CheckDenied = Check 403 "check_denied" "",
    CheckFailed = Check 403 "check_failed" "",
    CheckOverloaded = Check 403 "check_overloaded" "",
    CheckUnreadable = Check 403 "check_unreadable" "",
    CheckUnsendable = Check 403 "check_unsendable" "",
    CriticalHeader = Token 401 "jwt_critical_header" "Jwt header [crit] is not supported",
    ExpirationMissing = Token 401 "jwt_exp_missing" "Jwt payload [exp] field is required",
    ExpirationNotANumber = Token 401 "jwt_exp_type" "Jwt payload [exp] field is not an integer",
    ExpirationOutOfRange = Token 401 "jwt_exp_range" "Jwt payload [exp] field is not a positive 64 bit integer",
    Expired = Token 401 "jwt_expired" "Jwt is expired",
    HeaderEncoding = Token 401 "jwt_header_encoding" "Jwt header is an invalid Base64url encoded",
    HeaderSyntax = Token 401 "jwt_header_syntax" "Jwt header is an invalid JSON",
    IdNotAString = Token 401 "jwt_jti_type" "Jwt payload [jti] field is not a string",
    IssuedAtNotANumber = Token 401 "jwt_iat_type" "Jwt payload [iat] field is not an integer",
    IssuedAtOutOfRange = Token 401 "jwt_iat_range" "Jwt payload [iat] field is not a positive 64 bit integer",
    IssuerNotAString = Token 401 "jwt_iss_type" "Jwt payload [iss] field is not a string",
    IssuerUnknown = Token 401 "jwt_issuer_unknown" "Jwt issuer is not configured",
    KeyIdNotAString = Token 401 "jwt_kid_type" "Jwt header [kid] field is not a string",
    KeyNotFound = Token 401 "jwt_key_not_found" "Jwks doesn't have key to match kid or alg from Jwt",
    KeysUnavailable = Token 401 "jwks_unavailable" "Jwks remote fetch is failed",
    LifetimeTooLong = Token 401 "jwt_lifetime" "Jwt lives too long",
    Malformed = Token 401 "jwt_malformed" "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
    Missing = Token 401 "jwt_missing" "Jwt is missing",
    MtlsRequired = Policy 403 "mtls_required" "RBAC: access denied",
    NotBeforeNotANumber = Token 401 "jwt_nbf_type" "Jwt payload [nbf] field is not an integer",
    NotBeforeOutOfRange = Token 401 "jwt_nbf_range" "Jwt payload [nbf] field is not a positive 64 bit integer",
    NotYetValid = Token 401 "jwt_not_yet_valid" "Jwt not yet valid",
    OriginFailed = Caller 401 "origin_authentication_failed" "Origin authentication failed.",
    PayloadEncoding = Token 401 "jwt_payload_encoding" "Jwt payload is an invalid Base64url encoded",
    PayloadSyntax = Token 401 "jwt_payload_syntax" "Jwt payload is an invalid JSON",
    PathAmbiguous = Request 400 "path_ambiguous" "Path is ambiguous",
    PathInvalid = Request 400 "path_invalid" "Path is invalid",
    PeerFailed = Caller 401 "peer_authentication_failed" "Peer authentication failed.",
    PolicyDenied = Policy 403 "policy_denied" "RBAC: access denied",
    PolicyNoneAllows = Policy 403 "policy_none_allows" "RBAC: access denied",
    ProxyUnconfigured = Proxy 503 "proxy_unconfigured" "Portcullis has no valid configuration",
    ProxyUnreadable = Proxy 503 "proxy_unreadable" "Portcullis could not read the request",
    RequestAmbiguous = Request 400 "request_ambiguous" "Request is ambiguous",
    SignatureEncoding = Token 401 "jwt_signature_encoding" "Jwt signature is an invalid Base64url encoded",
    SignatureInvalid = Token 401 "jwt_signature_invalid" "Jwt verification fails",
    SubjectNotAString = Token 401 "jwt_sub_type" "Jwt payload [sub] field is not a string",
    TokenTooLarge = Token 401 "jwt_too_large" "Jwt is too large",
    TooManyWaiting = Proxy 503 "too_many_waiting" "Too many requests wait",
    TooManyTokens = Token 401 "jwt_too_many" "Request has too many Jwts",
    TypeNotAllowed = Token 401 "jwt_type" "Jwt header [typ] is not allowed",
    UnencodedPayload = Token 401 "jwt_unencoded_payload" "Jwt header [b64] is not supported",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_snake_case() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        for code in &codes {
            assert!(
                code.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                "{code}"
            );
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
