//! How refusals look, as far as a user may say it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::reader::{Input, Read, record};
use super::schema::{Schemas, a, map_of, one_of};
use super::text::{HeaderName, HeaderValue, OutputHeader, steers_proxy};
use crate::jwks::KeySetUri;
use crate::matcher::StringMatch;
use crate::outcome::Reason;

record! {
    /// How refusals look.
    #[derive(Default)]
    pub(crate) struct Errors {
        /// Whose answers: those of Istio's proxies, `istio`, or those that OAuth's clients expect
        /// (RFC 6750), `rfc6750`. Default: `istio`.
        profile: Option<Profile>,
        /// The body: `text`, or `json`, the problem details of RFC 9457. Default: `text`.
        format: Option<Format>,
        /// The realm of the challenge in `www-authenticate`. Default: the address of the request
        /// without its query.
        realm: Option<HeaderValue>,
        /// The address of the protected resource's metadata (RFC 9728), which every challenge then
        /// tells: `resource_metadata`.
        resource_metadata: Option<WebAddress>,
        /// The address of a login page, to which browsers are sent whose user has no token, or one
        /// that has expired. `{url}`, in its query or fragment, becomes the address that they asked
        /// for, percent-encoded and without tokens. A request for that page itself isn't sent there.
        redirect: Option<LoginPage>,
        /// Other answers for some reasons; the first entry that names the reason counts, and what
        /// it doesn't say stays.
        overrides: Vec<Override>,
        /// A header of refusals that says why, with reason and policy, such as
        /// `x-portcullis-reason`: for staging, since it tells clients about your policies.
        reason_header: Option<OutputHeader>,
    }
    check check_errors;
}

fn check_errors(errors: &Errors, input: &Input<'_>) {
    let header = errors.reason_header.as_ref();
    if let Some(OutputHeader(name)) = header.filter(|header| !can_be_added(&header.0)) {
        input.mistake(format!(
            "`reasonHeader`: clients read answers by `{name}`: choose another header"
        ));
    }
}

/// Whether an answer stays what it is with another header of this name. gRPC reads its outcome in
/// headers; two lines of `content-type` are none.
fn can_be_added(name: &str) -> bool {
    !steers_proxy(name) && !name.starts_with("grpc-") && name != "content-type"
}

/// Whose answers refusals get.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Profile {
    /// Those of Istio's proxies.
    #[default]
    Istio,
    /// Those that OAuth's clients expect.
    Rfc6750,
}

impl Read for Profile {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "istio" => Some(Self::Istio),
            "rfc6750" => Some(Self::Rfc6750),
            _ => {
                input.mistake("unknown profile: write `istio` or `rfc6750`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["istio", "rfc6750"])
    }
}

/// What the body of a refusal is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Format {
    Json,
    #[default]
    Text,
}

impl Read for Format {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "json" => Some(Self::Json),
            "text" => Some(Self::Text),
            _ => {
                input.mistake("unknown format: write `text` or `json`");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["json", "text"])
    }
}

record! {
    /// Another answer.
    pub(crate) struct Override {
        /// For which reasons: codes such as `jwt_expired`, or patterns such as `jwt_*`, with a `*`
        /// at one end. At least one.
        reasons: Vec<Reasons>,
        /// The status.
        status: Option<ErrorStatus>,
        /// Headers, in the place of those of the same name; of a redirect, too.
        headers: AnswerHeaders,
        /// The body, whatever the format, as it is; as `text/plain` if `headers` has no
        /// `content-type`.
        body: Option<String>,
    }
    check check_override;
}

fn check_override(other: &Override, input: &Input<'_>) {
    if other.reasons.is_empty() {
        input.mistake("`reasons` is empty: write codes such as `jwt_expired`, or `*`");
    }
    if other.status.is_none() && other.headers.0.is_empty() && other.body.is_none() {
        input.mistake("nothing is changed: write at least one of `status`, `headers`, `body`");
    }
}

