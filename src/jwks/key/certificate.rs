//! Keys as X.509 has them: certificates, bare public keys, and PEM around them (RFC 5280, RFC 7468).
//!
//! Nothing of a certificate is read but its key: whoever configured it, or the server it was fetched
//! from, vouches for it, not its issuer. Neither the chain nor the validity is looked at, as in Envoy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Decode as _, Encode as _, Reader as _, SliceReader, TagMode, TagNumber};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef};

use super::Unusable;
use super::public::{Kind, Number, PublicKey};

const BEGIN: &str = "-----BEGIN ";

/// RFC 3279 sections 2.3.1 and 2.3.5.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// RFC 5480 section 2.1.1.1, SEC 2 for the last.
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");
/// RFC 8410 section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 9881 section 2.
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// Whether this is a text with PEM blocks. Others may stand around them (RFC 7468 section 2), but a
/// page or JSON that shows one is no such text.
pub(crate) fn is_pem(text: &str) -> bool {
    text.contains(BEGIN) && !text.trim_ascii_start().starts_with(['<', '{', '['])
}

/// Whether a PEM block of this text holds a private key, of whatever kind.
pub(crate) fn holds_private_key(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}

/// The PEM blocks of a text, one after the other, each with what stands behind it.
pub(crate) fn pem_blocks(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices(BEGIN).map(|(start, _)| start);
    let ends = starts.clone().skip(1).chain([text.len()]);
    starts
        .zip(ends)
        .map(|(start, end)| text.get(start..end).unwrap_or_default())
}

/// The key of one PEM block: a certificate or a public key.
pub(super) fn from_pem(block: &str) -> Result<PublicKey, Unusable> {
    let (label, content) = content(block).ok_or(Unusable::Wrong("it is no whole PEM block"))?;
    let lines = content.split_ascii_whitespace();
    let der = STANDARD.decode(lines.collect::<String>()).map_err(|_| {
        Unusable::Wrong(match content.contains('\\') {
            true => "its line breaks are written as `\\n`: write real ones",
            false => "it is no base64 between its first and its last line",
        })
    })?;
    match label {
        "CERTIFICATE" => from_certificate(&der),
        "PUBLIC KEY" => from_public_key(&der),
        "RSA PUBLIC KEY" => from_rsa_public_key(&der),
        _ => Err(Unusable::Wrong("it is neither certificate nor public key")),
    }
}

/// Label and content of a PEM block, whose lines may have any length (RFC 7468 section 3).
fn content(block: &str) -> Option<(&str, &str)> {
    let (label, rest) = block.strip_prefix(BEGIN)?.split_once("-----")?;
    let (content, rest) = rest.split_once("-----END ")?;
    rest.strip_prefix(label)?.strip_prefix("-----")?;
    Some((label, content))
}

/// Under which label the DER of a public key or certificate would stand.
pub(crate) fn label(der: &[u8]) -> Option<&'static str> {
    if from_public_key(der).is_ok() {
        Some("PUBLIC KEY")
    } else if from_certificate(der).is_ok() {
        Some("CERTIFICATE")
    } else {
        from_rsa_public_key(der).is_ok().then_some("RSA PUBLIC KEY")
    }
}

/// The key of a certificate (RFC 5280 section 4.1) in DER.
pub(super) fn from_certificate(der: &[u8]) -> Result<PublicKey, Unusable> {
    let info = read(der, |reader| {
        reader.sequence(|certificate| {
            let info = certificate.sequence(key_of_certificate_body)?;
            certificate.drain(certificate.remaining_len())?;
            Ok(info)
        })
    });
    from_public_key(info.map_err(|_| Unusable::Wrong("its certificate can't be read"))?)
}

/// The `SubjectPublicKeyInfo` of a `TBSCertificate`, whose other parts are skipped.
fn key_of_certificate_body<'a>(body: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    // Certificates of version 1 don't say their version.
    body.context_specific::<u8>(TagNumber(0), TagMode::Explicit)?;
    for _serial_signature_issuer_validity_subject in 0..5 {
        body.tlv_bytes()?;
    }
    let info = body.tlv_bytes()?;
    body.drain(body.remaining_len())?;
    Ok(info)
}

