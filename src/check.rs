//! External checks, of the action CUSTOM: another service is asked about a request.
//!
//! What is sent, and what is made of the answer, is what Envoy's `ext_authz` does with an HTTP
//! service as Istio configures it (pilot/pkg/security/authz/builder/extauthz.go).

use std::time::Duration;

use crate::authz::{RuleSet, Subject};
use crate::config::provider::{Additional, ExtensionProvider, HeaderPattern};
use crate::config::text::steers_proxy;
use crate::connection::Connection;
use crate::evaluate::Known;
use crate::explain::{Stage, Witness};
use crate::outcome::{Change, Changes, Denial, Note, Reason, Refusal};
use crate::request::Request;
use crate::sorted;
use crate::spelling::{Names, are_alike};

/// What clients write themselves, and services that are asked are always shown or ask for: their
/// copies pass where the answer has none.
const CLIENTS_OWN: [&str; 2] = ["authorization", "cookie"];

/// With which a service names headers that the upstream shall not get.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// A service that is asked about requests, of one policy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CheckId(pub(crate) usize);

/// A request without body that the shell is to send.
#[derive(Clone, Debug)]
pub struct Check {
    /// Who is asked.
    pub id: CheckId,
    /// Its name, for the log.
    pub provider: String,
    /// The Envoy cluster that leads there.
    pub cluster: String,
    /// All lines, pseudo-headers included.
    pub headers: Vec<(String, String)>,
    /// How long to wait for the whole answer.
    pub timeout: Duration,
}

impl Check {
    /// How many bytes its lines take.
    pub(crate) fn size(&self) -> usize {
        size(&self.headers)
    }
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Who was asked.
    pub id: CheckId,
    /// What came of it.
    pub reply: CheckReply,
}

/// What came of asking a service.
#[derive(Clone, Debug)]
pub enum CheckReply {
    /// It answered.
    Answer(CheckAnswer),
    /// Nothing: the service can't be reached, or didn't begin to answer in time.
    Nothing,
    /// It wasn't asked: it has as many checks under way as it may have.
    Overloaded,
    /// It answered, but what it said can't be read to its end. So it isn't down.
    Unreadable,
}

impl CheckReply {
    /// How many bytes its lines and its body take.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Answer(answer) => {
                size(&answer.headers) + answer.body.as_ref().map_or(0, Vec::len)
            }
            Self::Nothing | Self::Overloaded | Self::Unreadable => 0,
        }
    }
}

fn size(lines: &[(String, impl AsRef<[u8]>)]) -> usize {
    let lines = lines.iter();
    lines
        .map(|(name, value)| name.len() + value.as_ref().len())
        .sum()
}

/// What a service answered.
#[derive(Clone, Debug)]
pub struct CheckAnswer {
    /// The HTTP status. 200 lets the request through.
    pub status: u16,
    /// All lines, pseudo-headers or not.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, which a client that is refused gets; `None` if it is too long to go on.
    pub body: Option<Vec<u8>>,
}

/// The services that are asked, in the order of their names, as Istio sorts them.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<(Service, RuleSet)>);

/// A compiled `envoyExtAuthzHttp`.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    cluster: String,
    timeout: Duration,
    path_prefix: String,
    fail_open: bool,
    most_requests: u32,
    status_on_error: u16,
    /// The headers of the request that it is shown.
    shown: Vec<HeaderPattern>,
    added: Additional,
    to_upstream: Vec<HeaderPattern>,
    to_client_on_allow: Vec<HeaderPattern>,
    /// Empty: everything.
    to_client_on_deny: Vec<HeaderPattern>,
}

/// A request that may go on, as far as the services say.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) changes: Changes,
    pub(crate) notes: Vec<Note>,
}

/// Why a request doesn't go on.
#[derive(Debug)]
pub(crate) enum Held {
    /// This has to be asked first.
    Ask(Check),
    Refused(Refusal),
}

impl Checks {
    pub(crate) fn new(mut services: Vec<(Service, RuleSet)>) -> Self {
        sorted::by(&mut services, |(a, _), (b, _)| a.name.cmp(&b.name));
        Self(services)
    }

