//! Tokens of another implementation: jwt-simple makes the keys, publishes them, and signs.

#![cfg(not(target_family = "wasm"))]

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike as _, ECDSAP256kKeyPairLike as _, ECDSAP384KeyPairLike as _,
    EdDSAKeyPairLike as _, MLDSAKeyPairLike as _, RSAKeyPairLike as _,
};
use jwt_simple::prelude::*;
use portcullis::{
    KeyStore, Known, NoHost, Node, Outcome, Policy, Reason, Request, Verifier, evaluate,
};
use serde_json::{Value, json};

const RSA_BITS: usize = 2048;

/// What becomes of a token that says who made it and for how long, under this key.
fn outcome(jwk: &str, token: &str, seconds_from_now: i64) -> Outcome {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    let configuration = json!({
        "jwtRules": [{"issuer": "i", "audiences": ["a"], "jwks": {"keys": [jwk]}}],
        "authorizationPolicies": [{"rules": [{"from": [{"source": {"requestPrincipals": ["i/s"]}}]}]}],
        "defaults": {"clockSkew": "0s"},
    });
    let policy = Policy::load(configuration.to_string().as_bytes(), &Node::default()).unwrap();
    let request = Request::new(vec![
        (":method".to_owned(), b"GET".to_vec()),
        (":path".to_owned(), b"/".to_vec()),
        (
            "authorization".to_owned(),
            format!("Bearer {token}").into_bytes(),
        ),
    ]);
    let now = Clock::now_since_epoch()
        .as_secs()
        .saturating_add_signed(seconds_from_now);
    let known = Known {
        keys: &KeyStore::new(&policy, 0),
        waited: &[],
        checked: &[],
        verifier: &Verifier::default(),
        host: &NoHost,
        now: &now,
    };
    evaluate(&policy, known, &request)
}

fn claims() -> JWTClaims<NoCustomClaims> {
    Claims::create(Duration::from_mins(10))
        .with_issuer("i")
        .with_subject("s")
        .with_audience("a")
}

fn check(algorithm: &str, jwk: &str, token: &str, other_jwk: &str) {
    let reason = |outcome| match outcome {
        Outcome::Refuse(refusal, _) => Some(refusal.reason),
        _ => None,
    };
    assert!(
        matches!(outcome(jwk, token, 0), Outcome::Forward(..)),
        "{algorithm}"
    );
    assert_eq!(
        reason(outcome(jwk, token, 601)),
        Some(Reason::Expired),
        "{algorithm}"
    );
    assert_eq!(
        reason(outcome(jwk, token, -60)),
        Some(Reason::NotYetValid),
        "{algorithm}"
    );
    assert_eq!(
        reason(outcome(other_jwk, token, 0)),
        Some(Reason::SignatureInvalid),
        "{algorithm}"
    );
}

macro_rules! interoperates {
    ($( $test:ident: $pair:ty, $generate:expr; )*) => {
        $(
            #[test]
            fn $test() {
                let make: fn() -> $pair = $generate;
                let (own, other) = (make(), make());
                check(
                    stringify!($test),
                    &own.public_key().to_jwk(),
                    &own.sign(claims()).unwrap(),
                    &other.public_key().to_jwk(),
                );
            }
        )*
    };
}

macro_rules! shares_a_secret {
    ($( $test:ident: $key:ty; )*) => {
        $(
            #[test]
            fn $test() {
                // `generate` makes all of them 32 octets long, too short for the longer hashes.
                let (own, other) = (<$key>::from_bytes(&[1; 64]), <$key>::from_bytes(&[2; 64]));
                let jwk = |key: &$key| {
                    let secret = BASE64_URL_SAFE_NO_PAD.encode(key.to_bytes());
                    json!({"kty": "oct", "k": secret}).to_string()
                };
                let token = own.authenticate(claims()).unwrap();
                check(stringify!($test), &jwk(&own), &token, &jwk(&other));
            }
        )*
    };
}

shares_a_secret! {
    hs256: HS256Key;
    hs384: HS384Key;
    hs512: HS512Key;
}

interoperates! {
    eddsa: Ed25519KeyPair, Ed25519KeyPair::generate;
    es256: ES256KeyPair, ES256KeyPair::generate;
    es256k: ES256kKeyPair, ES256kKeyPair::generate;
    es384: ES384KeyPair, ES384KeyPair::generate;
    ml_dsa_44: MLDSA44KeyPair, MLDSA44KeyPair::generate;
    ml_dsa_65: MLDSA65KeyPair, MLDSA65KeyPair::generate;
    ml_dsa_87: MLDSA87KeyPair, MLDSA87KeyPair::generate;
    ps256: PS256KeyPair, || PS256KeyPair::generate(RSA_BITS).unwrap();
    ps384: PS384KeyPair, || PS384KeyPair::generate(RSA_BITS).unwrap();
    ps512: PS512KeyPair, || PS512KeyPair::generate(RSA_BITS).unwrap();
    rs256: RS256KeyPair, || RS256KeyPair::generate(RSA_BITS).unwrap();
    rs384: RS384KeyPair, || RS384KeyPair::generate(RSA_BITS).unwrap();
    rs512: RS512KeyPair, || RS512KeyPair::generate(RSA_BITS).unwrap();
}
