//! Where the tests of Envoy's extractor find tokens.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::config::text::HeaderName;
use crate::vectors::{Tally, list, load, text};

/// Vectors that leave the choice, for which issuers what is found instead, and why.
const CHOICES: [(&str, &[&str], &str, &str); 3] = [
    (
        "envoy-extract-TestPrefixHeaderFlexibleMatch1",
        &["issuer7"],
        "preamble CCCDDD=jwt_token,extra=more",
        "a prefix stands at the start: the whole is no token",
    ),
    (
        "envoy-extract-TestPrefixHeaderFlexibleMatch2",
        &["issuer7"],
        "=\"and0X3Rva2Vu\",comment=\"fish tag\"",
        "only spaces are skipped after a prefix",
    ),
    (
        "envoy-extract-TestPrefixHeaderFlexibleMatch3",
        &["issuer7", "issuer8"],
        "creds={\"authLevel\": \"20\", \"CCCDDD\": \"and0X3Rva2Vu\"}",
        "a prefix stands at the start: the whole is no token",
    ),
];

#[test]
fn tokens() {
    let mut tally = Tally::default();
    for vector in load(&[("envoy/extractor.json", 12)], &mut tally) {
        let id = text(&vector["id"]);
        let headers = list(&vector["request_headers"]);
        let headers = headers.map(|header| {
            let name = text(&header[0]).to_ascii_lowercase();
            (name, text(&header[1]).as_bytes().to_vec())
        });
        let request = Request::new(headers.collect());
        let providers = match vector["config"].get("providers") {
            Some(providers) => providers,
            None => &vector["group"]["configs"][text(&vector["config"])]["providers"],
        };
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for provider in providers.as_object().expect("providers").values() {
            for token in locations(provider).find_in(&request) {
                let token = String::from_utf8_lossy(&token.text).into_owned();
                let issuer = text(&provider["issuer"]).to_owned();
                found.entry(issuer).or_default().push(token);
            }
        }
        tally.check(id, expected(&vector), found);
    }
    tally.finish("Envoy, locations of tokens");
}

/// The tokens by the issuers that may have made them.
fn expected(vector: &Value) -> BTreeMap<String, Vec<String>> {
    let id = text(&vector["id"]);
    let mut tokens: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |issuer: &str, token: &str| {
        tokens
            .entry(issuer.to_owned())
            .or_default()
            .push(token.to_owned());
    };
    match CHOICES.iter().find(|(choice, ..)| *choice == id) {
        Some((_, issuers, found, _)) => issuers.iter().for_each(|issuer| add(issuer, found)),
        None => {
            for token in list(&vector["expected_tokens"]) {
                // Nobody said where there is one issuer only.
                let issuers = match token["allowed_issuers"].is_null() {
                    true => &json!(["foo"]),
                    false => &token["allowed_issuers"],
                };
                list(issuers).for_each(|issuer| add(text(issuer), text(&token["token"])));
            }
        }
    }
    tokens
}

fn locations(provider: &Value) -> Locations {
    let names = |member: &str| {
        list(&provider[member])
            .map(|name| Text(text(name).to_owned()))
            .collect()
    };
    let headers = list(&provider["from_headers"]);
    let headers = headers.map(|header| HeaderLocation {
        name: HeaderName(text(&header["name"]).to_owned()),
        prefix: header["value_prefix"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    });
    Locations::new(
        headers.collect(),
        names("from_params"),
        names("from_cookies"),
    )
}
