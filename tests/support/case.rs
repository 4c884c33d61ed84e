//! The case format: keys, key-set servers, configurations, tokens, and requests with what is
//! expected of them. `tests/cases/README.md` describes it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::expand::Scope;
use super::mint;
use super::peer::{Ahead, Given, Peer};

/// One file of cases.
pub struct Suite {
    pub name: String,
    /// Where set, the cases are about exact times and run only where the clock can be set.
    pub clock: Option<u64>,
    pub cases: Vec<Case>,
    configs: BTreeMap<String, Value>,
    pub servers: BTreeMap<String, Answer>,
    scope: Scope,
}

/// A request and what is expected of it.
#[derive(Clone)]
pub struct Case {
    pub id: String,
    pub config: String,
    pub request: Value,
    pub expect: Value,
    pub oracle: Oracle,
    /// The tiers that run it; all where empty.
    pub tiers: Vec<String>,
    /// Seconds after the suite's clock at which the request is made.
    pub at: u64,
    /// Why no tier can run it.
    pub left_out: Option<&'static str>,
}

/// What native Envoy is expected to do with a case.
#[derive(Clone)]
pub enum Oracle {
    Agrees,
    Differs { expect: Value, reason: String },
    Skip(String),
}

/// What a key-set server answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub delay_ms: u64,
    pub fault: Option<Fault>,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// There is none: the connection is closed.
    Closed,
    /// The connection is closed in the middle of its body.
    Cut,
    /// Its header is longer than Envoy takes.
    Long,
}

impl Fault {
    fn of(text: &str) -> Self {
        match text {
            "closed" => Self::Closed,
            "cut" => Self::Cut,
            "long header" => Self::Long,
            _ => panic!("no fault of an answer: {text}"),
        }
    }
}

/// What is sent, when, and what is expected: of one moment, because tokens differ by the second.
pub struct Play {
    pub now: u64,
    pub request: Request,
    pub expect: Value,
}

/// A request with its tokens minted.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: Option<String>,
    pub authority: Option<String>,
    pub headers: Vec<(String, String)>,
    pub remote_ip: Option<String>,
    /// Where a tier has a connection. Otherwise it's HTTP/1.1.
    pub http2: bool,
    pub peer: Peer,
    pub ahead: Ahead,
    /// Envoy's names of what the host refuses to tell.
    pub untold: Vec<String>,
}

