//! JSON Web Tokens: parsing, validation, and the proof that a token was verified.
//!
//! A [`Token`] shows nothing of what it claims. Only [`Token::verify`] makes a [`Verified`], and
//! only that has claims to read.

mod claims;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod verifier;

use std::cell::OnceCell;
use std::rc::{Rc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub(crate) use self::claims::ClaimPath;
pub use self::verifier::{Counts, Verifier};
use crate::json;
use crate::jwks::{Algorithm, KeySet};
use crate::outcome::{Change, Reason};

/// Kinds of tokens that are no bearer tokens: what a workload shows only beside a proof that it has the key,
/// and that proof (draft-ietf-wimse-workload-creds, draft-ietf-wimse-wpt).
const NEVER_BEARER: [&str; 2] = ["wit+jwt", "wpt+jwt"];

/// The longest token that is looked at, in bytes. Envoy takes 60 KiB of headers by default.
const MAX_TOKEN: usize = 64 * 1024;

/// A token in compact serialisation (RFC 7515 section 3.1) whose parts have the right form.
#[derive(Debug)]
pub(crate) struct Token {
    content: Rc<Content>,
    /// The keys that have verified it before.
    verified_with: Option<Weak<KeySet>>,
}

/// What a token says.
#[derive(Debug)]
struct Content {
    header: Header,
    claims: Map<String, Value>,
    registered: Registered,
    /// The whole, as it was sent.
    text: Vec<u8>,
    /// What is written of it, by which rule.
    outputs: OnceCell<(usize, Vec<Change>)>,
}

/// The claims that are looked at in every request.
#[derive(Debug, Default)]
struct Registered {
    issuer: Option<String>,
    subject: Option<String>,
    not_before: Option<u64>,
    expiration: Option<u64>,
}

/// What a token must say to be taken.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// `iss`, compared byte for byte; `None` takes any other, and a token without.
    pub(crate) issuer: Option<String>,
    /// Issuers that have rules of their own, where this takes any other.
    pub(crate) foreign: Vec<String>,
    /// One of these must be in `aud`; empty takes any.
    pub(crate) audiences: Vec<String>,
    /// How far the clocks may be apart, in seconds.
    pub(crate) clock_skew: u64,
    /// Whether a token must say when it ends.
    pub(crate) require_expiration: bool,
    /// How long a token may still be good for, in seconds; it must say so, then.
    pub(crate) max_lifetime: Option<u64>,
    /// What `typ` must say (RFC 8725 section 3.11). `None` takes any that may be a bearer token's.
    pub(crate) media_type: Option<String>,
}

/// A token whose signature was verified with a key of its issuer.
#[derive(Clone, Debug)]
pub(crate) struct Verified(Rc<Content>);

impl Verified {
    /// The payload as it was sent: unpadded base64url.
    pub(crate) fn payload(&self) -> &[u8] {
        let mut parts = self.0.text.split(|byte| *byte == b'.');
        parts.nth(1).unwrap_or_default()
    }

    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }

    /// The parts of Istio's `request.auth.principal`. `None` where either is missing.
    pub(crate) fn issuer_and_subject(&self) -> Option<(&str, &str)> {
        let Registered {
            issuer, subject, ..
        } = &self.0.registered;
        Some((issuer.as_deref()?, subject.as_deref()?))
    }

    /// `iss/sub`, the same in one.
    pub(crate) fn principal(&self) -> Option<String> {
        let (issuer, subject) = self.issuer_and_subject()?;
        Some(format!("{issuer}/{subject}"))
    }

    pub(crate) fn claim(&self, path: &ClaimPath) -> Option<&Value> {
        path.find(&self.0.claims)
    }

    /// What this rule writes of the token, put together at its first use.
    pub(crate) fn outputs(&self, rule: usize, write: impl Fn() -> Vec<Change>) -> Vec<Change> {
        match self.0.outputs.get_or_init(|| (rule, write())) {
            (writer, changes) if *writer == rule => changes.clone(),
            _ => write(),
        }
    }
}

