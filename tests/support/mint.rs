//! Signs tokens of any shape, right or wrong, with the private keys of the attack vectors.
//!
//! Written by hand over the crates that verify: a token library refuses most of what tests need.

use std::sync::OnceLock;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use ed25519_dalek::Signer;
use hmac::{Hmac, KeyInit, Mac};
use p384::ecdsa::signature::hazmat::PrehashSigner;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::{BoxedUint, RsaPrivateKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::case::{members, text};

/// Makes a token out of its description:
///
/// - `literal`: this text, `times` over, nothing else is looked at;
/// - `kid`: the private key; `alg`: how to sign, by default what the key says;
/// - `claims`, with `pad` bytes more, or `raw`: the payload as it is;
/// - `header`: members to set, or to leave out where null; `raw_header`: the header as it is;
/// - `insert`: what to put into the encoded `header`, `payload` or `signature`, and before which of
///   its characters, or, null, at its end; what is signed has it;
/// - `tamper`: what to do to the finished token.
pub fn token(spec: &Value) -> String {
    if let Some(literal) = spec.get("literal") {
        return text(literal).repeat(spec.get("times").map_or(1, count));
    }
    let what = spec.to_string();
    let spec = members(
        spec,
        &what,
        &[
            "kid",
            "alg",
            "claims",
            "pad",
            "raw",
            "header",
            "raw_header",
            "insert",
            "tamper",
        ],
    );
    let key = private_key(text(&spec["kid"]));
    let alg = spec.get("alg").unwrap_or(&key["alg"]);
    let header = match spec.get("raw_header") {
        Some(raw) => text(raw).to_owned(),
        None => header(alg, &key["kid"], spec.get("header")),
    };
    let payload = match spec.get("raw") {
        Some(raw) => text(raw).to_owned(),
        None => padded(&spec["claims"], spec.get("pad")).to_string(),
    };
    let insert = spec.get("insert").unwrap_or(&Value::Null);
    let input = format!(
        "{}.{}",
        inserted(encode(header.as_bytes()), &insert["header"]),
        inserted(encode(payload.as_bytes()), &insert["payload"])
    );
    let signature = sign(key, text(alg), input.as_bytes());
    let token = tamper(spec.get("tamper"), &input, signature);
    match token.rsplit_once('.') {
        Some((signed, signature)) => {
            format!(
                "{signed}.{}",
                inserted(signature.to_owned(), &insert["signature"])
            )
        }
        None => token,
    }
}

fn inserted(mut part: String, how: &Value) -> String {
    if !how.is_null() {
        let at = how[0].as_u64().map_or(part.len(), |_| count(&how[0]));
        part.insert_str(at, text(&how[1]));
    }
    part
}

/// The public key set made of these keys: a kid, or an object with `key` (a kid), members to set, or
/// to leave out where null, and `null` with the names of those that are null; or any other value as
/// it is.
pub fn public_set(keys: &Value) -> String {
    let keys: Vec<Value> = keys
        .as_array()
        .expect("keys is a list")
        .iter()
        .map(|key| match key.get("key") {
            Some(kid) => {
                let mut changes = key.as_object().expect("an object").clone();
                changes.remove("key");
                let nulls = changes.remove("null");
                let mut key = changed(&public_key(text(kid)), &changes);
                for name in nulls
                    .iter()
                    .flat_map(|names| names.as_array().expect("names"))
                {
                    key[text(name)] = Value::Null;
                }
                key
            }
            None if key.is_string() => public_key(text(key)),
            None => key.clone(),
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

pub fn public_key(kid: &str) -> Value {
    let private = ["d", "p", "q", "dp", "dq", "qi"].map(|name| (name.to_owned(), Value::Null));
    changed(private_key(kid), &private.into_iter().collect())
}

fn private_key(kid: &str) -> &'static Value {
    static KEYS: OnceLock<Value> = OnceLock::new();
    KEYS.get_or_init(|| {
        super::read_json("tests/vectors/attacks/TEST_ONLY_private_keys_keyset1.json")
    })["keys"]
        .as_array()
        .expect("a list of keys")
        .iter()
        .find(|key| key["kid"] == kid)
        .unwrap_or_else(|| panic!("no private key {kid}"))
}

fn header(alg: &Value, kid: &Value, changes: Option<&Value>) -> String {
    let header = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
    match changes {
        Some(changes) => changed(&header, changes.as_object().expect("an object")),
        None => header,
    }
    .to_string()
}

fn changed(value: &Value, changes: &Map<String, Value>) -> Value {
    let mut map = value.as_object().expect("an object").clone();
    for (name, change) in changes {
        if change.is_null() {
            map.remove(name);
        } else {
            map.insert(name.clone(), change.clone());
        }
    }
    map.into()
}

fn padded(claims: &Value, pad: Option<&Value>) -> Value {
    let mut claims = claims.clone();
    if let Some(pad) = pad {
        claims["pad"] = "x".repeat(count(pad)).into();
    }
    claims
}

pub fn count(number: &Value) -> usize {
    number
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or_else(|| panic!("{number} is not a count"))
}

fn sign(key: &Value, alg: &str, input: &[u8]) -> Vec<u8> {
    match alg {
        "RS256" => sign_rsa(key, Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(input)),
        "RS384" => sign_rsa(key, Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(input)),
        "RS512" => sign_rsa(key, Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(input)),
        // Not as RFC 7518 section 3.4 has it: each hash belongs to one curve.
        "ES256" if key["crv"] == "P-384" => {
            let key = p384::ecdsa::SigningKey::from_slice(&number(key, "d")).expect("a P-384 key");
            let signature: p384::ecdsa::Signature =
                key.sign_prehash(&Sha256::digest(input)).expect("a hash");
            signature.to_bytes().to_vec()
        }
        "ES256" => {
            let key = p256::ecdsa::SigningKey::from_slice(&number(key, "d")).expect("a P-256 key");
            let signature: p256::ecdsa::Signature = key.sign(input);
            signature.to_bytes().to_vec()
        }
        "ES384" => {
            let key = p384::ecdsa::SigningKey::from_slice(&number(key, "d")).expect("a P-384 key");
            let signature: p384::ecdsa::Signature = key.sign(input);
            signature.to_bytes().to_vec()
        }
        "EdDSA" => {
            let secret = number(key, "d").try_into().expect("an Ed25519 key");
            ed25519_dalek::SigningKey::from_bytes(&secret)
                .sign(input)
                .to_bytes()
                .to_vec()
        }
        "HS256" => {
            let mut mac = Hmac::<Sha256>::new_from_slice(&number(key, "k")).expect("a secret");
            mac.update(input);
            mac.finalize().into_bytes().to_vec()
        }
        "none" => Vec::new(),
        _ => panic!("can't sign {alg}"),
    }
}

fn sign_rsa(key: &Value, scheme: Pkcs1v15Sign, hash: &[u8]) -> Vec<u8> {
    let part = |name| BoxedUint::from_be_slice_vartime(&number(key, name));
    RsaPrivateKey::from_components(part("n"), part("e"), part("d"), vec![part("p"), part("q")])
        .and_then(|key| key.sign(scheme, hash))
        .expect("an RSA key")
}

fn number(key: &Value, name: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD
        .decode(text(&key[name]))
        .expect("base64url")
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn tamper(how: Option<&Value>, input: &str, mut signature: Vec<u8>) -> String {
    let (header, payload) = input.split_once('.').expect("a header and a payload");
    match how.map(text) {
        None => format!("{input}.{}", encode(&signature)),
        Some("signature") => {
            signature[0] ^= 1;
            format!("{input}.{}", encode(&signature))
        }
        Some("payload") => {
            let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
            let claims = String::from_utf8(claims).expect("JSON");
            let claims = claims.replace("\"alice\"", "\"admin\"");
            format!(
                "{header}.{}.{}",
                encode(claims.as_bytes()),
                encode(&signature)
            )
        }
        Some("double dot") => format!("{header}..{payload}.{}", encode(&signature)),
        Some("no signature") => format!("{input}."),
        Some("two parts") => input.to_owned(),
        Some("padding") => format!("{input}.{}==", encode(&signature)),
        Some("trailing bits") => {
            let mut encoded = encode(&signature);
            // RSA and EC signatures leave bits of their last character unused, all zero.
            let last = encoded.pop().expect("a signature");
            encoded.push(char::from_u32(u32::from(last) + 1).expect("a character"));
            format!("{input}.{encoded}")
        }
        Some("short") => format!("{input}.{}", encode(&signature[1..])),
        Some(other) => panic!("don't know how to tamper with {other}"),
    }
}
