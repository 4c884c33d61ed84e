//! `explain`: what becomes of a request, and why.

mod curl;
mod fetch;
pub(super) mod told;
mod tree;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use serde_json::Value;

use self::fetch::Fetcher;
use super::configuration::{Configuration, Workload, pair};
use super::decision::{Outside, Wanted, decide, metadata};
use super::request::{Ip, Written};
use super::source::Source;
use super::tally::Tally;
use super::token::pasted::Pasted;
use super::{Failure, Status, shown};
use crate::config::port::PortNumber;
use crate::config::reader::{Input, Mistakes, Read as _, Report};
use crate::json;
use crate::jwks::{FetchError, KeySetId, KeySetSource, Origin};
use crate::outcome::Outcome;
use crate::policy::Policy;

/// Show what becomes of a request, and why.
///
/// For example: portcullis explain envoy.yaml --keys issuer-foo=jwks.json -- -H 'authorization:
/// Bearer ...' https://example.com/admin
///
/// The request is written as for curl, behind `--`; or it is JSON, or an entry of a HAR file, which
/// browsers save. Only the headers that are written are there. Nothing is fetched or asked unless
/// you say so. Exit status: 0 if the request is forwarded, 1 if it is refused, 2 if that can't be
/// told.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// A plugin configuration, Istio resources, a WasmPlugin, an EnvoyExtensionPolicy or an Envoy
    /// configuration; `-` is standard input.
    #[arg(required = true, value_name = "CONFIG")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    workload: Workload,
    /// A request in JSON: `method`, `path`, `host`, `scheme`, `headers`, `peer`, `sourceIp`,
    /// `remoteIp`, `destinationIp`, `destinationPort`, `sni`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["har", "curl"])]
    request: Option<PathBuf>,
    /// A HAR file with the request.
    #[arg(long, value_name = "FILE", conflicts_with = "curl")]
    har: Option<PathBuf>,
    /// Which entry of the HAR file, counted from 1.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "har")]
    entry: usize,
    /// A file with a token, or the token, which is sent as `authorization: Bearer`; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The key set of an issuer, or the one that is at an address.
    #[arg(long, value_name = "ISSUER_OR_URI=FILE", value_parser = last_pair)]
    keys: Vec<(String, String)>,
    /// Fetch the other key sets from where they are.
    #[arg(long)]
    fetch: bool,
    /// When: seconds since 1970, or a time such as 2026-01-31T12:00:00Z. Default: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<u64>,
    /// The identity in the client's certificate.
    #[arg(long, value_name = "SPIFFE-ID", value_parser = peer)]
    peer: Option<String>,
    /// The address of the TCP peer.
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,
    /// The address of the client as trusted proxies report it.
    #[arg(long, value_name = "IP")]
    remote_ip: Option<IpAddr>,
    /// The port on which the request arrives.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    destination_port: Option<u16>,
    /// The name that the client asks for in its TLS hello.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// What a service answers that a CUSTOM policy asks: `allow` or `deny`.
    #[arg(long = "check", value_name = "NAME=ANSWER", value_parser = answer)]
    checks: Vec<(String, bool)>,
    /// Show every rule, not just those that decided and the nearest three of a stage.
    #[arg(long)]
    all: bool,
    /// Show every claim of tokens, not just those that rules and policies look at.
    #[arg(long)]
    claims: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The request, as for curl.
    #[arg(last = true, value_name = "CURL")]
    curl: Vec<String>,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A tree, for a terminal.
    #[default]
    Human,
    /// An object.
    Json,
}

fn last_pair(text: &str) -> Result<(String, String), String> {
    let (name, file) = text.rsplit_once('=').ok_or("there is no `=` in it")?;
    Ok((name.to_owned(), file.to_owned()))
}

fn answer(text: &str) -> Result<(String, bool), String> {
    match pair(text)? {
        (name, answer) if answer == "allow" => Ok((name, true)),
        (name, answer) if answer == "deny" => Ok((name, false)),
        _ => Err("write `allow` or `deny` behind the `=`".to_owned()),
    }
}

fn peer(text: &str) -> Result<String, String> {
    match text.starts_with("spiffe://") {
        true => Ok(text.to_owned()),
        false => Err(
            "an identity begins with `spiffe://`, as in spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT"
                .to_owned(),
        ),
    }
}

fn time(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(|error| error.to_string())?;
    seconds(time).ok_or_else(|| "that is before 1970".to_owned())
}

fn seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// What time it is, in seconds since the Unix epoch.
pub(super) fn now() -> Result<u64, Failure> {
    seconds(SystemTime::now()).ok_or_else(|| Failure("the clock is before 1970".to_owned()))
}

