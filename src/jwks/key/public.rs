//! Public keys as they are written down, whether or not there are such keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{Unusable, certificate};
use crate::json;

/// A public key as it was read.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum PublicKey {
    /// RFC 8017 section 3.1.
    Rsa(Number, Number),
    /// A key in the one encoding that its kind has: SEC 1 section 2.3.3 for a point of an EC curve,
    /// RFC 8032 section 5.1.2 for one of Ed25519, FIPS 204 section 7.2 for ML-DSA.
    Encoded(Kind, Vec<u8>),
}

/// Keys that have one encoding, whatever they stand in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Ed25519,
    MlDsa44,
    MlDsa65,
    MlDsa87,
    P256,
    P384,
    P521,
    Secp256k1,
}

/// A big-endian number without zeros before it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Number(Vec<u8>);

impl Number {
    /// Takes zeros off: RFC 7518 section 2 forbids them, some providers write them, and every
    /// calculation with the number would be longer.
    pub(super) fn new(octets: &[u8]) -> Self {
        Self(
            octets
                .iter()
                .copied()
                .skip_while(|octet| *octet == 0)
                .collect(),
        )
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl PublicKey {
    /// Reads the members of a JWK that depend on its type: RFC 7518 section 6, RFC 8037, RFC 8812,
    /// and RFC 9964 for ML-DSA.
    ///
    /// Where there are certificates, the first one must be for the key that the other members are
    /// (RFC 7517 section 4.7), as far as there are any. One that can't be read is for no other key:
    /// the members count, and why it can't be read is told beside them.
    pub(super) fn parse(jwk: &Map<String, Value>) -> Result<(Self, Option<Unusable>), Unusable> {
        let Some(chain) = json::set(jwk, "x5c") else {
            return Ok((Self::from_members(jwk)?, None));
        };
        let certificate = (chain.get(0).and_then(Value::as_str))
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or(Unusable::Wrong(
                "its [x5c] is no list of certificates in base64",
            ))
            .and_then(|certificate| certificate::from_certificate(&certificate));
        let is_bare = ["e", "n", "pub", "x", "y"]
            .iter()
            .all(|name| json::set(jwk, name).is_none());
        match certificate {
            Ok(key) => {
                let is_same = match is_bare {
                    true => key.is_called(jwk),
                    false => key == Self::from_members(jwk)?,
                };
                match is_same {
                    true => Ok((key, None)),
                    false => Err(Unusable::Wrong("its [x5c] is for another key")),
                }
            }
            Err(why) if is_bare => Err(why),
            Err(why) => Ok((Self::from_members(jwk)?, Some(why))),
        }
    }

    fn from_members(jwk: &Map<String, Value>) -> Result<Self, Unusable> {
        let text = |name: &str| json::set(jwk, name).and_then(Value::as_str);
        Ok(match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Self::Rsa(
                Number::new(&octets(jwk, "n")?),
                Number::new(&octets(jwk, "e")?),
            ),
            (Some("EC"), Some("P-256")) => Self::Encoded(Kind::P256, point(jwk, 32)?),
            (Some("EC"), Some("P-384")) => Self::Encoded(Kind::P384, point(jwk, 48)?),
            (Some("EC"), Some("P-521")) => Self::Encoded(Kind::P521, point(jwk, 66)?),
            (Some("EC"), Some("secp256k1")) => Self::Encoded(Kind::Secp256k1, point(jwk, 32)?),
            (Some("OKP"), Some("Ed25519")) => Self::Encoded(Kind::Ed25519, octets(jwk, "x")?),
            (Some("AKP"), _) => {
                let kind = match text("alg") {
                    Some("ML-DSA-44") => Kind::MlDsa44,
                    Some("ML-DSA-65") => Kind::MlDsa65,
                    Some("ML-DSA-87") => Kind::MlDsa87,
                    _ => return Err(Unusable::Wrong("its [alg] is missing or not supported")),
                };
                Self::Encoded(kind, octets(jwk, "pub")?)
            }
            _ => return Err(Unusable::Wrong("its [kty] and [crv] are not supported")),
        })
    }

    /// Whether the type that a JWK names is this key's; it need not name the curve.
    fn is_called(&self, jwk: &Map<String, Value>) -> bool {
        let (kty, crv) = match self {
            Self::Rsa(..) => ("RSA", ""),
            Self::Encoded(kind, _) => match kind {
                Kind::Ed25519 => ("OKP", "Ed25519"),
                Kind::MlDsa44 | Kind::MlDsa65 | Kind::MlDsa87 => ("AKP", ""),
                Kind::P256 => ("EC", "P-256"),
                Kind::P384 => ("EC", "P-384"),
                Kind::P521 => ("EC", "P-521"),
                Kind::Secp256k1 => ("EC", "secp256k1"),
            },
        };
        jwk.get("kty").is_some_and(|own| own == kty)
            && json::set(jwk, "crv").is_none_or(|own| own == crv)
    }
}

/// A member of a JWK in base64url.
pub(super) fn octets(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, Unusable> {
    let value = json::set(jwk, name).ok_or(Unusable::Missing(name))?;
    let octets = value.as_str().map(|text| URL_SAFE_NO_PAD.decode(text));
    octets
        .and_then(Result::ok)
        .ok_or(Unusable::NotBase64Url(name))
}

/// The uncompressed SEC 1 encoding.
fn point(jwk: &Map<String, Value>, length: usize) -> Result<Vec<u8>, Unusable> {
    let [x, y] = ["x", "y"].map(|name| coordinate(jwk, name, length));
    Ok([&[4], x?.as_slice(), y?.as_slice()].concat())
}

/// A coordinate in as many octets as the curve's field has (RFC 7518 section 6.2.1.2). Some providers
/// leave out its leading zeros or write one more; it is the same number, and whether the point is
/// on the curve is looked at later.
fn coordinate(
    jwk: &Map<String, Value>,
    name: &'static str,
    length: usize,
) -> Result<Vec<u8>, Unusable> {
    let Number(number) = Number::new(&octets(jwk, name)?);
    let zeros = length
        .checked_sub(number.len())
        .ok_or(Unusable::Wrong("its [x] or [y] is too long for its curve"))?;
    let mut padded = vec![0; zeros];
    padded.extend_from_slice(&number);
    Ok(padded)
}
