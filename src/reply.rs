//! How a refusal looks to the client: as Istio's proxies answer, without what they leak, or as the
//! configuration wants it.

mod challenge;
mod format;
mod redirect;

use crate::config::{Errors, Override};
use crate::outcome::{Fault, Reason, Refusal};
use crate::policy::Policy;
use crate::request::Request;

/// An answer to the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The HTTP status. For gRPC requests Envoy makes a trailers-only answer of it by itself.
    pub status: u16,
    /// Header lines besides those that Envoy adds.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body: plain text, problem details, or what the configuration or a service that was asked
    /// says.
    pub body: Vec<u8>,
    /// Envoy's response code details, for its access log.
    pub details: String,
}

impl Reply {
    /// Writes one line, instead of those that are there.
    fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.headers.retain(|(header, _)| header != name);
        self.headers.push((name.to_owned(), value.into()));
    }
}

/// The answer for a refusal.
#[must_use]
pub fn reply(refusal: &Refusal, policy: Option<&Policy>, request: &Request) -> Reply {
    let unwritten = Errors::default();
    let errors = policy.map_or(&unwritten, |policy| &policy.errors);
    let mut others = errors.overrides.iter();
    let other = others.find(|other| other.is_for(refusal.reason));
    let is_grpc = is_grpc(request);
    let login = policy.and_then(|policy| redirect::login(refusal, policy, request));
    let has_own_type = is_grpc || login.is_some();
    let mut reply = match login {
        Some(page) => redirect::to(page),
        None => answer(refusal, errors, other, request, is_grpc),
    };
    for (name, value) in other.iter().flat_map(|other| &other.headers.0) {
        // For gRPC Envoy has one of its own, and a redirect has no body.
        if name != "content-type" || !has_own_type {
            reply.set(name, value.as_bytes());
        }
    }
    reply.details = details(refusal);
    if let Some(header) = &errors.reason_header {
        reply.set(&header.0, why(refusal));
    }
    reply
}

/// The answer of a service that was asked, or that of the profile; with the status and body that the
/// configuration puts in its place.
fn answer(
    refusal: &Refusal,
    errors: &Errors,
    other: Option<&Override>,
    request: &Request,
    is_grpc: bool,
) -> Reply {
    let status = other.and_then(|other| other.status).map(|status| status.0);
    let mut reply = match &refusal.denial {
        Some(denial) => Reply {
            status: status.unwrap_or(denial.status),
            headers: denial.headers.clone(),
            body: denial.body.clone(),
            details: String::new(),
        },
        None => {
            let standard = challenge::standard(refusal, errors, request, is_grpc);
            let status = status.unwrap_or(standard.status);
            let mut reply = format::written(&standard, status, refusal.reason, errors, is_grpc);
            if let Some(challenge) = standard.challenge.filter(|_| challenge::fits(status)) {
                reply.set("www-authenticate", challenge);
            }
            if let Some(seconds) = standard.retry_after {
                reply.set("retry-after", seconds);
            }
            reply
        }
    };
    if let Some(body) = other
        .and_then(|other| other.body.as_ref())
        .filter(|_| !is_grpc)
    {
        reply.headers.retain(|(name, _)| name != "content-type");
        reply.body = body.clone().into_bytes();
    }
    reply
}

/// Whether Envoy makes a gRPC answer of ours, in which the body is one line of text and
/// `content-type` Envoy's own (its `Grpc::Common::isGrpcRequestHeaders`).
fn is_grpc(request: &Request) -> bool {
    let content_type = request.value("content-type").unwrap_or_default();
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+")) && request.target().is_some()
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
            "Bearer realm=\"\", error=\"invalid_token\"".len() + 256
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