/// The key of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) in DER.
fn from_public_key(der: &[u8]) -> Result<PublicKey, Unusable> {
    let unreadable = Unusable::Wrong("its public key can't be read");
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| unreadable)?;
    let key = info.subject_public_key.as_bytes().ok_or(unreadable)?;
    let parameters = info.algorithm.parameters;
    let kind = match (info.algorithm.oid, parameters) {
        (RSA, Some(null)) if null.is_null() => return from_rsa_public_key(key),
        (EC, Some(curve)) => match curve.decode_as() {
            Ok(P256) => Kind::P256,
            Ok(P384) => Kind::P384,
            Ok(P521) => Kind::P521,
            Ok(SECP256K1) => Kind::Secp256k1,
            _ => return Err(Unusable::Wrong("its curve is not supported")),
        },
        (ED25519, None) => Kind::Ed25519,
        (ML_DSA_44, None) => Kind::MlDsa44,
        (ML_DSA_65, None) => Kind::MlDsa65,
        (ML_DSA_87, None) => Kind::MlDsa87,
        _ => return Err(Unusable::Wrong("its algorithm is not supported")),
    };
    Ok(PublicKey::Encoded(kind, key.to_vec()))
}

/// The `SubjectPublicKeyInfo` of a key in DER; `None` for kinds that nobody asks for.
pub(super) fn to_public_key(key: &PublicKey) -> Option<Vec<u8>> {
    let rsa;
    let (oid, parameters, octets) = match key {
        PublicKey::Rsa(modulus, exponent) => {
            let numbers = [modulus, exponent].map(|number| UintRef::new(number.octets()));
            let [modulus, exponent] = numbers;
            rsa = sequence(&[modulus.ok()?, exponent.ok()?])?;
            (RSA, AnyRef::NULL, rsa.as_slice())
        }
        PublicKey::Encoded(kind, point) => {
            let curve = match kind {
                Kind::P256 => &P256,
                Kind::P384 => &P384,
                Kind::P521 => &P521,
                _ => return None,
            };
            (EC, AnyRef::from(curve), point.as_slice())
        }
    };
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitStringRef::from_bytes(octets).ok()?,
    };
    info.to_der().ok()
}

