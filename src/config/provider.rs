//! Services that are asked about requests: Istio's `MeshConfig.ExtensionProvider`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::number::AtLeastOne;
use super::reader::{Input, Read, record};
use super::schema::{Schemas, a, map_of};
use super::text::{HeaderName, HeaderValue, Name, Text, may_steer, steers_proxy};
use crate::matcher::StringMatch;
use crate::spelling::are_alike;

record! {
    /// A service that policies with the action CUSTOM can name.
    pub(crate) struct ExtensionProvider {
        /// What policies call it.
        name: Name,
        /// How it is asked.
        envoy_ext_authz_http: ExtAuthzHttp,
    }
}

record! {
    /// Istio's `EnvoyExternalAuthorizationHttpProvider`.
    pub(crate) struct ExtAuthzHttp {
        /// Where the service is: `host` or `namespace/host`.
        service: Host,
        /// The port of the service.
        port: PortNumber,
        /// How long to wait for an answer, from `1ms` to `1h`. Default: `5s` (Istio: `600s`).
        timeout: Option<Duration>,
        /// What stands before the path of the request when it is asked.
        path_prefix: Option<PathPrefix>,
        /// Whether requests pass when the service doesn't answer, or with a status from 500 on.
        /// Default: `false`.
        fail_open: bool,
        /// The status, a string, of requests that are refused because it doesn't answer. Default:
        /// `"403"`.
        status_on_error: Option<Status>,
        /// The deprecated name of `includeRequestHeadersInCheck`; it counts where that is empty.
        include_headers_in_check: Vec<HeaderPattern>,
        /// Headers of the request that it is shown, besides `authorization`.
        include_request_headers_in_check: Vec<HeaderPattern>,
        /// Headers and values that it gets with every request, instead of the client's. Envoy's
        /// formats (`%REQ(...)%`) can't be filled in and are a mistake.
        include_additional_headers_in_check: Additional,
        /// Can't be written: there is no body yet when a request is decided upon.
        include_request_body_in_check: Option<RequestBody>,
        /// Headers of an answer with status 200 that the upstream gets; the client's own never do.
        headers_to_upstream_on_allow: Vec<HeaderPattern>,
        /// Headers of an answer with another status that the client gets, besides `location` and
        /// `www-authenticate`. Default: all.
        headers_to_downstream_on_deny: Vec<HeaderPattern>,
        /// Headers of an answer with status 200 that the client gets, added to the upstream's
        /// answer.
        headers_to_downstream_on_allow: Vec<HeaderPattern>,
        /// Headers for the upstream make Envoy choose the route again, always: `false` beside
        /// `headersToUpstreamOnAllow` is a mistake.
        clear_route_cache: Option<bool>,
    }
    beyond {
        /// The Envoy cluster that leads there; ours, not Istio's. Default: `outbound|PORT||HOST`,
        /// the name that Istio gives it.
        cluster: Option<Name>,
        /// How many checks each worker may have under way at this service, from 1 on; ours, not Istio's.
        /// Further requests wait, for at most `timeout`, and are then refused, also with `failOpen`.
        /// Write less than the `max_requests` of the cluster's circuit breaker, divided by the number of
        /// workers. Default: 500.
        max_requests: Option<AtLeastOne>,
    }
    check check_provider;
}

fn check_provider(provider: &ExtAuthzHttp, input: &Input<'_>) {
    let bounds = Duration::from_millis(1)..=Duration::from_secs(3600);
    if provider.timeout.is_some_and(|time| !bounds.contains(&time)) {
        input.mistake("`timeout` is out of bounds: write from \"1ms\" to \"1h\"");
    }
    if provider.include_request_body_in_check.is_some() {
        input.mistake(
            "`includeRequestBodyInCheck`: a request is decided upon before its body is there, so \
             none can be sent: remove it",
        );
    }
    let changes = !provider.headers_to_upstream_on_allow.is_empty();
    if changes && provider.clear_route_cache == Some(false) {
        input.mistake(
            "`clearRouteCache` can't be false: where a Wasm filter changes a header, Envoy chooses \
             the route again; write true, or remove it",
        );
    }
}

impl ExtAuthzHttp {
    pub(crate) fn cluster(&self) -> String {
        match &self.cluster {
            Some(cluster) => cluster.0.clone(),
            None => format!("outbound|{}||{}", self.port.0, self.service.0),
        }
    }
}

