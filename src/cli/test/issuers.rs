//! Keys in the place of the issuers' own, and tokens that are signed with them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::suite::Token;
use crate::cli::Failure;
use crate::cli::throwaway::Key;

/// How long a token lives that doesn't say, in seconds.
const LIFE: u64 = 3600;

/// Every issuer that a configuration names, with a key of its own; for a rule that takes any, the address
/// of its keys.
pub(super) struct Issuers {
    keys: BTreeMap<String, Key>,
    /// Nobody verifies with this one.
    stranger: Key,
}

impl Issuers {
    /// Gives each issuer a key, and writes its public part into the configuration.
    pub(super) fn of(document: &mut Value) -> Result<Self, Failure> {
        let mut issuers = Self {
            keys: BTreeMap::new(),
            stranger: Key::throwaway("stranger")?,
        };
        issuers.replace(document)?;
        Ok(issuers)
    }

    fn replace(&mut self, value: &mut Value) -> Result<(), Failure> {
        match value {
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.replace(item)),
            Value::Object(members) => members.iter_mut().try_for_each(|(name, member)| {
                match (name.as_str(), &mut *member) {
                    ("jwtRules" | "jwt_rules", Value::Array(rules)) => {
                        rules.iter_mut().try_for_each(|rule| self.rule(rule))
                    }
                    ("jwt", rule) => self.rule(rule),
                    _ => self.replace(member),
                }
            }),
            _ => Ok(()),
        }
    }

    /// A rule for any issuer is served the keys where it fetches its own.
    fn rule(&mut self, rule: &mut Value) -> Result<(), Failure> {
        let Some(members) = rule.as_object_mut() else {
            return Ok(());
        };
        let text = |name| members.get(name)?.as_str().filter(|text| !text.is_empty());
        let issuer = text("issuer").map(str::to_owned);
        let uri = text("jwksUri").or(text("jwks_uri")).map(str::to_owned);
        let Some(name) = issuer.clone().or(uri) else {
            return Ok(());
        };
        if !self.keys.contains_key(&name) {
            self.keys.insert(name.clone(), Key::throwaway(&name)?);
        }
        if issuer.is_some() {
            let keys = self.keys.get(&name).map(Key::public);
            members.retain(|name, _| !["jwksUri", "jwks_uri"].contains(&name.as_str()));
            members.insert(
                "jwks".to_owned(),
                json!({ "keys": [keys] }).to_string().into(),
            );
        }
        Ok(())
    }

    /// The key set of all issuers.
    pub(super) fn all(&self) -> String {
        let keys: Vec<Value> = self.keys.values().map(Key::public).collect();
        json!({ "keys": keys }).to_string()
    }

    /// The token that is described. One of an issuer that the configuration doesn't name is signed with
    /// a key that it doesn't know.
    pub(super) fn token(&self, token: &Token, now: u64) -> Result<String, Failure> {
        if let Some(literal) = &token.literal {
            return Ok(literal.clone());
        }
        let mut claims = token.claims.0.clone();
        if !claims.contains_key("exp") {
            claims.insert("exp".to_owned(), (now + LIFE).into());
        }
        for name in ["exp", "iat", "nbf"] {
            if let Some(Value::String(text)) = claims.get(name) {
                let time = time(text, now).ok_or_else(|| {
                    let name = &token.name;
                    Failure(format!(
                        "the token `{name}`: `{text}` is no time: write `now-60`"
                    ))
                })?;
                claims.insert(name.to_owned(), time.into());
            }
        }
        claims.retain(|_, value| !value.is_null());
        let own = claims.get("iss").and_then(Value::as_str);
        let signer = token.signed_by.as_deref().or(own);
        let key = signer.and_then(|issuer| self.keys.get(issuer));
        let key = key.unwrap_or(&self.stranger);
        let mut text = key.token(&Value::Object(claims), &token.header.0);
        if token.tampered {
            // The first character of a signature is all signature, unlike the last.
            let start = text.rfind('.').map_or(0, |dot| dot + 1);
            let other = if text.get(start..=start) == Some("A") {
                "B"
            } else {
                "A"
            };
            text.replace_range(start..=start, other);
        }
        Ok(text)
    }
}

/// `now`, `now+60`, `now-60`.
fn time(text: &str, now: u64) -> Option<u64> {
    let rest = text.strip_prefix("now")?;
    match rest.split_at_checked(1) {
        None => Some(now),
        Some(("+", seconds)) => now.checked_add(seconds.parse().ok()?),
        Some(("-", seconds)) => now.checked_sub(seconds.parse().ok()?),
        Some(_) => None,
    }
}