impl Override {
    pub(crate) fn is_for(&self, reason: Reason) -> bool {
        self.reasons
            .iter()
            .any(|reasons| reasons.0.matches(reason.code().as_bytes()))
    }
}

/// The code of a reason, or a pattern for codes.
#[derive(Debug)]
pub(crate) struct Reasons(StringMatch);

impl Read for Reasons {
    fn read(input: &Input<'_>) -> Option<Self> {
        let pattern = StringMatch::text(input.text()?);
        // Without a configuration there is nothing that could change the answer.
        let mut told = Reason::ALL
            .iter()
            .filter(|reason| **reason != Reason::ProxyUnconfigured);
        if told.any(|reason| pattern.matches(reason.code().as_bytes())) {
            return Some(Self(pattern));
        }
        input.mistake(
            "unknown reason: write a code such as `jwt_expired`, or a \
             pattern such as `jwt_*`",
        );
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A status that no client takes for success.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorStatus(pub(crate) u16);

impl Read for ErrorStatus {
    fn read(input: &Input<'_>) -> Option<Self> {
        let status = input.whole().filter(|status| (400..=599).contains(status));
        if status.is_none() {
            input.mistake("not the status of a refusal: write a number from 400 to 599");
        }
        status.map(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 400, "maximum": 599 })
    }
}

/// Headers of an answer, by names in lower case.
#[derive(Debug)]
pub(crate) struct AnswerHeaders(pub(crate) Vec<(String, String)>);

impl Read for AnswerHeaders {
    fn read(input: &Input<'_>) -> Option<Self> {
        let (mut headers, mut all_right) = (Vec::new(), true);
        for (name, value) in BTreeMap::read(input)? {
            let parsed = HeaderName::parse(&name)
                .filter(|name| can_be_added(&name.0) || name.0 == "content-type");
            let is_printable = HeaderValue::is_one(&value);
            all_right &= parsed.is_some() && is_printable;
            if parsed.is_none() {
                input.mistake(format!("`{name}` is no header that an answer can get"));
            }
            if !is_printable {
                input.mistake(format!("`{name}`: write printable ASCII only"));
            }
            headers.extend(parsed.map(|name| (name.0, value)));
        }
        all_right.then_some(Self(headers))
    }

    fn schema(_: &mut Schemas) -> Value {
        map_of(&a("string"))
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(Self(Vec::new()))
    }
}

/// The absolute address of a page.
#[derive(Debug)]
pub(crate) struct WebAddress(pub(crate) String);

impl Read for WebAddress {
    fn read(input: &Input<'_>) -> Option<Self> {
        let text = input.text()?;
        match KeySetUri::parse(text) {
            Ok(_) => Some(Self(text.to_owned())),
            Err(message) => {
                input.mistake(message);
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// The address of a login page.
#[derive(Debug)]
pub(crate) struct LoginPage {
    pub(crate) address: KeySetUri,
    /// What stands before, between and behind its `{url}`.
    parts: Vec<String>,
}

impl LoginPage {
    /// The page for someone who asked for this address, which must be percent-encoded.
    pub(crate) fn of(&self, asked: &str) -> String {
        self.parts.join(asked)
    }
}

impl Read for LoginPage {
    fn read(input: &Input<'_>) -> Option<Self> {
        let WebAddress(text) = WebAddress::read(input)?;
        let address = KeySetUri::parse(&text).ok()?;
        let parts: Vec<String> = text.split("{url}").map(str::to_owned).collect();
        if parts.iter().any(|part| part.contains(['{', '}'])) {
            input.mistake("unknown placeholder: `{url}` is the only one");
            return None;
        }
        // Behind the host and a `?` or `#` it is a value, whatever it holds.
        if parts.len() > 1
            && !parts
                .first()
                .is_some_and(|start| start.contains(['?', '#']))
        {
            input.mistake("`{url}` must stand in the query or the fragment");
            return None;
        }
        Some(Self { address, parts })
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}