impl Token {
    /// Takes a token apart.
    ///
    /// Stricter than Envoy where RFC 7515 and RFC 7519 are: canonical base64url without padding,
    /// JSON without duplicate members, three parts of which none is empty, no `crit`, `b64` only
    /// where it changes nothing.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in the order in which Envoy looks.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Reason> {
        if text.len() > MAX_TOKEN {
            return Err(Reason::TokenTooLarge);
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reason::Malformed);
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(Reason::Malformed);
        }
        let header = parse_header(header)?;
        let claims = object(payload, Reason::PayloadEncoding, Reason::PayloadSyntax)?;
        let registered = registered(&claims)?;
        decode_signature(signature)?;
        let content = Content {
            header,
            claims,
            registered,
            text: text.to_vec(),
            outputs: OnceCell::new(),
        };
        Ok(Self {
            content: Rc::new(content),
            verified_with: None,
        })
    }

    /// What is signed, and the signature over it.
    fn signed(&self) -> Result<(&[u8], Vec<u8>), Reason> {
        let (signed, signature) = split(&self.content.text).ok_or(Reason::Malformed)?;
        Ok((signed, decode_signature(signature)?))
    }

    /// Compares what the token says with what is expected, before any signature is looked at.
    ///
    /// # Errors
    ///
    /// A wrong issuer, a wrong type, a time outside of `nbf` and `exp`, a life that is too long, a
    /// wrong audience, in this order.
    pub(crate) fn validate(&self, expected: &Expected, now: u64) -> Result<(), Reason> {
        self.content.validate(expected, now)
    }

    /// Verifies the signature, unless these very keys have verified it before. The keys must be
    /// those of the issuer that was expected.
    ///
    /// # Errors
    ///
    /// No key of the set fits the token, or none of those that fit made the signature.
    pub(crate) fn verify(
        &self,
        keys: &Rc<KeySet>,
        verifier: &Verifier,
    ) -> Result<Verified, Reason> {
        // The reference keeps the place of the keys, so that no others can come to lie there.
        let same = |with: &Weak<KeySet>| Weak::as_ptr(with) == Rc::as_ptr(keys);
        if self.verified_with.as_ref().is_some_and(same) {
            return Ok(Verified(Rc::clone(&self.content)));
        }
        let header = &self.content.header;
        let mut candidates = keys
            .candidates(header.key_id.as_deref(), header.algorithm)
            .peekable();
        if candidates.peek().is_none() {
            return Err(Reason::KeyNotFound);
        }
        let (signed, signature) = self.signed()?;
        if candidates.any(|key| verifier.verifies(key, header.algorithm, signed, &signature)) {
            let verified = Verified(Rc::clone(&self.content));
            verifier.remember(&verified, keys);
            Ok(verified)
        } else {
            Err(Reason::SignatureInvalid)
        }
    }
}

impl Content {
    /// About how many bytes of memory it takes.
    fn size(&self) -> u64 {
        // Claims take several times what they take as text, and so may what is written of them.
        let signed = split(&self.text).map_or(0, |(signed, _)| signed.len());
        1024 + 3 * signed as u64 + self.text.len() as u64
    }

    fn validate(&self, expected: &Expected, now: u64) -> Result<(), Reason> {
        let claimed = self.registered.issuer.as_ref();
        let is_expected = match &expected.issuer {
            Some(issuer) => claimed == Some(issuer),
            None => !claimed.is_some_and(|issuer| expected.foreign.contains(issuer)),
        };
        if !is_expected {
            return Err(Reason::IssuerUnknown);
        }
        let bare = |name: &str| bare_media_type(name).to_ascii_lowercase();
        let is_right_type = match &expected.media_type {
            Some(wanted) => self.header.media_type.as_deref().map(bare) == Some(bare(wanted)),
            None => !self.header.is_never_bearer,
        };
        if !is_right_type {
            return Err(Reason::TypeNotAllowed);
        }
        let skew = expected.clock_skew;
        let (start, end) = (self.registered.not_before, self.registered.expiration);
        if start.is_some_and(|start| start > now.saturating_add(skew)) {
            return Err(Reason::NotYetValid);
        }
        if end.is_some_and(|end| now > end.saturating_add(skew)) {
            return Err(Reason::Expired);
        }
        match (end, expected.max_lifetime) {
            (None, _) if expected.require_expiration => return Err(Reason::ExpirationMissing),
            (None, Some(_)) => return Err(Reason::ExpirationMissing),
            (Some(end), Some(longest)) if end.saturating_sub(now) > longest => {
                return Err(Reason::LifetimeTooLong);
            }
            _ => {}
        }
        if !self.is_for(&expected.audiences) {
            return Err(Reason::AudienceNotAllowed);
        }
        Ok(())
    }

