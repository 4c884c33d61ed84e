//! Key sets (RFC 7517, or keys in PEM): what is in them, where they come from, and when they are fetched.

mod answer;
mod host;
mod key;
mod record;
mod source;
mod store;
mod uri;
#[cfg(test)]
mod vectors;

use std::fmt::Display;

use serde_json::Value;

pub(crate) use self::answer::MAX_BODY;
pub use self::answer::{Answer, FetchError};
pub(crate) use self::host::HostVerifier;
pub use self::host::VerifySignature;
use self::key::Unusable;
pub(crate) use self::key::{Algorithm, Key};
pub use self::source::Fetch;
pub(crate) use self::source::{ClusterMap, Fetching, KeySetSource, Origin};
pub(crate) use self::store::Lookup;
pub use self::store::{Fetched, KeySetId, KeyStore};
pub(crate) use self::uri::KeySetUri;
use crate::json;

/// How many keys a set may have: a token without a key ID is tried with every one that fits.
const MAX_KEYS: usize = 100;

const NO_KEY_SET: &str = "no key set: write {\"keys\": [...]}, or PEM";

/// The public keys of an issuer that this filter can use.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// What was left out, and why; for the log.
    warnings: Vec<String>,
}

impl KeySet {
    /// Reads a key set of the configuration: a JWK set, PEM blocks, or PEM blocks by key ID.
    ///
    /// Keys that can't be used are left out: providers publish keys for other purposes and of
    /// types yet to come (RFC 7517 section 5). So are shared secrets beside public keys, since
    /// then it isn't clear what is public (RFC 8725 section 3.1).
    ///
    /// # Errors
    ///
    /// What keeps the bytes from being a key set with at least one usable key.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let set = Self::read(bytes)?;
        match set.keys.iter().all(Key::is_secret) {
            true => set.usable(),
            false => set
                .without_secrets("it can't stand beside public keys")
                .usable(),
        }
    }

    /// Reads a key set that was fetched, which may hold no usable key. What anybody can fetch is no
    /// shared secret.
    ///
    /// # Errors
    ///
    /// What keeps the bytes from being a key set.
    pub(crate) fn parse_fetched(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self::read(bytes)?.without_secrets("it must be in the configuration"))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why there is no key in the set.
    pub(crate) fn emptiness(&self) -> String {
        match self.warnings.is_empty() {
            true => "the key set is empty".to_owned(),
            false => format!("no usable key: {}", self.warnings.join("; ")),
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        if key::holds_private_key(text) {
            return Err("it holds a private key: write the public one only".to_owned());
        }
        let mut set = Self {
            keys: Vec::new(),
            warnings: Vec::new(),
        };
        if key::is_pem(text) {
            for (index, block) in bounded(key::pem_blocks(text))?.into_iter().enumerate() {
                set.add(index, Key::from_pem(block, None));
            }
            return Ok(set);
        }
        let document = json::parse(bytes).map_err(|error| format!("not JSON: {error}"))?;
        if let Some(Value::Array(list)) = document.get("keys") {
            for (index, jwk) in bounded(list.iter())?.into_iter().enumerate() {
                let key = Key::parse(jwk);
                if key.is_ok() && has_private_part(jwk) {
                    set.warnings.push(format!(
                        "key {index} holds private key material; only the public part is used"
                    ));
                }
                set.add(index, key);
            }
            return Ok(set);
        }
        let by_id = pem_by_id(&document).ok_or(NO_KEY_SET)?;
        for (id, block) in bounded(by_id.into_iter())? {
            set.add(format_args!("{id:?}"), Key::from_pem(block, Some(id)));
        }
        Ok(set)
    }

    fn add(&mut self, name: impl Display, key: Result<Key, Unusable>) {
        match key {
            Ok(key) => self.keys.push(key),
            Err(Unusable(why)) => {
                self.warnings.push(format!("key {name} is left out: {why}"));
            }
        }
    }

    fn without_secrets(mut self, why: &str) -> Self {
        let count = self.keys.len();
        self.keys.retain(|key| !key.is_secret());
        for _ in self.keys.len()..count {
            self.warnings
                .push(format!("a shared secret is left out: {why}"));
        }
        self
    }

    fn usable(self) -> Result<Self, String> {
        match self.is_empty() {
            false => Ok(self),
            true => Err(self.emptiness()),
        }
    }

    /// The keys that may have signed a token with this header.
    pub(crate) fn candidates<'a>(
        &'a self,
        key_id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys
            .iter()
            .filter(move |key| key.suits(key_id, algorithm))
    }

    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn bounded<T>(keys: impl Iterator<Item = T>) -> Result<Vec<T>, String> {
    let keys: Vec<T> = keys.take(MAX_KEYS + 1).collect();
    match keys.len() {
        0..=MAX_KEYS => Ok(keys),
        _ => Err(format!("more than {MAX_KEYS} keys")),
    }
}

/// The form in which Google publishes its certificates: PEM blocks by key ID.
fn pem_by_id(document: &Value) -> Option<Vec<(&str, &str)>> {
    let members = document.as_object().filter(|members| !members.is_empty())?;
    let blocks = members.iter().map(|(id, block)| {
        let block = block.as_str().filter(|text| key::is_pem(text))?;
        Some((id.as_str(), block))
    });
    blocks.collect()
}

