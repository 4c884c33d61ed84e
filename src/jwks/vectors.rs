//! The key sets of jwt_verify_lib's tests, which are Envoy's.

use serde_json::Value;

use super::{Algorithm, KeySet};
use crate::vectors::{Tally, load, text, verdict};

/// What the label takes and we don't, and why.
const REFUSED: [(&str, &str); 3] = [
    (
        "jvl-jwks-GoodOKP",
        "its key is no point of the curve, so nothing can be verified with it",
    ),
    (
        "jvl-jwks-JwksECUnspecifiedCrv",
        "RFC 7518 section 6.2.1.1: a key says its curve; the vector leaves the choice",
    ),
    (
        "jvl-jwks-JwksIgnoreUnsupportedKey",
        "the key of jvl-jwks-GoodOKP",
    ),
];

#[test]
fn key_sets() {
    let mut tally = Tally::default();
    for vector in load(&[("jwt_verify_lib/jwks_parse.json", 37)], &mut tally) {
        let id = text(&vector["id"]);
        let input = text(&vector["input"]);
        let refused = REFUSED.iter().any(|(refused, _)| *refused == id);
        if refused || vector["result"] == "invalid" {
            tally.check(
                id,
                "invalid",
                verdict(KeySet::parse(input.as_bytes()).is_ok()),
            );
        } else {
            let set = KeySet::parse(input.as_bytes());
            tally.check(id, Ok(()), set.and_then(|set| holds(&set, &vector)));
        }
    }
    tally.finish("jwt_verify_lib, key sets");
}

/// Whether the keys of a set are those that are expected, as far as the vector says.
fn holds(set: &KeySet, vector: &Value) -> Result<(), String> {
    let count = set.keys.len();
    if vector
        .get("expected_key_count")
        .is_some_and(|expected| *expected != count)
    {
        return Err(format!("{count} keys"));
    }
    for (_, key) in vector["expected_keys"].as_object().into_iter().flatten() {
        let algorithm = Algorithm::named(text(&key["alg"])).expect("an algorithm");
        if set.candidates(key["kid"].as_str(), algorithm).count() != 1 {
            return Err(format!("not one {key}"));
        }
    }
    Ok(())
}
