//! Key sets (RFC 7517, or keys in PEM): what is in them, where they come from, and when they are fetched.

mod answer;
mod form;
mod host;
mod key;
mod record;
mod source;
mod store;
mod uri;
#[cfg(test)]
mod vectors;

use serde_json::{Map, Value};

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

/// How many keys are told in a line of the log.
const MAX_IDS: usize = 20;

/// Members that only a private key has: RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2, RFC 9964.
/// In `oct` keys all is private.
const PRIVATE: [&str; 8] = ["d", "dp", "dq", "oth", "p", "priv", "q", "qi"];

/// The public keys of an issuer that this filter can use.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// What was left out, and why; for the log.
    warnings: Vec<String>,
    /// How many were left out because they say that they are for another use.
    for_another_use: usize,
    /// Keys that were left out because the private one stands there.
    private: Vec<String>,
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
    /// What keeps the bytes from being a key set with at least one usable key; and private keys.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let set = Self::read(bytes)?;
        if !set.private.is_empty() {
            return Err(format!(
                "it holds a private key ({}): make a new one, and write its public members only",
                set.private.join(", ")
            ));
        }
        match set.keys.iter().all(Key::is_secret) {
            true => set.usable(),
            false => set
                .without_secrets(
                    "it can't stand beside public keys; write a rule of its own with the same issuer",
                )
                .usable(),
        }
    }

    /// Reads a key set that was fetched, which may hold no usable key. What anybody can fetch is no
    /// shared secret, and a private key that anybody can fetch is everybody's.
    ///
    /// # Errors
    ///
    /// What keeps the bytes from being a key set.
    pub(crate) fn parse_fetched(bytes: &[u8]) -> Result<Self, String> {
        let mut set = Self::read(bytes)?.without_secrets("it must be in the configuration");
        let private = set.private.iter().map(|name| {
            format!(
                "{name} is left out: the provider publishes its private key, so anybody can sign with it; \
                 it must be replaced at once"
            )
        });
        set.warnings.extend(private);
        Ok(set)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why there is no key in the set.
    pub(crate) fn emptiness(&self) -> String {
        let mut why = self.warnings.clone();
        if self.for_another_use > 0 {
            why.push(format!(
                "{} of the keys are for another use than signatures of tokens",
                self.for_another_use
            ));
        }
        match why.is_empty() {
            true => "the key set is empty".to_owned(),
            false => format!("no usable key: {}", why.join("; ")),
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = form::text(bytes)?;
        // Whose it is can't be told: perhaps that of a public key beside it.
        if key::holds_private_key(text) {
            return Err("it holds a private key: write the public one only".to_owned());
        }
        let mut set = Self::default();
        if key::is_pem(text) {
            for (index, block) in bounded(key::pem_blocks(text))?.into_iter().enumerate() {
                set.add(&format!("key {index}"), Key::from_pem(block, None));
            }
            return Ok(set);
        }
        let document =
            form::document(text).map_err(|error| form::instead(text).unwrap_or(error))?;
        match document.get("keys") {
            Some(Value::Array(list)) => set.add_all(&bounded(list.iter())?),
            Some(keys) if json::is_unset(keys) => {}
            _ => {
                let by_id = pem_by_id(&document).ok_or_else(|| form::no_key_set(&document))?;
                for (id, text) in bounded(by_id.into_iter())? {
                    let mut blocks = key::pem_blocks(text);
                    let key = match (blocks.next(), blocks.next()) {
                        (Some(block), None) => Key::from_pem(block, Some(id)),
                        _ => Err(Unusable::Wrong("it is more than one PEM block")),
                    };
                    set.add(&format!("key {}", form::shown(id)), key);
                }
            }
        }
        Ok(set)
    }

    fn add_all(&mut self, list: &[&Value]) {
        let jwks = list.iter().filter_map(|jwk| jwk.as_object());
        let private = jwks.filter(|jwk| is_private(jwk));
        let private = private.filter_map(key::public_part).collect::<Vec<_>>();
        for (index, jwk) in list.iter().enumerate() {
            let name = match jwk.get("kid").and_then(Value::as_str) {
                Some(id) if !id.is_empty() => format!("key {}", form::shown(id)),
                _ => format!("key {index}"),
            };
            let Some(jwk) = jwk.as_object() else {
                self.add(&name, Err(Unusable::Wrong("it is no object")));
                continue;
            };
            if is_private(jwk) || key::is_one_of(jwk, &private) {
                self.private.push(name);
                continue;
            }
            let key = Key::parse(jwk).map(|(key, ignored)| {
                let ignored = ignored.map(|why| format!("{name}: its [x5c] is ignored ({why})"));
                self.warnings.extend(ignored);
                key
            });
            self.add(&name, key);
        }
    }

    fn add(&mut self, name: &str, key: Result<Key, Unusable>) {
        match key {
            Ok(key) => self.keys.push(key),
            Err(Unusable::ForAnotherUse) => self.for_another_use += 1,
            Err(why) => self.warnings.push(format!("{name} is left out: {why}")),
        }
    }

    fn without_secrets(mut self, why: &str) -> Self {
        let warnings = &mut self.warnings;
        self.keys.retain(|key| {
            if key.is_secret() {
                let name = key.id().map(form::shown).unwrap_or_default();
                warnings.push(format!("the shared secret {name} is left out: {why}"));
            }
            !key.is_secret()
        });
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

    /// The keys by their IDs, for the log.
    pub(crate) fn ids(&self) -> String {
        let noun = if self.keys.len() == 1 { "key" } else { "keys" };
        let mut ids = format!("the {noun} ");
        for (index, key) in self.keys.iter().enumerate() {
            ids.push_str(if index == 0 { "" } else { ", " });
            if index == MAX_IDS {
                ids.push_str("and more");
                break;
            }
            match key.id() {
                Some(id) => ids.push_str(&form::shown(id)),
                None => ids.push_str("one without"),
            }
        }
        ids
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

fn is_private(jwk: &Map<String, Value>) -> bool {
    PRIVATE.iter().any(|name| json::set(jwk, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    const RSA: &str = concat!(
        r#"{"kty":"RSA","e":"AQAB","n":"vLPhTaO8-jXaxZislBT42eyq5S0GDauD6jGCK27PcoyziFvLdgkVZm7WnusPLIfM4Qj4"#,
        "LEEZdouzwY6UuuVqq-X68faCgPOqB5BJBuTHLAjkZ3dhFzDATRnE3ewKKdnbULsIRCbdOGYgVqAqIhaoq7oPQ-yNBbaF1Au1fJ0fAsur7om",
        "X_ioqYiMnZZJFc6TEFcA0wFj_S25fQVVnM6nAZmmcIGFd5jYj8ECWrIYBwo-AJKZGDbB-MaYslz28K_5S_gto_D60jAP00-xyxfIDG2LPY9f",
        r#"mIBNsiBjHe-Yl_DjcnwxIMWFCJBcgDjOf88DcFpD9LUuRboUldrsHSQrAgw"}"#
    );

    fn parse(text: &str) -> Result<KeySet, String> {
        KeySet::parse(text.as_bytes())
    }

    #[test]
    fn unusable_keys_are_left_out_with_a_word() {
        let set = parse(&format!(
            r#"{{"keys":[7,{{"kty":"new"}},{ED25519},{{"kty":"RSA","n":"+/==","e":"AQAB","kid":"a\nb"}},
               {{"kty":"RSA","n":"AQAB","kid":"{}"}},{{"kty":"OKP","crv":"Ed448","kid":"e","x":"AA"}}]}}"#,
            "k".repeat(1000)
        ))
        .unwrap();
        assert_eq!(set.keys.len(), 1);
        let long = format!(
            "key \"{}\"... is left out: its [e] is missing",
            "k".repeat(128)
        );
        assert_eq!(
            set.warnings(),
            [
                "key 0 is left out: it is no object",
                "key 1 is left out: its [kty] and [crv] are not supported",
                "key \"a\\nb\" is left out: its [n] is no base64url (RFC 7515 section 2)",
                &long,
                "key \"e\" is left out: its [kty] and [crv] are not supported",
            ]
        );
    }

    /// RFC 7517 sections 4.2, 4.3; SPIFFE JWT-SVID section 6.1.
    #[test]
    fn keys_for_another_use_are_left_out_without_a_word() {
        let with = |members: &str| ED25519.replace('}', &format!(r#","kid":"a",{members}}}"#));
        let enough = with(r#""use":"jwt-svid""#);
        for (members, warnings) in [
            (r#""use":"enc""#, 0),
            (r#""use":"enc","alg":"RSA-OAEP""#, 0),
            (r#""use":"x509-svid""#, 0),
            (r#""use":"wit-svid""#, 0),
            (r#""key_ops":["encrypt","wrapKey"]"#, 0),
            (r#""key_ops":["decrypt"],"use":"sig""#, 0),
            (r#""alg":"ECDH-ES+A128KW""#, 0),
            (r#""use":"SIG""#, 1),
            (r#""use":["sig"]"#, 1),
            (r#""key_ops":["sign"]"#, 1),
            (r#""key_ops":["Verify"]"#, 1),
            (r#""use":"sig","alg":"RSA-OAEP""#, 1),
            (r#""alg":"none""#, 1),
        ] {
            let other = with(members);
            let set = parse(&format!(r#"{{"keys":[{other},{enough}]}}"#)).unwrap();
            assert_eq!(
                (set.keys.len(), set.warnings().len()),
                (1, warnings),
                "{other}"
            );
            let alone = parse(&format!(r#"{{"keys":[{other}]}}"#)).unwrap_err();
            assert!(alone.starts_with("no usable key: "), "{alone}");
        }
        let encrypts = with(r#""use":"enc""#);
        assert_eq!(
            parse(&format!(r#"{{"keys":[{encrypts},{encrypts}]}}"#)).unwrap_err(),
            "no usable key: 2 of the keys are for another use than signatures of tokens"
        );
    }

    /// Serializers write null, an empty text or list for what isn't set.
    #[test]
    fn members_that_say_nothing_are_none() {
        for name in [
            "alg", "crv", "d", "dp", "dq", "e", "exp", "ext", "iat", "k", "key_ops", "kid", "n",
            "oth", "p", "priv", "pub", "q", "qi", "use", "x", "x5c", "x5t", "x5t#S256", "x5u", "y",
        ] {
            for value in ["null", r#""""#, "[]", "[null]", r#"[""]"#] {
                // A key whose type leaves the member free.
                let key = match name {
                    "crv" | "x" | "y" => RSA,
                    _ => ED25519,
                };
                let key = key.replacen('{', &format!(r#"{{"{name}":{value},"#), 1);
                let set = parse(&format!(r#"{{"keys":[{key}]}}"#));
                let set = set.unwrap_or_else(|error| panic!("{key}: {error}"));
                assert_eq!(set.warnings(), [""; 0], "{key}");
            }
        }
        for (text, error) in [
            (r#"{"keys":null}"#, "the key set is empty"),
            (r#"{"keys":""}"#, "the key set is empty"),
            (
                r#"{"keys":[null]}"#,
                "no usable key: key 0 is left out: it is no object",
            ),
            (
                r#"{"keys":[{"kty":"oct","k":""}]}"#,
                "no usable key: key 0 is left out: its [k] is missing",
            ),
            (
                r#"{"keys":[{"kty":"OKP","crv":null,"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
                "no usable key: key 0 is left out: its [kty] and [crv] are not supported",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
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
            (r#"{}"#, form::NO_KEY_SET),
            (r#"{"keys":{}}"#, form::NO_KEY_SET),
            (r#"{"a":"b"}"#, form::NO_KEY_SET),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
    }

    /// RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2, RFC 9964.
    #[test]
    fn private_keys_are_refused_and_when_fetched_left_out() {
        let public = ED25519.replace('}', r#","kid":"a"}"#);
        let other = RSA.replace('}', r#","kid":"b"}"#);
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"] {
            for value in [r#""c2VjcmV0""#, "7", r#"[{"r":"c2VjcmV0"}]"#] {
                let private = public.replace('}', &format!(r#","{member}":{value}}}"#));
                for keys in [private.clone(), format!("{other},{private}")] {
                    let error = parse(&format!(r#"{{"keys":[{keys}]}}"#)).unwrap_err();
                    assert_eq!(
                        error,
                        "it holds a private key (key \"a\"): make a new one, and write its public \
                         members only"
                    );
                }
                // Whoever has it signs for the public key, too, whatever that is called.
                let twin = ED25519.replace('}', r#","kid":"c","use":"sig"}"#);
                let set = format!(r#"{{"keys":[{twin},{other},{private}]}}"#);
                let set = KeySet::parse_fetched(set.as_bytes()).unwrap();
                assert_eq!(set.ids(), r#"the key "b""#);
                let told = set.warnings().join("\n");
                assert!(!told.contains("c2Vj"), "{told}");
                for name in ["a", "c"] {
                    let expected =
                        format!("key \"{name}\" is left out: the provider publishes its");
                    assert!(told.contains(&expected), "{told}");
                }
            }
        }
        let unusable = r#"{"kty":"new","d":"c2VjcmV0"}"#;
        let error = parse(&format!(r#"{{"keys":[{unusable},{public}]}}"#)).unwrap_err();
        assert!(
            error.starts_with("it holds a private key (key 0)"),
            "{error}"
        );
    }

    #[test]
    fn shared_secrets_stand_alone_and_in_the_configuration() {
        let secret = format!(r#"{{"kty":"oct","kid":"s","k":"{}"}}"#, "A".repeat(43));
        let alone = format!(r#"{{"keys":[{secret}]}}"#);
        assert_eq!(parse(&alone).unwrap().keys.len(), 1);
        assert_eq!(
            KeySet::parse_fetched(alone.as_bytes()).unwrap().emptiness(),
            "no usable key: the shared secret \"s\" is left out: it must be in the configuration"
        );
        let mixed = parse(&format!(r#"{{"keys":[{secret},{ED25519}]}}"#)).unwrap();
        assert_eq!(mixed.keys.len(), 1);
        assert_eq!(
            mixed.warnings(),
            [
                "the shared secret \"s\" is left out: it can't stand beside public keys; write a rule of its own \
              with the same issuer"
            ]
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
    }

    /// RFC 7468 section 2. `openssl pkcs12` writes attributes in between.
    #[test]
    fn text_around_pem_blocks_is_no_part_of_them() {
        for text in [
            format!("my key:\n{PEM}"),
            format!("# {{my key}} https://idp.test\r\n\r\n{PEM}and nothing else -----"),
            format!(
                "Bag Attributes\n    localKeyID: 01\n{PEM}Bag Attributes: <No Attributes>\n{PEM}"
            ),
            format!("{}{PEM}", "\n".repeat(1000)),
        ] {
            let set = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(set.warnings(), [""; 0], "{text}");
        }
        let escaped = PEM.replace('\n', "\\n");
        for text in [escaped.clone(), format!("\"{escaped}\"")] {
            assert_eq!(
                parse(&text).unwrap_err(),
                "no usable key: key 0 is left out: its line breaks are written as `\\n`: write real ones"
            );
        }
        for page in [
            format!("<pre>{PEM}</pre>"),
            format!(r#"{{"example": ["{escaped}"]}}"#),
        ] {
            assert!(parse(&page).is_err(), "{page}");
        }
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
            ["key \"c\" is left out: it is more than one PEM block"]
        );
        let mixed = serde_json::json!({"a": PEM, "b": 1});
        assert_eq!(parse(&mixed.to_string()).unwrap_err(), form::NO_KEY_SET);
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