    /// The services by their names, and what they are asked about.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RuleSet)> {
        let services = self.0.iter();
        services.map(|(service, rules)| (service.name.as_str(), rules))
    }

    /// The services in the order of their ids.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.0.iter().map(|(service, _)| service)
    }

    /// What of a reply is worth keeping while its request waits for something else.
    pub(crate) fn kept(&self, id: CheckId, mut reply: CheckReply) -> CheckReply {
        if let (CheckReply::Answer(answer), Some((service, _))) = (&mut reply, self.0.get(id.0))
            && answer.status == 200
        {
            answer.body = None;
            answer.headers.retain(|(name, _)| service.reads(name));
        }
        reply
    }

    /// Asks nobody.
    pub(crate) fn skip(&self, request: &Request) -> Passed {
        Passed {
            changes: self.stripped(request),
            notes: Vec::new(),
        }
    }

    /// Has every service asked about whose policies the request is, one after the other; each sees
    /// what those before it changed. Of headers that rules write, which are still the client's, neither
    /// it nor its policies see any.
    pub(crate) fn pass(
        &self,
        request: &Request,
        connection: &Connection<'_>,
        Known { checked, .. }: Known<'_>,
        written: &Names,
        witness: &mut impl Witness,
    ) -> Result<Passed, Held> {
        if self.0.is_empty() {
            return Ok(self.skip(request));
        }
        // A token in `authorization` is for the service, too.
        let is_hidden = |name: &str| {
            name != "authorization" && written.have(name.as_bytes()) && !self.write(name)
        };
        let hidden = Changes(request.removed(is_hidden));
        let mut changes = self.stripped(request);
        let mut notes = Vec::new();
        for (index, (service, rules)) in self.0.iter().enumerate() {
            let id = CheckId(index);
            let changed = request.changed(&changes);
            let seen = changed.changed(&hidden);
            let subject = Subject {
                request: &seen,
                identity: None,
                connection,
            };
            witness.sees(Stage::Custom, rules, subject);
            let Some(rule) = rules.first_match(subject) else {
                continue;
            };
            let refused = |reason: Reason, denial: Option<Denial>| {
                Held::Refused(Refusal {
                    policy: Some(rule.to_string()),
                    denial: denial.map(Box::new),
                    ..reason.into()
                })
            };
            let Some(checked) = checked.iter().find(|checked| checked.id == id) else {
                let check = service.check(id, &seen).map(Held::Ask);
                return Err(check.unwrap_or_else(|| refused(Reason::CheckUnsendable, None)));
            };
            let failed = |reason| Err(refused(reason, Some(service.failure())));
            match CheckVerdict::of(&checked.reply) {
                CheckVerdict::Allowed(answer) => {
                    changes.0.extend(service.granted(answer, &changed))
                }
                CheckVerdict::Denied(answer) => {
                    return Err(refused(Reason::CheckDenied, Some(service.denial(answer))));
                }
                CheckVerdict::Failed if service.fail_open => {
                    notes.push(Note::Unchecked(service.name.clone()));
                }
                CheckVerdict::Failed => return failed(Reason::CheckFailed),
                // A service that is up has its say, and a client could bring both about.
                CheckVerdict::Overloaded => return failed(Reason::CheckOverloaded),
                CheckVerdict::Unreadable => return failed(Reason::CheckUnreadable),
            }
        }
        Ok(Passed { changes, notes })
    }

    /// What only the services write is taken out of what the client sent.
    fn stripped(&self, request: &Request) -> Changes {
        if self.0.is_empty() {
            return Changes::default();
        }
        Changes(request.removed(|name| self.write(name)))
    }

    /// Whether an upstream may take this for a header that only a service writes.
    pub(crate) fn write(&self, name: &str) -> bool {
        let mut services = self.0.iter().map(|(service, _)| service);
        let mut may_be_of = |service: &Service| {
            let mut patterns = service.to_upstream.iter();
            patterns.any(|pattern| pattern.may_match(name))
        };
        !CLIENTS_OWN.contains(&name) && services.any(&mut may_be_of)
    }
}

