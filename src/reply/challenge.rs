//! Status and challenge of a refusal, by profile.

use super::{printable, quoted};
use crate::config::{Errors, Profile};
use crate::outcome::{Fault, Lack, Reason, Refusal};
use crate::request::Request;

/// Envoy cuts the address in a challenge to this many bytes.
const MAX_REALM: usize = 256;
/// Seconds after which it is worth to ask again if keys can't be fetched, which is tried again after 2
/// to 60, or if too many requests wait.
const RETRY_AFTER: &str = "5";
/// What a profile answers.
pub(super) struct Standard {
    pub(super) status: u16,
    pub(super) text: &'static str,
    pub(super) challenge: Option<String>,
    pub(super) retry_after: Option<&'static str>,
}

/// Whether an answer with this status can have a challenge (RFC 6750 section 3.1).
pub(super) fn fits(status: u16) -> bool {
    matches!(status, 400 | 401 | 403)
}

/// What the profile answers.
pub(super) fn standard(
    refusal: &Refusal,
    errors: &Errors,
    request: &Request,
    is_grpc: bool,
) -> Standard {
    let challenge = Challenge { errors, request };
    match errors.profile.unwrap_or_default() {
        Profile::Istio => by_istio(refusal.reason, challenge),
        Profile::Rfc6750 => by_rfc6750(refusal, challenge, is_grpc),
    }
}

fn by_istio(reason: Reason, challenge: Challenge<'_>) -> Standard {
    let is_token = reason.fault() == Fault::Token;
    // There was none that could be wrong.
    let error: &[_] = match reason {
        Reason::Missing => &[],
        _ => &[("error", "invalid_token")],
    };
    Standard {
        status: reason.status(),
        text: reason.text(),
        challenge: is_token.then(|| challenge.with(error)),
        retry_after: (reason == Reason::TooManyWaiting).then_some(RETRY_AFTER),
    }
}

/// RFC 6750 section 3.1: what was wrong is told to who sent a token, and to nobody else.
fn by_rfc6750(refusal: &Refusal, challenge: Challenge<'_>, is_grpc: bool) -> Standard {
    let reason = refusal.reason;
    let answer = |status, challenge| Standard {
        status,
        text: reason.text(),
        challenge,
        retry_after: None,
    };
    let described = |error| {
        let params = [("error", error), ("error_description", reason.text())];
        Some(challenge.with(&params))
    };
    match (reason, reason.fault(), &refusal.lack) {
        (Reason::KeysUnavailable | Reason::TooManyWaiting, ..) => Standard {
            retry_after: Some(RETRY_AFTER),
            ..answer(503, None)
        },
        // Of 400, Envoy would make an error of ours for gRPC (`INTERNAL`).
        (Reason::TooManyTokens, ..) if !is_grpc => answer(400, described("invalid_request")),
        (Reason::Missing, ..) | (_, Fault::Caller | Fault::Policy, Lack::Token) => Standard {
            text: Reason::Missing.text(),
            ..answer(401, Some(challenge.with(&[])))
        },
        (Reason::OriginFailed, ..) | (_, Fault::Token, _) => {
            answer(401, described("invalid_token"))
        }
        // No challenge helps: a peer is asked for its certificate when it connects.
        (Reason::PeerFailed, ..) => answer(403, None),
        (_, _, Lack::Scope(scope)) => {
            let scope = scope.as_deref().map(|scope| ("scope", scope));
            let params = [("error", "insufficient_scope")].into_iter().chain(scope);
            answer(403, Some(challenge.with(&params.collect::<Vec<_>>())))
        }
        _ => answer(reason.status(), None),
    }
}

/// A challenge of RFC 6750 section 3.
///
/// Its realm is the configured one, or the address of the request without the query, in which a
/// token may have stood; never `x-envoy-original-path`, which a client can write.
#[derive(Clone, Copy)]
struct Challenge<'a> {
    errors: &'a Errors,
    request: &'a Request,
}

impl Challenge<'_> {
    fn with(self, params: &[(&str, &str)]) -> String {
        let realm = match &self.errors.realm {
            Some(realm) => realm.0.clone(),
            None => address(self.request),
        };
        let mut challenge = format!("Bearer realm=\"{}\"", quoted(&realm));
        let metadata = self.errors.resource_metadata.as_ref();
        let metadata = metadata.map(|metadata| ("resource_metadata", metadata.0.as_str()));
        for (name, value) in params.iter().copied().chain(metadata) {
            challenge.push_str(&format!(", {name}=\"{}\"", quoted(value)));
        }
        challenge
    }
}

fn address(request: &Request) -> String {
    let part = |bytes: Option<&[u8]>| printable(bytes.unwrap_or_default());
    let mut address = format!(
        "{}://{}{}",
        part(request.value(":scheme")),
        part(request.value(":authority")),
        part(request.path())
    );
    address.truncate(MAX_REALM);
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6750 section 3: `error_description` has no quotes, backslashes or other letters.
    #[test]
    fn every_text_can_describe_an_error() {
        for reason in Reason::ALL {
            let is_legal = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
            assert!(reason.text().bytes().all(is_legal), "{}", reason.code());
        }
    }
}