impl Explain {
    pub(super) fn run(&self) -> Result<Status, Failure> {
        let is_address = |file: &&PathBuf| file.to_string_lossy().contains("://");
        if let Some(file) = self.files.iter().find(is_address) {
            return Err(Failure(format!(
                "{} is no file: write the request behind `--`, as for curl",
                shown::path(file)
            )));
        }
        let mut tally = Tally::default();
        let mut configuration = Configuration::read(&self.files, &self.workload, &mut tally)?;
        let guessed = configuration.guess()?;
        let policy = configuration.compile()?;
        let written = self.written()?;
        let request = written.request();
        let now = self.now.map_or_else(now, Ok)?;
        let outside = Given::new(self, &policy)?;
        let decision = decide(&policy, &request, &written, now, &outside)?;
        let told = told::Told {
            policy: &policy,
            request: &request,
            decision: &decision,
            now,
            elsewhere: configuration.elsewhere(),
            guessed,
            places: configuration.places(),
            shows: told::Shows {
                all_rules: self.all,
                all_claims: self.claims,
            },
        };
        match self.format {
            Format::Human => super::print(&told.tree().for_terminal())?,
            Format::Json => super::print(&(shown::json(&told.json()) + "\n"))?,
        }
        super::tell(&tally.to_string());
        match &decision.explanation.outcome {
            Outcome::Forward(..) => Ok(Status::Right),
            Outcome::Refuse(..) => Ok(Status::Wrong),
            Outcome::Ask(check) => Err(Failure(format!(
                "what `{0}` answers isn't known: assume it with --check '{0}=allow'",
                check.provider
            ))),
            Outcome::Await(ids) => {
                let issuers: Vec<&str> = ids.iter().map(|id| policy.names.issuer(*id)).collect();
                let first = issuers.first().copied().unwrap_or_default();
                Err(Failure(format!(
                    "keys are needed of {}: give them with --keys '{first}=FILE', or let them be \
                     fetched with --fetch",
                    issuers.join(", ")
                )))
            }
        }
    }

    fn written(&self) -> Result<Written, Failure> {
        let mut written = match (&self.request, &self.har) {
            (Some(path), _) => from_json(path)?,
            (None, Some(path)) => from_har(path, self.entry)?,
            (None, None) => curl::parse(&self.curl)?,
        };
        if let Some(path) = &self.token {
            // Somebody who has the token rather than a file with it means the same.
            let given = path.to_string_lossy();
            let text = match shown::is_token(&Pasted::new(&given).token) && !path.exists() {
                true => given.into_owned(),
                false => Source::read(path)?.text,
            };
            let Pasted { token, notes } = Pasted::new(&text);
            notes.iter().for_each(|note| super::tell(note));
            written.header("authorization", &format!("Bearer {token}"));
        }
        let facts = self;
        written.peer = facts.peer.clone().or(written.peer);
        written.sni = facts.sni.clone().or(written.sni);
        written.source_ip = facts.source_ip.map(Ip).or(written.source_ip);
        written.remote_ip = facts.remote_ip.map(Ip).or(written.remote_ip);
        let port = facts.destination_port.map(PortNumber);
        written.destination_port = port.or(written.destination_port);
        Ok(written)
    }
}

/// A document of JSON.
fn document(path: &Path) -> Result<Value, Failure> {
    let source = Source::read(path)?;
    json::parse(source.text.as_bytes())
        .map_err(|error| Failure(format!("{}: not JSON: {error}", source.name)))
}

fn from_json(path: &Path) -> Result<Written, Failure> {
    let document = document(path)?;
    let report = Report::default();
    let read = Written::read(&Input::root(&document, &report));
    let read = report.into_result(read);
    let refused = |mistakes: Mistakes| Failure(format!("{}: {mistakes}", shown::path(path)));
    read.map(|(written, _)| written).map_err(refused)
}

/// A request as browsers save it (HAR 1.2). The pseudo-headers that some write follow from the rest.
fn from_har(path: &Path, entry: usize) -> Result<Written, Failure> {
    let document = document(path)?;
    let request = (document.get("log"))
        .and_then(|log| {
            log.get("entries")?
                .get(entry.wrapping_sub(1))?
                .get("request")
        })
        .ok_or_else(|| Failure(format!("{}: there is no entry {entry}", shown::path(path))))?;
    let text = |value: &Value, name: &str| value.get(name)?.as_str().map(str::to_owned);
    let mut written = Written {
        method: text(request, "method"),
        ..Written::default()
    };
    let url = text(request, "url").unwrap_or_default();
    written.address(&url).map_err(Failure)?;
    let headers = request.get("headers").and_then(Value::as_array);
    for header in headers.into_iter().flatten() {
        if let (Some(name), Some(value)) = (text(header, "name"), text(header, "value"))
            && !name.starts_with(':')
        {
            written.header(&name, &value);
        }
    }
    Ok(written)
}