/// The two integers of an `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3), or of an `RSAPublicKey`, in DER.
pub(super) fn sequence(numbers: &[UintRef<'_>; 2]) -> Option<Vec<u8>> {
    numbers.to_der().ok()
}

/// The key of an `RSAPublicKey` (RFC 8017 appendix A.1.1) in DER.
fn from_rsa_public_key(der: &[u8]) -> Result<PublicKey, Unusable> {
    let (modulus, exponent) = read(der, |reader| {
        reader.sequence(|key| Ok((UintRef::decode(key)?, UintRef::decode(key)?)))
    })
    .map_err(|_| Unusable::Wrong("its public key can't be read"))?;
    Ok(PublicKey::Rsa(
        Number::new(modulus.as_bytes()),
        Number::new(exponent.as_bytes()),
    ))
}

/// All of the DER, nothing behind it.
fn read<'a, T>(
    der: &'a [u8],
    value: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> der::Result<T> {
    let mut reader = SliceReader::new(der)?;
    let value = value(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    /// The same keys in every form.
    fn keys() -> Vec<Value> {
        let file: Value = serde_json::from_str(include_str!("certificates.json")).unwrap();
        file["keys"].as_array().unwrap().clone()
    }

    fn text<'a>(key: &'a Value, form: &str) -> &'a str {
        key[form].as_str().unwrap()
    }

    fn named(name: &str) -> Value {
        keys().into_iter().find(|key| key["name"] == name).unwrap()
    }

    #[test]
    fn every_form_is_the_same_key() {
        for key in keys() {
            let members = key["jwk"].as_object().unwrap();
            let (expected, _) = PublicKey::parse(members).unwrap();
            let forms = ["public_key", "certificate"].map(|form| key[form].as_str());
            for pem in forms.into_iter().flatten() {
                assert_eq!(from_pem(pem).unwrap(), expected, "{}", key["name"]);
                assert_eq!(from_pem(&pem.replace('\n', "")).unwrap(), expected);
                assert_eq!(from_pem(&pem.replace('\n', "\r\n")).unwrap(), expected);
            }
        }
    }

    /// A JWK of the key's type with this certificate and these members.
    fn with_certificate(
        kty: &str,
        of: &str,
        members: &Value,
    ) -> Result<(PublicKey, Option<Unusable>), Unusable> {
        let certificate: String = text(&named(of), "certificate")
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let mut jwk = json!({"kty": kty, "x5c": [certificate, "the issuer's, unread"]});
        let members: Map<String, Value> = members.as_object().unwrap().clone();
        jwk.as_object_mut().unwrap().extend(members);
        PublicKey::parse(jwk.as_object().unwrap())
    }

    #[test]
    fn certificates_of_jwks() {
        let other = Err(Unusable::Wrong("its [x5c] is for another key"));
        for (kty, of) in [
            ("EC", "kp256"),
            ("EC", "kp521"),
            ("OKP", "ked25519"),
            ("RSA", "krsa"),
        ] {
            let jwk = &named(of)["jwk"];
            let key = PublicKey::parse(jwk.as_object().unwrap());
            assert_eq!(key.as_ref().unwrap().1, None);
            assert_eq!(with_certificate(kty, of, jwk), key, "beside the key");
            assert_eq!(with_certificate(kty, of, &json!({})), key, "alone");
            assert_eq!(with_certificate("oct", of, &json!({})), other);
            assert_eq!(with_certificate(kty, "kp384", jwk), other);
        }
        let curve = |crv: &str| with_certificate("EC", "kp256", &json!({ "crv": crv }));
        assert!(curve("P-256").is_ok());
        assert_eq!(curve("P-384"), other);
        assert_eq!(
            with_certificate("RSA", "krsa", &json!({"e": "AQAB"})),
            Err(Unusable::Missing("n")),
        );
        let rsa = named("krsa")["jwk"].as_object().unwrap().clone();
        let (rsa_key, _) = PublicKey::parse(&rsa).unwrap();
        let certificate = "its certificate can't be read";
        let chain = "its [x5c] is no list of certificates in base64";
        for (x5c, why) in [
            (json!({}), chain),
            (json!("AA=="), chain),
            (json!(["A-_="]), chain),
            (json!([7]), chain),
            (json!(["MAA="]), certificate),
            (json!(["AA=="]), certificate),
        ] {
            let why = Unusable::Wrong(why);
            let alone = with_certificate("RSA", "krsa", &json!({ "x5c": x5c }));
            assert_eq!(alone, Err(why), "{x5c}");
            let mut beside = rsa.clone();
            beside.insert("x5c".to_owned(), x5c);
            let beside = PublicKey::parse(&beside).unwrap();
            assert_eq!((&beside.0, beside.1), (&rsa_key, Some(why)));
        }
    }

    #[test]
    fn what_is_no_key() {
        let der = |der: &[u8]| {
            let body = STANDARD.encode(der);
            from_pem(&format!(
                "-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"
            ))
        };
        let ed25519 = |octets: usize, tail: &[u8]| {
            let length = |more: usize| u8::try_from(octets + more).unwrap();
            let head = [
                0x30,
                length(10),
                0x30,
                5,
                6,
                3,
                0x2b,
                0x65,
                0x70,
                3,
                length(1),
                0,
            ];
            [&head, vec![9; octets].as_slice(), tail].concat()
        };
        assert!(der(&ed25519(32, &[])).is_ok());
        let unreadable = Err(Unusable::Wrong("its public key can't be read"));
        assert_eq!(der(&ed25519(32, &[0])), unreadable);
        assert_eq!(der(&[0]), unreadable);
        // X25519 signs nothing.
        let x25519: Vec<u8> = ed25519(32, &[])
            .iter()
            .map(|b| if *b == 0x70 { 0x6e } else { *b })
            .collect();
        assert_eq!(
            der(&x25519),
            Err(Unusable::Wrong("its algorithm is not supported"))
        );

        let key = named("ked25519");
        let pem = text(&key, "public_key").trim();
        let cut = "it is no whole PEM block";
        let noise = "it is no base64 between its first and its last line";
        for (text, why) in [
            ("-----BEGIN PUBLIC KEY-----", cut),
            (&pem.replacen("PUBLIC", "RSA PUBLIC", 1), cut),
            (
                &pem.replace("-----END PUBLIC KEY-----", "-----END PUBLIC KEY"),
                cut,
            ),
            (&pem.replace("MCow", "MC!w"), noise),
            (&pem.replace("MCow", "MC\nx: y\n\now"), noise),
        ] {
            assert_eq!(from_pem(text), Err(Unusable::Wrong(why)), "{text}");
        }
        assert!(from_pem(&format!("{pem}\nand more")).is_ok());
        assert_eq!(
            from_pem(&pem.replace("PUBLIC KEY", "EC PARAMETERS")),
            Err(Unusable::Wrong("it is neither certificate nor public key")),
        );
    }
}