    /// Envoy compares audiences without scheme and without one trailing slash, on both sides.
    fn is_for(&self, audiences: &[String]) -> bool {
        let listed = |audience: &Value| {
            audience
                .as_str()
                .map(bare_audience)
                .is_some_and(|own| audiences.iter().any(|other| bare_audience(other) == own))
        };
        audiences.is_empty()
            || match self.claims.get("aud") {
                Some(Value::Array(list)) => list.iter().any(listed),
                Some(one) => listed(one),
                None => false,
            }
    }
}

fn bare_audience(audience: &str) -> &str {
    let bare = audience
        .strip_prefix("http://")
        .or_else(|| audience.strip_prefix("https://"))
        .unwrap_or(audience);
    bare.strip_suffix('/').unwrap_or(bare)
}

fn object(part: &[u8], encoding: Reason, syntax: Reason) -> Result<Map<String, Value>, Reason> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| encoding)?;
    match json::parse(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(syntax),
    }
}

/// What is signed, and the signature as it was sent.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = memchr::memrchr(b'.', text)?;
    let (signed, signature) = text.split_at(dot);
    Some((signed, signature.get(1..)?))
}

fn decode_signature(part: &[u8]) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Reason::SignatureEncoding)
}

/// `application/` is left out of a `typ` where it can be (RFC 7515 section 4.1.9).
fn bare_media_type(name: &str) -> &str {
    let prefix = "application/";
    match name.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) && !rest.contains('/') => rest,
        _ => name,
    }
}

#[derive(Debug)]
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
    /// `typ`, where it is a string.
    media_type: Option<String>,
    /// Whether that is one of [`NEVER_BEARER`].
    is_never_bearer: bool,
}

fn parse_header(part: &[u8]) -> Result<Header, Reason> {
    let header = object(part, Reason::HeaderEncoding, Reason::HeaderSyntax)?;
    let algorithm = match header.get("alg") {
        Some(Value::String(name)) => Algorithm::named(name).ok_or(Reason::AlgorithmUnsupported)?,
        _ => return Err(Reason::AlgorithmMissing),
    };
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
        Some(_) => return Err(Reason::KeyIdNotAString),
    };
    // RFC 7515 section 4.1.11: extensions that aren't understood must be refused; there are none
    // that are.
    if header.contains_key("crit") {
        return Err(Reason::CriticalHeader);
    }
    if header.get("b64").is_some_and(|value| *value != true) {
        return Err(Reason::UnencodedPayload);
    }
    let media_type = header.get("typ").and_then(Value::as_str);
    Ok(Header {
        algorithm,
        key_id,
        is_never_bearer: media_type.is_some_and(|name| {
            let name = bare_media_type(name);
            NEVER_BEARER
                .iter()
                .any(|own| name.eq_ignore_ascii_case(own))
        }),
        media_type: media_type.map(str::to_owned),
    })
}

/// RFC 7519 section 4.1: registered claims have the right type or the token is no token.
fn registered(claims: &Map<String, Value>) -> Result<Registered, Reason> {
    let text = |name: &str, reason| match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(reason),
    };
    let time = |name: &str, not_a_number, out_of_range| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => number
            .as_u64()
            .or_else(|| number.as_f64().and_then(whole_seconds))
            .map(Some)
            .ok_or(out_of_range),
        Some(_) => Err(not_a_number),
    };
    let issuer = text("iss", Reason::IssuerNotAString)?;
    let subject = text("sub", Reason::SubjectNotAString)?;
    time(
        "iat",
        Reason::IssuedAtNotANumber,
        Reason::IssuedAtOutOfRange,
    )?;
    let not_before = time(
        "nbf",
        Reason::NotBeforeNotANumber,
        Reason::NotBeforeOutOfRange,
    )?;
    let expiration = time(
        "exp",
        Reason::ExpirationNotANumber,
        Reason::ExpirationOutOfRange,
    )?;
    text("jti", Reason::IdNotAString)?;
    match claims.get("aud") {
        None | Some(Value::String(_)) => {}
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {}
        Some(_) => return Err(Reason::AudienceNotAString),
    }
    Ok(Registered {
        issuer: issuer.cloned(),
        subject: subject.cloned(),
        not_before,
        expiration,
    })
}

/// A NumericDate with a fraction (RFC 7519 section 2), cut to seconds.
fn whole_seconds(seconds: f64) -> Option<u64> {
    const END: f64 = 18_446_744_073_709_551_616.0; // 2^64
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked, and the fraction is to be cut"
    )]
    (0.0..END).contains(&seconds).then_some(seconds as u64)
}