/// What was given on the command line, and the network where that is wanted.
struct Given<'a> {
    keys: Vec<GivenKeys<'a>>,
    checks: &'a [(String, bool)],
    fetcher: Option<Fetcher>,
}

/// A key set in a file.
struct GivenKeys<'a> {
    name: &'a str,
    /// The sets of the policy that this stands for.
    ids: Vec<KeySetId>,
    text: Vec<u8>,
}

impl<'a> Given<'a> {
    fn new(explain: &'a Explain, policy: &Policy) -> Result<Self, Failure> {
        let read = |(name, file): &'a (String, String)| {
            let ids = key_sets(name, policy);
            // Where an issuer's metadata lead is known once they are fetched.
            let is_told = |set: &Rc<KeySetSource>| matches!(set.origin, Origin::Discovered { .. });
            let may_be_told = explain.fetch && policy.key_sets().iter().any(is_told);
            if ids.is_empty() && !may_be_told {
                return Err(unknown_keys(name, policy));
            }
            Ok(GivenKeys {
                name,
                ids,
                text: Source::read(Path::new(file))?.text.into_bytes(),
            })
        };
        let services: Vec<&str> = policy.checks.iter().map(|(name, _)| name).collect();
        let mut checks = explain.checks.iter().map(|(name, _)| name);
        if let Some(unknown) = checks.find(|name| !services.contains(&name.as_str())) {
            return Err(Failure(format!(
                "--check {unknown}=...: no CUSTOM policy that applies here asks `{unknown}`{}",
                among(&services)
            )));
        }
        Ok(Self {
            keys: explain.keys.iter().map(read).collect::<Result<_, _>>()?,
            checks: &explain.checks,
            fetcher: explain.fetch.then(Fetcher::default),
        })
    }
}

/// The key sets that are of this issuer, or at this address.
fn key_sets(name: &str, policy: &Policy) -> Vec<KeySetId> {
    let of_issuer = policy.authentication.key_sets();
    let of_issuer = of_issuer.filter(|(issuer, _)| *issuer == Some(name));
    let sets = (0..).map(KeySetId).zip(policy.key_sets());
    let at = sets.filter(|(_, set)| set.first().uri() == name);
    of_issuer
        .map(|(_, id)| id)
        .chain(at.map(|(id, _)| id))
        .collect()
}

fn unknown_keys(name: &str, policy: &Policy) -> Failure {
    if policy.authentication.issuers().any(|issuer| issuer == name) {
        return Failure(format!(
            "--keys {name}=...: the keys of this issuer stand in the configuration, and no others are taken"
        ));
    }
    let issuers = policy
        .authentication
        .key_sets()
        .filter_map(|(issuer, _)| issuer);
    let uris: Vec<String> = policy
        .key_sets()
        .iter()
        .map(|set| set.first().uri())
        .collect();
    let mut names: Vec<&str> = issuers.chain(uris.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let slash = |other: &&str| other.trim_end_matches('/') == name.trim_end_matches('/');
    let near = match names.iter().copied().find(slash) {
        Some(near) => format!("; there is `{near}`, which differs in a slash at the end"),
        None => among(&names),
    };
    Failure(format!(
        "--keys {name}=...: no rule takes tokens of such an issuer or keys from such an address{near}"
    ))
}

fn among(names: &[&str]) -> String {
    match names.is_empty() {
        true => String::new(),
        false => format!("; there are {}", names.join(", ")),
    }
}

impl Outside for Given<'_> {
    fn keys(&self, wanted: &Wanted<'_>) -> Option<Result<Vec<u8>, FetchError>> {
        let uri = wanted.fetch.uri();
        let named = |keys: &&GivenKeys<'_>| keys.name == uri || keys.ids.contains(&wanted.id);
        match self.keys.iter().find(named) {
            Some(_) if wanted.is_metadata => Some(Ok(metadata(wanted))),
            Some(keys) => Some(Ok(keys.text.clone())),
            None => Some(self.fetcher.as_ref()?.get(&wanted.fetch)),
        }
    }

    fn check(&self, service: &str) -> Option<bool> {
        let known = self.checks.iter().find(|(name, _)| name == service);
        known.map(|(_, passes)| *passes)
    }
}
