//! Key sets (RFC 7517): what is in them, where they come from, and when they are fetched.

mod answer;
mod key;
mod record;
mod source;
mod store;
mod uri;
#[cfg(test)]
mod vectors;

use serde_json::Value;

pub(crate) use self::answer::MAX_BODY;
pub use self::answer::{Answer, FetchError};
pub(crate) use self::key::{Algorithm, Key};
pub use self::source::Fetch;
pub(crate) use self::source::{ClusterMap, Fetching, KeySetSource, Origin};
pub(crate) use self::store::Lookup;
pub use self::store::{Fetched, KeySetId, KeyStore};
pub(crate) use self::uri::KeySetUri;
use crate::json;

/// How many keys a set may have: a token without a key ID is tried with every one that fits.
const MAX_KEYS: usize = 100;

/// The public keys of an issuer that this filter can use.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// What was left out, and why; for the log.
    warnings: Vec<String>,
}

impl KeySet {
    /// Reads a JWK set of the configuration.
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

    /// Reads a JWK set that was fetched, which may hold no usable key. What anybody can fetch is no
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
        let document = json::parse(bytes).map_err(|error| format!("not JSON: {error}"))?;
        let Some(Value::Array(list)) = document.get("keys") else {
            return Err("no key set: write {\"keys\": [...]}".to_owned());
        };
        if list.len() > MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} keys"));
        }
        let mut keys = Vec::new();
        let mut warnings = Vec::new();
        for (index, jwk) in list.iter().enumerate() {
            match Key::parse(jwk) {
                Ok(key) => {
                    if has_private_part(jwk) {
                        warnings.push(format!(
                            "key {index} holds private key material; only the public part is used"
                        ));
                    }
                    keys.push(key);
                }
                Err(unusable) => {
                    warnings.push(format!("key {index} is left out: {}", unusable.0));
                }
            }
        }
        Ok(Self { keys, warnings })
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

/// RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2: `d` in every type but `oct`.
fn has_private_part(jwk: &Value) -> bool {
    jwk.get("d").is_some()
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
            (r#"[]"#, "no key set: write {\"keys\": [...]}"),
            (r#"{"keys":{}}"#, "no key set: write {\"keys\": [...]}"),
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
