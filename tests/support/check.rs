//! Compares what happened with what was expected, and keeps count.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::{members, status, strings, text};
use super::{from_bytes, to_bytes};

/// Header lines.
pub type Lines = Vec<(String, Vec<u8>)>;

/// What became of a request, as far as a tier can see it.
#[derive(Debug, Default)]
pub struct Observed {
    pub status: u16,
    pub body: String,
    pub headers: Vec<(String, String)>,
    /// The headers, pseudo headers among them, with which it reached the upstream.
    pub upstream: Option<Vec<(String, Vec<u8>)>>,
    /// Why it was refused, and by which policy.
    pub decision: Option<(String, Option<String>)>,
    /// What services were asked about it, each time the headers that they got.
    pub asked: Option<Vec<Lines>>,
    /// What filter state tells, by the name behind `wasm.portcullis.`.
    pub filter_state: Option<BTreeMap<String, String>>,
}

impl Observed {
    pub fn forwarded(headers: Vec<(String, Vec<u8>)>) -> Self {
        Self {
            status: 200,
            upstream: Some(headers),
            ..Self::default()
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn upstream(&self, name: &str) -> Vec<&[u8]> {
        lines_of(self.upstream.as_deref().unwrap_or_default(), name)
    }
}

fn lines_of<'h>(headers: &'h [(String, Vec<u8>)], name: &str) -> Vec<&'h [u8]> {
    let lines = headers.iter();
    let lines = lines.filter(|(header, _)| header.eq_ignore_ascii_case(name));
    lines.map(|(_, value)| value.as_slice()).collect()
}

/// Every point in which what happened is not what was expected.
pub fn differences(expect: &Value, observed: &Observed) -> Vec<String> {
    if let Some(refused) = expect.get("refused") {
        return vec![format!("loaded: expected {refused}")];
    }
    let expect = members(
        expect,
        "expect",
        &[
            "status",
            "body",
            "www_authenticate",
            "reason",
            "policy",
            "grpc_status",
            "filter_state",
            "asked",
            "answer_headers",
            "upstream_headers",
            "upstream_path",
        ],
    );
    let mut found = Vec::new();
    let mut differ = |what: &str, expected: &Value, got: String| {
        found.push(format!("{what}: expected {expected}, got {got}"));
    };

    let statuses = &expect["status"];
    let allowed = match statuses.as_array() {
        Some(list) => list.iter().map(status).collect(),
        None => vec![status(statuses)],
    };
    if !allowed.contains(&observed.status) {
        differ(
            "status",
            statuses,
            format!("{} {:?}", observed.status, observed.body),
        );
    } else if (observed.status == 200 && expect.get("grpc_status").is_none())
        != observed.upstream.is_some()
    {
        differ(
            "status",
            statuses,
            format!("reached the upstream: {:?}", observed.upstream),
        );
    }
    if let Some(body) = expect
        .get("body")
        .filter(|body| text(body) != observed.body)
    {
        differ("body", body, format!("{:?}", observed.body));
    }
    if let Some(challenge) = expect.get("www_authenticate") {
        let got = observed.header("www-authenticate");
        if got != challenge.as_str() {
            differ("www-authenticate", challenge, format!("{got:?}"));
        }
    }
    if let Some(status) = expect.get("grpc_status") {
        let got = observed.header("grpc-status");
        if got != Some(&status.to_string()) {
            differ("grpc-status", status, format!("{got:?}"));
        }
    }
    if let (Some(expected), Some(got)) = (expect.get("filter_state"), &observed.filter_state)
        && *expected != serde_json::json!(got)
    {
        differ("filter state", expected, format!("{got:?}"));
    }
    if let (Some(expected), Some(got)) = (expect.get("asked"), &observed.asked) {
        let expected = expected.as_array().expect("asked is a list");
        if expected.len() != got.len() {
            differ("asked", &expected.len().into(), format!("{}", got.len()));
        }
        for (expected, got) in expected.iter().zip(got) {
            for (name, expected) in expected.as_object().expect("an object") {
                let got = lines_of(got, name);
                if !lines_agree(expected, &got) {
                    differ(&format!("asked with {name}"), expected, readable(&got));
                }
            }
        }
    }
    for (name, expected) in expect
        .get("answer_headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let got = observed.headers.iter();
        let got = got.filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let got: Vec<Vec<u8>> = got.map(|(_, value)| to_bytes(value)).collect();
        let got: Vec<&[u8]> = got.iter().map(Vec::as_slice).collect();
        if !lines_agree(expected, &got) {
            differ(&format!("answer header {name}"), expected, readable(&got));
        }
    }
    if let Some((reason, policy)) = &observed.decision {
        if let Some(expected) = expect.get("reason").filter(|expected| *expected != reason) {
            differ("reason", expected, reason.clone());
        }
        if let Some(expected) = expect
            .get("policy")
            .filter(|e| e.as_str() != policy.as_deref())
        {
            differ("policy", expected, format!("{policy:?}"));
        }
    }
    if observed.upstream.is_none() {
        return found;
    }
    if let Some(path) = expect.get("upstream_path")
        && observed.upstream(":path") != [to_bytes(text(path))]
    {
        differ("upstream path", path, readable(&observed.upstream(":path")));
    }
    for (name, expected) in expect
        .get("upstream_headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let got = observed.upstream(name);
        if !lines_agree(expected, &got) {
            differ(&format!("upstream header {name}"), expected, readable(&got));
        }
    }
    found
}

/// The same for a configuration that was refused with these mistakes.
pub fn refusal(expect: &Value, mistakes: &str) -> Vec<String> {
    match expect.get("refused").map(text) {
        Some(expected) if mistakes.contains(expected) => Vec::new(),
        Some(expected) => vec![format!("refused: expected {expected:?}, got {mistakes:?}")],
        None => vec![format!("refused: {mistakes}")],
    }
}

fn lines_agree(expected: &Value, got: &[&[u8]]) -> bool {
    let lines = match expected {
        Value::Null => Vec::new(),
        Value::String(line) => vec![line.clone()],
        list => strings(Some(list)),
    };
    lines.len() == got.len()
        && lines
            .iter()
            .zip(got)
            .all(|(line, got)| *got == to_bytes(line) || *got == line.as_bytes())
}

fn readable(lines: &[&[u8]]) -> String {
    format!(
        "{:?}",
        lines
            .iter()
            .map(|line| from_bytes(line))
            .collect::<Vec<_>>()
    )
}
