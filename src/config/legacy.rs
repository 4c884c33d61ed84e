//! What `Policy` and `MeshPolicy` of `authentication.istio.io/v1alpha1` say
//! (authentication/v1alpha1/policy.proto, until Istio 1.5).

mod jwt;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

pub(crate) use self::jwt::{Jwt, Trigger};
use super::port::PortNumber;
use super::reader::{Input, Read, record};
use super::schema::{Schemas, a, any_of, one_of};

record! {
    /// What a Policy or MeshPolicy says.
    pub(crate) struct LegacyPolicy {
        /// Services of the namespace, and ports of theirs, to which the policy applies; one without
        /// targets is named `default`. Default: all of the namespace.
        targets: Vec<Target>,
        /// Ways for the peer to tell who it is: the first that succeeds counts. `mtls:` with
        /// nothing is `STRICT`. Default: it needn't.
        peers: Vec<PeerMethod>,
        /// Whether a request passes when all of `peers` fail. Default: `false`.
        peer_is_optional: bool,
        /// Tokens of which one must be there and verify: the first that does counts. Default: none.
        origins: Vec<OriginMethod>,
        /// Whether a request passes when none of `origins` verifies. Default: `false`.
        origin_is_optional: bool,
        /// Whose identity `requestPrincipals` means: that of `origins` (`USE_ORIGIN`) or of `peers`
        /// (`USE_PEER`). Default: `USE_PEER`.
        principal_binding: Option<Binding>,
    }
    check check_issuers;
}

/// Tokens are told apart by their issuers.
fn check_issuers(policy: &LegacyPolicy, input: &Input<'_>) {
    let of_peers = policy.peers.iter().filter_map(|method| match method {
        PeerMethod::Jwt(jwt) => Some(jwt.as_ref()),
        PeerMethod::MutualTls { .. } => None,
    });
    let of_origins = policy.origins.iter().map(|method| &method.jwt);
    let mut seen = BTreeSet::new();
    for jwt in of_peers.chain(of_origins) {
        if !seen.insert(jwt.issuer()) {
            input.mistake(format!(
                "the issuer `{}` is written twice: write one `jwt` for it",
                jwt.issuer()
            ));
        }
    }
}

record! {
    /// A service.
    pub(crate) struct Target {
        /// Its short name (`workload.serviceName`).
        name: Label,
        /// Ports of the service, by number or by name (`workload.ports`). A port of ours that isn't
        /// there is a mistake. Default: all.
        ports: Vec<PortSelector>,
    }
}

/// A port of a service.
#[derive(Debug)]
pub(crate) enum PortSelector {
    Name(String),
    Number(u16),
}

impl fmt::Display for PortSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Number(number) => number.fmt(formatter),
        }
    }
}

record! {
    /// Istio's `PortSelector`.
    pub(crate) struct PortFields {
        /// The port's name.
        name: Option<Label>,
        /// The port's number.
        number: Option<PortNumber>,
    }
}

impl Read for PortSelector {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = PortFields::read(input)?;
        match (fields.name, fields.number) {
            (Some(name), None) => Some(Self::Name(name.0)),
            (None, Some(number)) => Some(Self::Number(number.0)),
            _ => {
                input.mistake("write either `name` or `number` of the port");
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        PortFields::schema(schemas)
    }
}

/// A name as services and their ports have it (RFC 1123).
#[derive(Debug)]
pub(crate) struct Label(pub(crate) String);

impl Read for Label {
    fn read(input: &Input<'_>) -> Option<Self> {
        let text = input.text()?;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: u8| is_plain(byte) || byte == b'-';
        let ends = |end: Option<u8>| end.is_some_and(is_plain);
        let is_label = text.len() <= 63
            && text.bytes().all(inner)
            && ends(text.bytes().next())
            && ends(text.bytes().next_back());
        if !is_label {
            input.mistake(
                "not a short name: write at most 63 lower-case letters, digits and `-`, no dots",
            );
        }
        is_label.then(|| Self(text.to_owned()))
    }

    fn schema(_: &mut Schemas) -> Value {
        a("string")
    }
}

/// Which principal is the request's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Binding {
    Origin,
    #[default]
    Peer,
}

impl Read for Binding {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "USE_ORIGIN" => Some(Self::Origin),
            "USE_PEER" => Some(Self::Peer),
            _ => {
                input.mistake("unknown binding: write USE_ORIGIN or USE_PEER");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["USE_ORIGIN", "USE_PEER"])
    }
}

/// How a peer tells who it is.
#[derive(Debug)]
pub(crate) enum PeerMethod {
    Jwt(Box<Jwt>),
    MutualTls { is_strict: bool },
}

record! {
    /// Istio's `PeerAuthenticationMethod`.
    pub(crate) struct PeerFields {
        /// A token.
        jwt: Option<Jwt>,
    }
    unread {
        /// A certificate.
        mtls: Option<MutualTls>,
    }
}

impl Read for PeerMethod {
    fn read(input: &Input<'_>) -> Option<Self> {
        let fields = PeerFields::read(input)?;
        // `mtls:` without a value is mutual TLS.
        match (input.value().get("mtls"), fields.jwt) {
            (None, Some(jwt)) => Some(Self::Jwt(Box::new(jwt))),
            (Some(_), None) => {
                let mtls = input.object()?.field::<Option<MutualTls>>("mtls")?;
                let is_permissive = mtls.is_some_and(|mtls| mtls.is_permissive());
                Some(Self::MutualTls {
                    is_strict: !is_permissive,
                })
            }
            _ => {
                input.mistake("write either `mtls` or `jwt`");
                None
            }
        }
    }

    fn schema(schemas: &mut Schemas) -> Value {
        let nothing_more = json!({
            "type": "object",
            "properties": { "mtls": { "type": "null" } },
            "required": ["mtls"],
            "additionalProperties": false,
        });
        any_of([PeerFields::schema(schemas), nothing_more])
    }
}

record! {
    /// Istio's `MutualTls`.
    pub(crate) struct MutualTls {
        /// Whether a certificate must be there. Default: `STRICT`.
        mode: Option<MutualTlsMode>,
        /// The older way to write `PERMISSIVE`. Default: `false`.
        allow_tls: bool,
    }
}

impl MutualTls {
    fn is_permissive(&self) -> bool {
        self.allow_tls || self.mode == Some(MutualTlsMode::Permissive)
    }
}

/// Whether a peer may come without a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MutualTlsMode {
    Permissive,
    Strict,
}

impl Read for MutualTlsMode {
    fn read(input: &Input<'_>) -> Option<Self> {
        match input.text()? {
            "PERMISSIVE" => Some(Self::Permissive),
            "STRICT" => Some(Self::Strict),
            _ => {
                input.mistake("unknown mode: write STRICT or PERMISSIVE");
                None
            }
        }
    }

    fn schema(_: &mut Schemas) -> Value {
        one_of(&["PERMISSIVE", "STRICT"])
    }
}

record! {
    /// How a request tells whose it is.
    pub(crate) struct OriginMethod {
        /// A token.
        jwt: Jwt,
    }
}
