//! Placeholders: `${now+60}`, `${keys.NAME}`, `${token}`, `${token.payload}`, `${token.pct}`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::mint;

/// What placeholders can name.
#[derive(Default)]
pub struct Scope {
    pub keys: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, Value>,
}

impl Scope {
    /// Fills in every placeholder of a document; a string that is nothing but a time becomes a
    /// number.
    pub fn expand_value(&self, value: &Value, now: u64) -> Value {
        match value {
            Value::String(text) => match placeholder(text).and_then(|name| time(name, now)) {
                Some(seconds) => seconds.into(),
                None => self.expand(text, now).into(),
            },
            Value::Array(list) => list
                .iter()
                .map(|item| self.expand_value(item, now))
                .collect(),
            Value::Object(map) => map
                .iter()
                .map(|(name, item)| (name.clone(), self.expand_value(item, now)))
                .collect(),
            other => other.clone(),
        }
    }

    pub fn expand(&self, text: &str, now: u64) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let end = rest[start..]
                .find('}')
                .unwrap_or_else(|| panic!("{text}: no }}"));
            out.push_str(&rest[..start]);
            out.push_str(&self.lookup(&rest[start + 2..start + end], now));
            rest = &rest[start + end + 1..];
        }
        out + rest
    }

    fn lookup(&self, name: &str, now: u64) -> String {
        if let Some(seconds) = time(name, now) {
            return seconds.to_string();
        }
        if let Some(set) = name.strip_prefix("keys.") {
            return self
                .keys
                .get(set)
                .unwrap_or_else(|| panic!("no key set {set}"))
                .clone();
        }
        if let Some(spec) = self.tokens.get(name) {
            return mint::token(&self.expand_value(spec, now));
        }
        let (token, part) = name
            .rsplit_once('.')
            .unwrap_or_else(|| panic!("no token {name}"));
        let spec = self
            .tokens
            .get(token)
            .unwrap_or_else(|| panic!("no token {token}"));
        let token = mint::token(&self.expand_value(spec, now));
        match part {
            "payload" | "payload_b64url" => token
                .split('.')
                .nth(1)
                .expect("a token with a payload")
                .to_owned(),
            "pct" => token.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            _ => panic!("{name}: a token has no {part}"),
        }
    }
}

fn placeholder(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}')
}

fn time(name: &str, now: u64) -> Option<u64> {
    let offset = name.strip_prefix("now")?;
    if offset.is_empty() {
        return Some(now);
    }
    now.checked_add_signed(offset.parse().ok()?)
}