/// `d` in RFC 7518 sections 6.2.2 and 6.3.2 and RFC 8037 section 2, `priv` in
/// RFC 9964; in `oct` keys all is private.
fn has_private_part(jwk: &Value) -> bool {
    jwk.get("d").is_some() || jwk.get("priv").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn parse(text: &str) -> Result<KeySet, String> {
        KeySet::parse(text.as_bytes())
    }

    #[test]
    fn unusable_keys_are_left_out_with_a_word() {
        let set = parse(&format!(
            r#"{{"keys":[7,{{"kty":"new"}},{ED25519},{{"kty":"RSA","n":"!","e":"AQAB"}}]}}"#
        ))
        .unwrap();
        assert_eq!(set.keys.len(), 1);
        assert_eq!(
            set.warnings(),
            [
                "key 0 is left out: it is no object",
                "key 1 is left out: its [kty] and [crv] are not supported",
                "key 3 is left out: a part of it is missing or no base64url",
            ]
        );
    }

    #[test]
    fn a_set_without_a_usable_key_is_no_set() {
        for (text, error) in [
            (r#"{"keys":[]}"#, "the key set is empty"),
            (
                r#"{"keys":[1]}"#,
                "no usable key: key 0 is left out: it is no object",
            ),
            (
                &format!(r#"{{"keys":[{}1]}}"#, "1,".repeat(100)),
                "more than 100 keys",
            ),
            (r#"[]"#, NO_KEY_SET),
            (r#"{}"#, NO_KEY_SET),
            (r#"{"keys":{}}"#, NO_KEY_SET),
            (r#"{"a":"b"}"#, NO_KEY_SET),
            ("<html>", "not JSON: expected value at line 1 column 1"),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
    }

    #[test]
    fn private_keys_are_used_with_a_warning() {
        let private = ED25519.replace('}', r#","d":"AA"}"#);
        let set = parse(&format!(r#"{{"keys":[{private}]}}"#)).unwrap();
        assert_eq!(
            set.warnings(),
            ["key 0 holds private key material; only the public part is used"]
        );
    }

    #[test]
    fn shared_secrets_stand_alone_and_in_the_configuration() {
        let secret = format!(r#"{{"kty":"oct","k":"{}"}}"#, "A".repeat(43));
        let alone = format!(r#"{{"keys":[{secret}]}}"#);
        assert_eq!(parse(&alone).unwrap().keys.len(), 1);
        assert_eq!(
            KeySet::parse_fetched(alone.as_bytes()).unwrap().emptiness(),
            "no usable key: a shared secret is left out: it must be in the configuration"
        );
        let mixed = parse(&format!(r#"{{"keys":[{secret},{ED25519}]}}"#)).unwrap();
        assert_eq!(mixed.keys.len(), 1);
        assert_eq!(
            mixed.warnings(),
            ["a shared secret is left out: it can't stand beside public keys"]
        );
        assert_eq!(
            parse(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#).unwrap_err(),
            "no usable key: key 0 is left out: its [k] is shorter than 32 octets"
        );
        let shown = format!("{:?}", parse(&alone).unwrap());
        assert!(shown.contains("Secret(Secret)"), "{shown}");
    }

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn pem_blocks_are_keys_without_id() {
        let unusable = PEM.replace("MCow", "MCox");
        let set = parse(&format!("\n{PEM}\n{unusable}{PEM}")).unwrap();
        assert_eq!(set.keys.len(), 2);
        assert_eq!(
            set.warnings(),
            ["key 1 is left out: its public key can't be read"]
        );
        assert_eq!(set.candidates(Some("a"), Algorithm::EdDsa).count(), 2);
        assert_eq!(set.candidates(None, Algorithm::Es256).count(), 0);
        assert_eq!(parse(&PEM.repeat(101)).unwrap_err(), "more than 100 keys");
        assert_eq!(
            parse(&format!("my key:\n{PEM}")).unwrap_err(),
            "not JSON: expected value at line 1 column 1"
        );
    }

    #[test]
    fn pem_blocks_by_key_id() {
        let document = serde_json::json!({"a": PEM, "b": PEM, "c": format!("{PEM}{PEM}"), "": PEM});
        let set = parse(&document.to_string()).unwrap();
        assert_eq!(
            set.candidates(Some("a"), Algorithm::EdDsa).count(),
            2,
            "and the one without"
        );
        assert_eq!(set.candidates(None, Algorithm::EdDsa).count(), 3);
        assert_eq!(
            set.warnings(),
            ["key \"c\" is left out: it is not one PEM block"]
        );
        let mixed = serde_json::json!({"a": PEM, "b": 1});
        assert_eq!(parse(&mixed.to_string()).unwrap_err(), NO_KEY_SET);
    }

    #[test]
    fn private_keys_in_pem_are_refused_whatever_they_stand_in() {
        let private = PEM.replace("PUBLIC", "PRIVATE");
        for text in [
            private.clone(),
            format!("{PEM}{private}"),
            PEM.replace("PUBLIC", "ENCRYPTED PRIVATE"),
            serde_json::json!({"a": PEM, "b": private}).to_string(),
            serde_json::json!({"type": "service_account", "private_key": private}).to_string(),
        ] {
            assert_eq!(
                parse(&text).unwrap_err(),
                "it holds a private key: write the public one only"
            );
        }
    }

    #[test]
    fn the_key_decides_which_algorithm_is_right() {
        let set = parse(&format!(
            r#"{{"keys":[{}]}}"#,
            ED25519.replace('}', r#","kid":"a"}"#)
        ))
        .unwrap();
        let found = |kid, alg| set.candidates(kid, alg).count();
        assert_eq!(found(Some("a"), Algorithm::EdDsa), 1);
        assert_eq!(found(None, Algorithm::EdDsa), 1);
        assert_eq!(found(Some("b"), Algorithm::EdDsa), 0);
        assert_eq!(found(Some("a"), Algorithm::Rs256), 0);
    }
}