impl Suite {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            clock: None,
            cases: Vec::new(),
            configs: BTreeMap::new(),
            servers: BTreeMap::new(),
            scope: Scope::default(),
        }
    }

    /// A file of `tests/cases`.
    pub fn load(path: &str) -> Self {
        Self::parse(path, &super::read_json(path))
    }

    /// All files of `tests/cases`, by name.
    pub fn all() -> Vec<Self> {
        let folder = super::project("tests/cases");
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a readable folder").file_name())
            .map(|name| name.into_string().expect("a UTF-8 file name"))
            .filter(|name| name.ends_with(".json"))
            .collect();
        names.sort();
        names
            .iter()
            .map(|name| Self::load(&format!("tests/cases/{name}")))
            .collect()
    }

    fn parse(path: &str, file: &Value) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut suite = Self::new(name.trim_end_matches(".json"));
        let file = members(
            file,
            path,
            &[
                "about",
                "now",
                "keys",
                "jwks_server",
                "configs",
                "tokens",
                "cases",
            ],
        );
        suite.clock = file
            .get("now")
            .map(|now| now.as_u64().expect("now is a time"));
        for (name, keys) in object(file.get("keys")) {
            suite.add_keys(name, mint::public_set(keys));
        }
        for (name, token) in object(file.get("tokens")) {
            suite.add_token(name, token.clone());
        }
        for (uri, answer) in object(file.get("jwks_server")) {
            suite.add_server(uri, answer);
        }
        for (name, config) in object(file.get("configs")) {
            suite.add_config(name, config.clone());
        }
        for case in file["cases"].as_array().expect("cases is a list") {
            suite.cases.push(Case::parse(case));
        }
        for case in &suite.cases {
            assert!(
                suite.configs.contains_key(&case.config),
                "{path}: {}: no config {}",
                case.id,
                case.config
            );
        }
        suite
    }

    pub fn add_keys(&mut self, name: &str, set: String) {
        self.scope.keys.insert(name.to_owned(), set);
    }

    pub fn add_token(&mut self, name: &str, token: Value) {
        self.scope.tokens.insert(name.to_owned(), token);
    }

    /// Adds an answer: the name of a key set, or an object that says `set`, `body`, `times`, `status`,
    /// `headers`, `delay_ms`, `fault`.
    pub fn add_server(&mut self, uri: &str, answer: &Value) {
        let answer = if answer.is_string() {
            json!({ "set": answer })
        } else {
            answer.clone()
        };
        let answer = members(
            &answer,
            uri,
            &[
                "set", "body", "times", "status", "headers", "delay_ms", "fault",
            ],
        );
        let body = match (answer.get("set"), answer.get("body")) {
            (Some(set), _) => self.scope.expand(&format!("${{keys.{}}}", text(set)), 0),
            (None, Some(body)) => text(body).to_owned(),
            (None, None) => String::new(),
        };
        let times = answer
            .get("times")
            .map_or(1, |times| times.as_u64().expect("times"));
        let body = body.repeat(usize::try_from(times).expect("a number of times"));
        let answer = Answer {
            status: answer.get("status").map_or(200, status),
            headers: pairs(answer.get("headers"))
                .into_iter()
                .map(|(name, value)| (name, self.scope.expand(&value, self.time())))
                .collect(),
            body,
            delay_ms: answer
                .get("delay_ms")
                .map_or(0, |ms| ms.as_u64().expect("delay_ms")),
            fault: answer.get("fault").map(|fault| Fault::of(text(fault))),
        };
        self.servers.insert(server_key(uri), answer);
    }

    /// Adds a configuration. Every host is reached through the cluster `jwks`, unless it says
    /// otherwise.
    pub fn add_config(&mut self, name: &str, mut config: Value) {
        if config.get("jwks").is_none() && config.to_string().contains("\"jwksUri\"") {
            config["jwks"] = json!({ "cluster": "jwks" });
        }
        self.configs.insert(name.to_owned(), config);
    }

    pub fn case(&self, id: &str) -> &Case {
        self.cases
            .iter()
            .find(|case| case.id == id)
            .unwrap_or_else(|| panic!("no case {id}"))
    }

    pub fn has_config(&self, name: &str) -> bool {
        self.configs.contains_key(name)
    }

    /// The configuration of a case, its placeholders filled in.
    pub fn config(&self, case: &Case) -> Value {
        self.scope
            .expand_value(&self.configs[&case.config], self.time())
    }

    /// A case and one of its expectations at one moment, its tokens minted.
    pub fn play(&self, case: &Case, expect: &Value) -> Play {
        let time = self.time();
        Play {
            now: time + case.at,
            request: Request::parse(&self.scope.expand_value(&case.request, time)),
            expect: self.scope.expand_value(expect, time),
        }
    }

    /// Text with placeholders, for tests that are not rows.
    pub fn expand(&self, text: &str) -> String {
        self.scope.expand(text, self.time())
    }

    fn time(&self) -> u64 {
        self.clock.unwrap_or_else(super::now)
    }
}

impl Case {
    /// Where its request comes from, and what filters ahead of us tell.
    pub fn connection(&self) -> (Peer, Ahead) {
        let part = |name: &str| self.request.get(name);
        (Peer::parse(part("peer")), Ahead::parse(part("ahead")))
    }

    pub fn new(id: &str, config: &str, request: Value, expect: Value) -> Self {
        Self {
            id: id.to_owned(),
            config: config.to_owned(),
            request,
            expect,
            oracle: Oracle::Agrees,
            tiers: Vec::new(),
            at: 0,
            left_out: None,
        }
    }

    fn parse(case: &Value) -> Self {
        let id = text(&case["id"]);
        let case = members(
            case,
            id,
            &[
                "id", "config", "request", "expect", "oracle", "tiers", "at", "note",
            ],
        );
        let mut parsed = Self::new(
            id,
            text(&case["config"]),
            case["request"].clone(),
            case["expect"].clone(),
        );
        parsed.oracle = case
            .get("oracle")
            .map_or(Oracle::Agrees, |o| Oracle::parse(id, o));
        parsed.tiers = strings(case.get("tiers"));
        parsed.at = case
            .get("at")
            .map_or(0, |at| at.as_u64().expect("at is seconds"));
        parsed
    }

    pub fn runs_in(&self, tier: &str) -> bool {
        self.tiers.is_empty() || self.tiers.iter().any(|name| name == tier)
    }
}