/// What a reply means for the request.
pub(crate) enum CheckVerdict<'a> {
    Allowed(&'a CheckAnswer),
    Denied(&'a CheckAnswer),
    /// The service is down.
    Failed,
    Overloaded,
    Unreadable,
}

impl<'a> CheckVerdict<'a> {
    /// As `ext_authz`: a service that has trouble of its own, a status from 500 to 599, hasn't answered.
    /// A status that no final answer has is none that could be handed on.
    pub(crate) fn of(reply: &'a CheckReply) -> Self {
        match reply {
            CheckReply::Answer(answer) => match answer.status {
                200 => Self::Allowed(answer),
                201..500 => Self::Denied(answer),
                500..600 => Self::Failed,
                _ => Self::Unreadable,
            },
            CheckReply::Nothing => Self::Failed,
            CheckReply::Overloaded => Self::Overloaded,
            CheckReply::Unreadable => Self::Unreadable,
        }
    }
}

fn one_of(patterns: &[HeaderPattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

impl Service {
    /// How long to wait for an answer, where nobody says.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
    /// Two workers stay below the 1,024 that a cluster has by default.
    const MAX_REQUESTS: u32 = 500;
    const STATUS_ON_ERROR: u16 = 403;

    pub(crate) fn new(provider: &ExtensionProvider) -> Self {
        let http = &provider.envoy_ext_authz_http;
        let shown = match http.include_request_headers_in_check.is_empty() {
            true => &http.include_headers_in_check,
            false => &http.include_request_headers_in_check,
        };
        Self {
            name: provider.name.0.clone(),
            cluster: http.cluster(),
            timeout: http.timeout.unwrap_or(Self::TIMEOUT),
            path_prefix: http.path_prefix.as_ref().map_or("", |p| &p.0).to_owned(),
            fail_open: http.fail_open,
            most_requests: http.max_requests.map_or(Self::MAX_REQUESTS, |most| most.0),
            status_on_error: http
                .status_on_error
                .as_ref()
                .map_or(Self::STATUS_ON_ERROR, |status| status.0),
            shown: shown.clone(),
            added: http.include_additional_headers_in_check.clone(),
            to_upstream: http.headers_to_upstream_on_allow.clone(),
            to_client_on_allow: http.headers_to_downstream_on_allow.clone(),
            to_client_on_deny: http.headers_to_downstream_on_deny.clone(),
        }
    }

    /// The Envoy cluster that leads there.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How long an answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many checks each worker may have under way.
    pub(crate) fn most_requests(&self) -> usize {
        usize::try_from(self.most_requests).unwrap_or(usize::MAX)
    }

    /// What it is asked; `None` where it can't be asked about this request as it is: a `CONNECT`, or
    /// one with bytes that a Wasm filter can't send.
    fn check(&self, id: CheckId, request: &Request) -> Option<Check> {
        let text = |value| str::from_utf8(value).ok().map(str::to_owned);
        let one = |name: &str| text(request.value(name)?);
        let method = one(":method").filter(|method| method != "CONNECT")?;
        let mut headers = vec![
            (":method".to_owned(), method),
            (":authority".to_owned(), one(":authority")?),
            (
                ":path".to_owned(),
                format!("{}{}", self.path_prefix, one(":path")?),
            ),
            ("content-length".to_owned(), "0".to_owned()),
        ];
        let is_shown = |name: &str| {
            (name == "authorization" || one_of(&self.shown, name))
                && !self
                    .added
                    .0
                    .iter()
                    .any(|(added, _)| are_alike(added.as_bytes(), name.as_bytes()))
        };
        for (name, value) in request.headers().filter(|(name, _)| is_shown(name)) {
            headers.push((name.to_owned(), text(value)?));
        }
        headers.extend(self.added.0.iter().cloned());
        Some(Check {
            id,
            provider: self.name.clone(),
            cluster: self.cluster.clone(),
            headers,
            timeout: self.timeout,
        })
    }

    /// Whether a line of an answer that lets the request through has an effect.
    fn reads(&self, name: &str) -> bool {
        name == TO_REMOVE
            || one_of(&self.to_upstream, name)
            || one_of(&self.to_client_on_allow, name)
    }

    /// What the upstream gets of an answer that lets the request through, and what its client.
    fn granted(&self, answer: &CheckAnswer, request: &Request) -> Vec<Change> {
        let removed = answer.headers.iter().filter(|(name, _)| name == TO_REMOVE);
        let removed = removed.flat_map(|(_, value)| value.split(|byte| *byte == b','));
        let removed = removed.filter_map(|name| str::from_utf8(name).ok());
        let removed = Names::new(removed.map(str::trim_ascii));
        let goes = |name: &str| !steers_proxy(name) && removed.have(name.as_bytes());
        let mut changes = Vec::new();
        let mut written = Vec::new();
        for (name, value) in lines(answer) {
            if one_of(&self.to_client_on_allow, name) {
                changes.push(Change::Respond(name.to_owned(), value.to_vec()));
            }
            // As in `ext_authz`, the last word is that a header goes.
            if one_of(&self.to_upstream, name) && !goes(name) {
                written.push((name, value));
            }
        }
        let replaced = Names::new(written.iter().map(|(name, _)| *name));
        changes.extend(request.removed(|name| goes(name) || replaced.have(name.as_bytes())));
        changes.extend(
            written
                .into_iter()
                .map(|(name, value)| Change::Append(name.to_owned(), value.to_vec())),
        );
        changes
    }

    /// The service's own answer, for the client.
    fn denial(&self, answer: &CheckAnswer) -> Denial {
        let patterns = &self.to_client_on_deny;
        let is_told = |name: &str| {
            patterns.is_empty()
                || ["location", "www-authenticate"].contains(&name)
                || one_of(patterns, name)
        };
        // They are about a body that the client doesn't get.
        let is_lost = |name: &str| answer.body.is_none() && name.starts_with("content-");
        let told = lines(answer).filter(|(name, _)| is_told(name) && !is_lost(name));
        Denial {
            status: answer.status,
            headers: told
                .map(|(name, value)| (name.to_owned(), value.to_vec()))
                .collect(),
            body: answer.body.clone().unwrap_or_default(),
        }
    }

    fn failure(&self) -> Denial {
        Denial {
            status: self.status_on_error,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }
}

/// What of an answer can go on in another message. Envoy wouldn't look at it again.
fn lines(answer: &CheckAnswer) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = answer.headers.iter();
    let is_text = |byte: &u8| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t';
    lines
        .filter(move |(name, value)| {
            !steers_proxy(name) && name != TO_REMOVE && value.iter().all(is_text)
        })
        .map(|(name, value)| (name.as_str(), value.as_slice()))
}