/// A host, of a service that may be written with its namespace.
#[derive(Debug)]
pub(crate) struct Host(String);

impl Read for Host {
    fn read(input: &Input<'_>) -> Option<Self> {
        let Text(service) = Text::read(input)?;
        let (namespace, host) = service.split_once('/').unwrap_or(("-", &service));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_plain);
        if is_name(namespace) && is_name(host) {
            return Some(Self(host.to_owned()));
        }
        input.mistake("not a service: write `host` or `namespace/host`");
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// A port, which Istio's mesh configuration writes as a number.
#[derive(Debug)]
pub(crate) struct PortNumber(u16);

impl Read for PortNumber {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.whole().filter(|port| *port > 0) {
            Some(port) => Some(Self(port)),
            None => input.expected("a number from 1 to 65535"),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX })
    }
}

/// What stands before a path.
#[derive(Debug)]
pub(crate) struct PathPrefix(pub(crate) String);

impl Read for PathPrefix {
    const EMPTY_IS_UNSET: bool = true;

    fn read(input: &Input<'_>) -> Option<Self> {
        let prefix = input.text()?;
        let is_path = prefix.starts_with('/') && prefix.bytes().all(|b| b.is_ascii_graphic());
        if prefix.is_empty() || is_path {
            return Some(Self(prefix.to_owned()));
        }
        input.mistake("not a path: write `/` first, and no blanks");
        None
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// An HTTP status, which Istio writes as a string.
#[derive(Debug)]
pub(crate) struct Status(pub(crate) u16);

impl Read for Status {
    const EMPTY_IS_UNSET: bool = true;

    fn read(input: &Input<'_>) -> Option<Self> {
        let status = input.text()?.parse().ok();
        let status = status.filter(|status| (200..=599).contains(status));
        if status.is_none() {
            input.mistake("not a status: write a number from 200 to 599 in quotes");
        }
        status.map(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Which headers: `name`, `prefix*` or `*suffix`.
#[derive(Clone, Debug)]
pub(crate) struct HeaderPattern(StringMatch);

impl HeaderPattern {
    /// Whether this is one of those that are meant; what a message is framed and routed by never is.
    pub(crate) fn matches(&self, name: &str) -> bool {
        !may_steer(name) && self.0.matches(name.as_bytes())
    }

    /// Whether an upstream may take this for one of those that are meant.
    pub(crate) fn may_match(&self, name: &str) -> bool {
        !steers_proxy(name) && self.0.matches_by(are_alike, name.as_bytes())
    }
}

impl Read for HeaderPattern {
    fn read(input: &Input<'_>) -> Option<Self> {
        match Text::read(input)?.0.as_str() {
            "*" => {
                input.mistake("`*` alone is not supported: write `name`, `prefix*` or `*suffix`");
                None
            }
            pattern => Some(Self(StringMatch::text(&pattern.to_ascii_lowercase()))),
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Headers by name, and their values.
#[derive(Clone, Debug)]
pub(crate) struct Additional(pub(crate) Vec<(String, String)>);

impl Read for Additional {
    fn read(input: &Input<'_>) -> Option<Self> {
        let written = BTreeMap::read(input)?;
        let mut headers = Vec::new();
        for (name, value) in written {
            let parsed = HeaderName::parse(&name).filter(|name| !steers_proxy(&name.0));
            if parsed.is_none() {
                input.mistake(format!("`{name}` is no header that can be added"));
            }
            if !HeaderValue::is_one(&value) {
                input.mistake(format!("`{name}`: write printable ASCII only"));
            }
            if value.contains('%') {
                input.mistake(format!(
                    "`{name}`: Envoy's formats (`%REQ(...)%`) can't be filled in here: write the \
                     text itself"
                ));
            }
            headers.extend(parsed.map(|name| (name.0, value)));
        }
        Some(Self(headers))
    }

    fn schema(_: &mut Schemas) -> Value {
        map_of(&a("string"))
    }

    fn absent(_: &Input<'_>, _: &str) -> Option<Self> {
        Some(Self(Vec::new()))
    }
}

/// Istio's `EnvoyExternalAuthorizationRequestBody`, of which only counts that it is there.
#[derive(Debug)]
pub(crate) struct RequestBody;

impl Read for RequestBody {
    fn read(_: &Input<'_>) -> Option<Self> {
        Some(Self)
    }

    fn schema(_: &mut Schemas) -> Value {
        a("object")
    }
}
