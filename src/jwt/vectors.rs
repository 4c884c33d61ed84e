//! Tokens of Project Wycheproof, of the RFCs, and of jwt_verify_lib's tests, which are Envoy's.

use serde_json::json;

use super::*;
use crate::vectors::{Tally, is_taken, list, load, text, verdict};

const SIGNED: [(&str, usize); 8] = [
    ("rfc/rfc7515_appendix_a.json", 8),
    ("rfc/rfc7519_examples.json", 5),
    ("rfc/rfc7520_cookbook.json", 32),
    ("rfc/rfc7797_b64_crit.json", 8),
    ("rfc/rfc8037_eddsa.json", 10),
    ("wycheproof/json_web_crypto_test.json", 44),
    ("wycheproof/json_web_key_test.json", 13),
    ("wycheproof/json_web_signature_test.json", 208),
];

/// Upstream's names of what is wrong.
const STATUSES: [(&str, Reason); 12] = [
    ("JwtBadFormat", Reason::Malformed),
    ("JwtExpired", Reason::Expired),
    ("JwtHeaderBadAlg", Reason::AlgorithmMissing),
    ("JwtHeaderBadKid", Reason::KeyIdNotAString),
    ("JwtHeaderNotImplementedAlg", Reason::AlgorithmUnsupported),
    ("JwtNotYetValid", Reason::NotYetValid),
    ("JwtPayloadParseErrorBadJson", Reason::PayloadSyntax),
    (
        "JwtPayloadParseErrorIatNotInteger",
        Reason::IssuedAtNotANumber,
    ),
    (
        "JwtPayloadParseErrorIatOutOfRange",
        Reason::IssuedAtOutOfRange,
    ),
    (
        "JwtPayloadParseErrorNbfNotInteger",
        Reason::NotBeforeNotANumber,
    ),
    (
        "JwtPayloadParseErrorSubNotString",
        Reason::SubjectNotAString,
    ),
    ("JwtSignatureParseErrorBadBase64", Reason::SignatureEncoding),
];

#[test]
fn signed_tokens() {
    let mut tally = Tally::default();
    for vector in load(&SIGNED, &mut tally) {
        let id = match vector["id"].as_str() {
            Some(id) => id.to_owned(),
            None => format!("{} {}", text(&vector["file"]), vector["tcId"]),
        };
        let label = ["recommended_result", "result"].map(|name| vector[name].as_str());
        let expected = match label.into_iter().flatten().next() {
            Some("policy_reject") => verdict(is_taken(&id)),
            label => label.expect("a label"),
        };
        let jws = match vector.get("jws").unwrap_or(&vector["jwe"]) {
            Value::String(compact) => compact.clone(),
            json => json.to_string(),
        };
        let jws = jws.as_bytes();
        let keys = KeySet::parse(keys(&vector).to_string().as_bytes());
        let got = verdict(keys.is_ok_and(|keys| is_signed(jws, &Rc::new(keys))));
        let claims = (expected == "valid")
            .then(|| expected_claims(&vector))
            .flatten();
        let got_claims = claims.as_ref().map(|_| read_claims(jws, &vector));
        tally.check(&id, (expected, claims), (got, got_claims));
    }
    tally.finish("RFCs and Wycheproof, tokens");
}

/// One key or a set of them, public where it can be.
fn keys(vector: &Value) -> Value {
    let group = &vector["group"];
    let keys = [&vector["jwks"], &group["public"], &group["private"]];
    let keys = keys.into_iter().find(|keys| !keys.is_null());
    match keys.expect("keys") {
        set if set.get("keys").is_some() => set.clone(),
        key => json!({ "keys": [key] }),
    }
}

/// Whether one of the keys made the signature. The payload need not be that of a JWT.
fn is_signed(jws: &[u8], keys: &Rc<KeySet>) -> bool {
    match Token::parse(jws) {
        Ok(token) => token.verify(keys, &Verifier::default()).is_ok(),
        Err(Reason::Malformed | Reason::PayloadSyntax) => without_claims(jws)
            .is_some_and(|token| token.verify(keys, &Verifier::default()).is_ok()),
        Err(_) => false,
    }
}

/// What [`Token::parse`] would make of three parts, whatever the second one holds.
fn without_claims(jws: &[u8]) -> Option<Token> {
    let parts: Vec<&[u8]> = jws.split(|byte| *byte == b'.').collect();
    let [header, payload, signature] = *parts.as_slice() else {
        return None;
    };
    URL_SAFE_NO_PAD.decode(payload).ok()?;
    URL_SAFE_NO_PAD.decode(signature).ok()?;
    let content = Content {
        header: parse_header(header).ok()?,
        claims: Map::new(),
        registered: Registered::default(),
        text: jws.to_vec(),
        outputs: OnceCell::new(),
    };
    Some(Token {
        content: Rc::new(content),
        verified_with: None,
    })
}

