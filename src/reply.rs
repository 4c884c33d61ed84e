//! How a refusal looks to the client: as Istio's proxies answer, without what they leak.

use crate::outcome::{Fault, Reason, Refusal};
use crate::policy::Policy;
use crate::request::Request;

/// Envoy cuts the address in a challenge to this many bytes.
const MAX_REALM: usize = 256;

/// An answer to the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The HTTP status. For gRPC requests Envoy makes a trailers-only answer of it by itself.
    pub status: u16,
    /// Header lines besides those that Envoy adds.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body: plain text, or what a service that was asked says.
    pub body: Vec<u8>,
    /// Envoy's response code details, for its access log.
    pub details: String,
}

/// The answer for a refusal.
///
/// A token that was refused gets the challenge of RFC 6750 section 3. Its realm is the configured
/// one, or the address of the request without the query, in which a token may have stood; never
/// `x-envoy-original-path`, which a client can write.
#[must_use]
pub fn reply(refusal: &Refusal, policy: Option<&Policy>, request: &Request) -> Reply {
    let mut reply = answer(refusal, policy, request);
    if let Some(name) = policy.and_then(|policy| policy.reason_header.as_ref()) {
        // A service that was asked may have written it, too.
        reply.headers.retain(|(header, _)| header != name);
        reply
            .headers
            .push((name.clone(), why(refusal).into_bytes()));
    }
    reply
}

/// The reason and the policy, as an item with a parameter (RFC 9651 section 3.3).
fn why(refusal: &Refusal) -> String {
    let code = refusal.reason.code();
    match &refusal.policy {
        Some(policy) => format!(
            "{code}; policy=\"{}\"",
            quoted(&printable(policy.as_bytes()))
        ),
        None => code.to_owned(),
    }
}

fn answer(refusal: &Refusal, policy: Option<&Policy>, request: &Request) -> Reply {
    let reason = refusal.reason;
    if let Some(denial) = &refusal.denial {
        return Reply {
            status: denial.status,
            headers: denial.headers.clone(),
            body: denial.body.clone(),
            details: details(refusal),
        };
    }
    let mut headers = Vec::new();
    if reason.fault() == Fault::Token {
        let configured = policy.and_then(|policy| policy.realm.as_deref());
        let realm = configured.map_or_else(|| address(request), str::to_owned);
        headers.push((
            "www-authenticate".to_owned(),
            format!(
                "Bearer realm=\"{}\", error=\"invalid_token\"",
                quoted(&realm)
            )
            .into_bytes(),
        ));
    }
    Reply {
        status: reason.status(),
        headers,
        body: reason.text().into(),
        details: details(refusal),
    }
}

/// Envoy's own details where Envoy refuses for the same reason.
fn details(refusal: &Refusal) -> String {
    let reason = refusal.reason;
    match reason.fault() {
        Fault::Caller => "istio_authn_access_denied".to_owned(),
        Fault::Check => match reason {
            Reason::CheckDenied => "ext_authz_denied".to_owned(),
            _ => "ext_authz_error".to_owned(),
        },
        Fault::Policy => format!(
            "rbac_access_denied_matched_policy[{}]",
            refusal.policy.as_deref().unwrap_or("none")
        ),
        Fault::Proxy | Fault::Request => reason.code().to_owned(),
        Fault::Token => format!(
            "jwt_authn_access_denied{{{}}}",
            reason.text().replace(' ', "_")
        ),
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

/// What of some text can stand in a header.
fn printable(bytes: &[u8]) -> String {
    let printable = bytes.iter().filter(|byte| (b' '..=b'~').contains(byte));
    printable.map(|byte| char::from(*byte)).collect()
}

/// RFC 9110 section 5.6.4.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &[u8])]) -> Request {
        let owned = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
        Request::new(headers.iter().map(owned).collect())
    }

    #[test]
    fn a_bad_token_is_challenged_without_leaks() {
        let request = request(&[
            (":scheme", b"https"),
            (":authority", b"a.test\xff"),
            (":path", b"/x\"y\\?access_token=secret"),
            ("x-envoy-original-path", b"/forged"),
        ]);
        let reply = reply(&Reason::Expired.into(), None, &request);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.body, b"Jwt is expired");
        assert_eq!(reply.details, "jwt_authn_access_denied{Jwt_is_expired}");
        assert_eq!(
            reply.headers,
            [(
                "www-authenticate".to_owned(),
                br#"Bearer realm="https://a.test/x\"y\\", error="invalid_token""#.to_vec()
            )]
        );
    }

    #[test]
    fn a_long_address_is_cut() {
        let path = [b'/'; 1000];
        let request = request(&[(":path", &path)]);
        let reply = reply(&Reason::Malformed.into(), None, &request);
        let challenge = &reply.headers[0].1;
        assert_eq!(
            challenge.len(),
            "Bearer realm=\"\", error=\"invalid_token\"".len() + MAX_REALM
        );
    }

    #[test]
    fn a_policy_refuses_without_a_challenge() {
        let refusal = Refusal {
            policy: Some("ns[foo]-policy[p]-rule[0]".to_owned()),
            ..Reason::PolicyDenied.into()
        };
        let reply = reply(&refusal, None, &request(&[]));
        assert_eq!((reply.status, reply.headers.len()), (403, 0));
        assert_eq!(
            reply.details,
            "rbac_access_denied_matched_policy[ns[foo]-policy[p]-rule[0]]"
        );
    }
}