impl Oracle {
    fn parse(id: &str, oracle: &Value) -> Self {
        let oracle = members(oracle, id, &["differs", "reason", "skip"]);
        match (oracle.get("differs"), oracle.get("skip")) {
            (Some(expect), None) => Self::Differs {
                expect: expect.clone(),
                reason: text(&oracle["reason"]).to_owned(),
            },
            (None, Some(reason)) => Self::Skip(text(reason).to_owned()),
            _ => panic!("{id}: an oracle either differs or is skipped"),
        }
    }
}

impl Request {
    pub fn parse(request: &Value) -> Self {
        let what = request.to_string();
        let request = members(
            request,
            &what,
            &[
                "method",
                "path",
                "authority",
                "headers",
                "remote_ip",
                "protocol",
                "peer",
                "ahead",
                "untold",
            ],
        );
        let (http2, grpc) = match request.get("protocol").map_or("HTTP", text) {
            "HTTP" => (false, false),
            "HTTP2" => (true, false),
            "GRPC" => (true, true),
            other => panic!("{what}: unknown protocol {other}"),
        };
        let optional = |name: &str, default: &str| match request.get(name) {
            None => Some(default.to_owned()),
            Some(Value::Null) => None,
            Some(value) => Some(text(value).to_owned()),
        };
        let mut headers: Vec<_> = match request.get("headers") {
            None => Vec::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| (name.clone(), text(value).to_owned()))
                .collect(),
            Some(list) => list
                .as_array()
                .expect("headers is a list or an object")
                .iter()
                .map(|pair| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned()))
                .collect(),
        };
        if grpc && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/grpc".to_owned()));
        }
        let default_method = if grpc { "POST" } else { "GET" };
        Self {
            method: request
                .get("method")
                .map_or(default_method, text)
                .to_owned(),
            path: optional("path", "/"),
            authority: optional("authority", "b"),
            headers,
            remote_ip: request.get("remote_ip").map(|ip| text(ip).to_owned()),
            http2,
            peer: Peer::parse(request.get("peer")),
            ahead: Ahead::parse(request.get("ahead")),
            untold: strings(request.get("untold")),
        }
    }

    /// What Envoy knows of it besides its header.
    pub fn given(&self) -> Given {
        let given = Given::new(&self.peer, &self.ahead, self.remote_ip.as_deref());
        given.without(&self.untold)
    }

    /// What a host hands to a filter: pseudo headers first, names in lower case.
    pub fn pairs(&self) -> Vec<(String, Vec<u8>)> {
        let pseudo = [
            (":authority", self.authority.as_deref()),
            (":path", self.path.as_deref()),
            (":method", Some(self.method.as_str())),
            (":scheme", Some("http")),
        ];
        pseudo
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), super::to_bytes(value?))))
            .chain(self.headers.iter().map(|(name, value)| {
                let value = match self.http2 {
                    true => value,
                    false => value.trim_matches([' ', '\t']),
                };
                (name.to_ascii_lowercase(), super::to_bytes(value))
            }))
            .collect()
    }
}

/// A key-set URI as its server sees it: without the scheme, and without a default port.
pub fn server_key(uri: &str) -> String {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.trim_end_matches(":80").trim_end_matches(":443");
    format!("{host}{}", if path.is_empty() { "/" } else { path })
}

/// The members of an object, of which none may be unknown: a misspelt expectation would never fail.
pub fn members<'a>(value: &'a Value, what: &str, known: &[&str]) -> &'a Map<String, Value> {
    let map = value
        .as_object()
        .unwrap_or_else(|| panic!("{what}: not an object"));
    for name in map.keys() {
        assert!(
            known.contains(&name.as_str()),
            "{what}: unknown member {name}"
        );
    }
    map
}

pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}

pub fn status(value: &Value) -> u16 {
    value
        .as_u64()
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or_else(|| panic!("{value} is not a status"))
}

pub fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .map(|list| list.iter().map(|item| text(item).to_owned()).collect())
        .unwrap_or_default()
}

/// Lines of a header, written as a list of pairs.
pub fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let pairs = value.and_then(Value::as_array).into_iter().flatten();
    let pair = |pair: &Value| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned());
    pairs.map(pair).collect()
}

fn object(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value
        .into_iter()
        .flat_map(|value| value.as_object().expect("an object"))
}