/// What a vector says of the claims: whether there are any, and what is wrong with them.
fn expected_claims(vector: &Value) -> Option<Option<Reason>> {
    if vector["payload_is_json_claims"] == false {
        return Some(Some(Reason::PayloadSyntax));
    }
    let expired = vector["expected_after_claims"] == "expired";
    vector["now"]
        .as_u64()
        .map(|_| expired.then_some(Reason::Expired))
}

fn read_claims(jws: &[u8], vector: &Value) -> Option<Reason> {
    let now = vector["now"].as_u64().unwrap_or_default();
    Token::parse(jws)
        .and_then(|token| token.validate(&expected(&[], 60), now))
        .err()
}

fn expected(audiences: &[Value], clock_skew: u64) -> Expected {
    Expected {
        issuer: None,
        audiences: audiences
            .iter()
            .map(|audience| text(audience).to_owned())
            .collect(),
        clock_skew,
        ..Expected::default()
    }
}

fn reason(vector: &Value) -> Option<Reason> {
    let status = text(&vector["expected_status"]);
    let reason = STATUSES.iter().find(|(name, _)| *name == status);
    assert!(status == "Ok" || reason.is_some(), "unknown: {status}");
    reason.map(|(_, reason)| *reason)
}

#[test]
fn parsing() {
    let mut tally = Tally::default();
    for vector in load(&[("jwt_verify_lib/jwt_parse.json", 16)], &mut tally) {
        let jwt = text(&vector["jwt"]).as_bytes();
        let expected = match reason(&vector) {
            Some(reason) => Err(reason),
            None => Ok(vector["expected_fields"].clone()),
        };
        let got = Token::parse(jwt).map(|token| fields(&token, &vector["expected_fields"]));
        tally.check(text(&vector["id"]), expected, got);
    }
    tally.finish("jwt_verify_lib, parsing");
}

/// The fields that are asked for. To upstream, zero and an empty string are as good as nothing.
fn fields(token: &Token, asked: &Value) -> Value {
    let mut fields = asked.clone();
    for (name, field) in fields.as_object_mut().into_iter().flatten() {
        let claim = |name: &str| token.content.claims.get(name).cloned();
        *field = match name.as_str() {
            "alg" => format!("{:?}", token.content.header.algorithm)
                .to_uppercase()
                .into(),
            "audiences" => claim("aud").unwrap_or(json!([])),
            "exp" => token
                .content
                .registered
                .expiration
                .unwrap_or_default()
                .into(),
            "kid" => token.content.header.key_id.clone().into(),
            "nbf" => token
                .content
                .registered
                .not_before
                .unwrap_or_default()
                .into(),
            "iat" => whole_seconds(claim("iat").and_then(|iat| iat.as_f64()).unwrap_or(0.0)).into(),
            "signature" => String::from_utf8_lossy(&token.signed().unwrap().1).into(),
            name => claim(name).unwrap_or(json!("")),
        };
    }
    fields
}

#[test]
fn times() {
    let mut tally = Tally::default();
    for vector in load(&[("jwt_verify_lib/time.json", 10)], &mut tally) {
        let number = |name: &str| vector[name].as_u64().expect("seconds");
        let got = validate(
            &vector["claims"],
            &expected(&[], number("clock_skew")),
            number("now"),
        );
        tally.check(text(&vector["id"]), reason(&vector), got);
    }
    tally.finish("jwt_verify_lib, times");
}

#[test]
fn audiences() {
    let mut tally = Tally::default();
    for vector in load(&[("jwt_verify_lib/audience.json", 23)], &mut tally) {
        let configured: Vec<Value> = list(&vector["config_audiences"]).cloned().collect();
        let claims = json!({ "aud": vector["jwt_audiences"] });
        let got = validate(&claims, &expected(&configured, 60), 0);
        let refused = (vector["expected"] == false).then_some(Reason::AudienceNotAllowed);
        tally.check(text(&vector["id"]), refused, got);
    }
    tally.finish("jwt_verify_lib, audiences");
}

fn validate(claims: &Value, expected: &Expected, now: u64) -> Option<Reason> {
    let parts = [json!({ "alg": "RS256" }), claims.clone()];
    let [header, payload] = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{payload}.AA");
    Token::parse(text.as_bytes())
        .and_then(|token| token.validate(expected, now))
        .err()
}
