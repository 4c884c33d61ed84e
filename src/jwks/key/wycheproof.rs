//! Project Wycheproof's raw signatures: edge cases of the arithmetic, of encodings and of padding.

use super::{Algorithm, Key};
use crate::vectors::{Tally, is_later, load, text, verdict};

const FILES: [(&str, usize); 16] = [
    ("wycheproof/raw_ES256.json", 131),
    ("wycheproof/raw_ES256K.json", 126),
    ("wycheproof/raw_ES384.json", 140),
    ("wycheproof/raw_ES512.json", 159),
    ("wycheproof/raw_Ed25519.json", 76),
    ("wycheproof/raw_Ed448.json", 44),
    ("wycheproof/raw_HS256.json", 87),
    ("wycheproof/raw_HS384.json", 87),
    ("wycheproof/raw_HS512.json", 87),
    ("wycheproof/raw_PS256.json", 108),
    ("wycheproof/raw_PS384.json", 71),
    ("wycheproof/raw_PS512.json", 90),
    ("wycheproof/raw_PSS_parameter_confusion.json", 48),
    ("wycheproof/raw_RS256.json", 259),
    ("wycheproof/raw_RS384.json", 259),
    ("wycheproof/raw_RS512.json", 259),
];

struct Vector {
    id: String,
    /// `None` where it is refused or unfit already.
    key: Option<Key>,
    algorithm: Algorithm,
    message: Vec<u8>,
    signature: Vec<u8>,
    expected: String,
}

fn vectors(tally: &mut Tally) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for vector in load(&FILES, tally) {
        let file = text(&vector["file"]).trim_start_matches("raw_");
        let name = match vector["alg"].as_str().unwrap_or(file) {
            "Ed25519" => "EdDSA",
            name => name,
        };
        if is_later(name) {
            tally.leave_out(name);
            continue;
        }
        let algorithm = Algorithm::named(name).expect("an algorithm");
        let jwk = vector.get("jwk").unwrap_or(&vector["group"]["jwk"]);
        let key = Key::parse(jwk.as_object().unwrap())
            .ok()
            .map(|(key, _)| key);
        // RFC 7518 section 3.2 refuses keys that are shorter than the hash.
        let expected = match vector["comment"].as_str() {
            Some("short key") => "invalid",
            _ => text(&vector["jws_result"]),
        };
        vectors.push(Vector {
            id: format!(
                "{file} {} {}: {}",
                vector["group"]["file"], vector["tcId"], vector["comment"]
            ),
            key: key.filter(|key| key.suits(None, algorithm)),
            algorithm,
            message: octets(text(&vector["msg"])),
            signature: octets(text(&vector["sig"])),
            expected: expected.to_owned(),
        });
    }
    vectors
}

#[test]
fn signatures() {
    let mut tally = Tally::default();
    for vector in vectors(&mut tally) {
        let verified = vector
            .key
            .is_some_and(|key| key.verifies(vector.algorithm, &vector.message, &vector.signature));
        tally.check(&vector.id, vector.expected.as_str(), verdict(verified));
    }
    tally.finish("Wycheproof, signatures");
}

/// What the host is asked is the same question: a signature that is none, in whatever way, is none
/// for it, too.
#[cfg(not(target_family = "wasm"))]
#[test]
fn signatures_by_the_host() {
    use crate::boring::verify_signature;
    use crate::config::Verification;
    use crate::jwks::HostVerifier;

    let host = HostVerifier::new(Verification::Host, Some(verify_signature));
    let host = host.expect("it proves itself");
    let mut tally = Tally::default();
    for vector in vectors(&mut tally) {
        let Some(key) = vector.key else { continue };
        match host.verifies(&key, vector.algorithm, &vector.message, &vector.signature) {
            Some(verified) => tally.check(&vector.id, vector.expected.as_str(), verdict(verified)),
            None => tally.leave_out("verified in here"),
        }
    }
    tally.finish("Wycheproof, signatures by the host");
}

fn octets(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}
