//! Keys that are made for one test and forgotten, and their tokens. The header of these may say anything, and that of those which
//! jwt-simple signs may not: so keys to keep, and their tokens, are in `mint.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};

use super::Failure;

/// An Ed25519 key that signs tokens (RFC 8037).
#[derive(Debug)]
pub(super) struct Key {
    id: String,
    signing: SigningKey,
}

impl Key {
    /// A new key, known to nobody else.
    pub(super) fn throwaway(id: &str) -> Result<Self, Failure> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Failure(format!("no random numbers for a key: {error}")))?;
        Ok(Self {
            id: id.to_owned(),
            signing: SigningKey::from_bytes(&seed),
        })
    }

    /// What others verify its tokens with: a JWK (RFC 7517).
    pub(super) fn public(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(self.signing.verifying_key().as_bytes()),
        })
    }

    /// A token in compact serialisation (RFC 7515 section 3.1). Members of the header take the place of
    /// those that are written without them; null: none.
    pub(super) fn token(&self, claims: &Value, header: &Map<String, Value>) -> String {
        let mut whole = json!({ "alg": "EdDSA", "kid": self.id, "typ": "JWT" });
        if let Some(members) = whole.as_object_mut() {
            members.extend(header.clone());
            members.retain(|_, value| !value.is_null());
        }
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(&whole), encoded(claims));
        let signature = self.signing.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}
