//! One key and what it may verify.

use std::fmt;

#[cfg(test)]
mod wycheproof;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::ecdsa::VerifyingKey as Secp256k1Key;
use p256::ecdsa::VerifyingKey as P256Key;
use p384::ecdsa::VerifyingKey as P384Key;
use p384::ecdsa::signature::Verifier as _;
use p521::ecdsa::VerifyingKey as P521Key;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Smallest and largest RSA modulus, in bits: RFC 7518 section 3.3 and a bound on the work.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Octets of the hash, which is the length of the salt, too (RFC 7518 section 3.5).
macro_rules! pss {
    ($hash:ty, $key:expr, $message:expr, $signature:expr) => {
        $key.verify(Pss::<$hash>::new(), &<$hash>::digest($message), $signature)
            .is_ok()
    };
}

macro_rules! pkcs1 {
    ($hash:ty, $key:expr, $message:expr, $signature:expr) => {
        $key.verify(
            Pkcs1v15Sign::new::<$hash>(),
            &<$hash>::digest($message),
            $signature,
        )
        .is_ok()
    };
}

macro_rules! hmac {
    ($hash:ty, $secret:expr, $message:expr, $signature:expr) => {
        Hmac::<$hash>::new_from_slice($secret)
            .is_ok_and(|mac| mac.chain_update($message).verify_slice($signature).is_ok())
    };
}

macro_rules! ecdsa {
    ($curve:ident, $key:expr, $message:expr, $signature:expr) => {
        $curve::ecdsa::Signature::from_slice($signature)
            .is_ok_and(|signature| $key.verify($message, &signature).is_ok())
    };
}

/// A signature algorithm of RFC 7518 section 3, RFC 8037 or RFC 8812.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Algorithm {
    EdDsa,
    Es256,
    Es256k,
    Es384,
    Es512,
    Hs256,
    Hs384,
    Hs512,
    Ps256,
    Ps384,
    Ps512,
    Rs256,
    Rs384,
    Rs512,
}

impl Algorithm {
    /// The algorithm with this name, which is compared byte for byte.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "EdDSA" => Self::EdDsa,
            "ES256" => Self::Es256,
            "ES256K" => Self::Es256k,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            _ => return None,
        })
    }
}

/// Why a key of a set is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unusable(pub(crate) &'static str);

/// A key of a key set (RFC 7517).
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Ed25519(Ed25519Key),
    P256(P256Key),
    P384(Box<P384Key>),
    P521(Box<P521Key>),
    Rsa(Box<RsaPublicKey>),
    Secp256k1(Secp256k1Key),
    Secret(Secret),
}

/// A key that signs as well as it verifies. It is never shown.
struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Key {
    /// Reads a JWK.
    ///
    /// # Errors
    ///
    /// A key that this filter can't or mustn't use for verification.
    pub(crate) fn parse(jwk: &Value) -> Result<Self, Unusable> {
        let Value::Object(jwk) = jwk else {
            return Err(Unusable("it is no object"));
        };
        for_signatures(jwk)?;
        let material = Material::parse(jwk)?;
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(Value::String(name)) => {
                Some(Algorithm::named(name).ok_or(Unusable("its [alg] is not supported"))?)
            }
            Some(_) => return Err(Unusable("its [alg] is no string")),
        };
        if algorithm.is_some_and(|algorithm| !material.suits(algorithm)) {
            return Err(Unusable("its [alg] doesn't belong to its [kty] and [crv]"));
        }
        let id = match jwk.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(_) => return Err(Unusable("its [kid] is no string")),
        };
        Ok(Self {
            id,
            algorithm,
            material,
        })
    }

    /// Whether whoever has this key can sign with it.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(_))
    }

    /// Whether a token with this header may have been signed with this key.
    ///
    /// The algorithm follows from the key, never from the token alone (RFC 8725 section 3.1).
    pub(crate) fn suits(&self, key_id: Option<&str>, algorithm: Algorithm) -> bool {
        let id_fits = match (self.id.as_deref(), key_id) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        };
        id_fits
            && self.material.suits(algorithm)
            && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether this is the key's signature of the message by this algorithm.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.material.verifies(algorithm, message, signature)
    }
}

/// RFC 7517 sections 4.2 and 4.3: what a key is for, where it says so.
fn for_signatures(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    let for_use = jwk.get("use").is_none_or(|value| value == "sig");
    let for_operation = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|value| value == "verify"),
        Some(_) => false,
    };
    if for_use && for_operation {
        Ok(())
    } else {
        Err(Unusable(
            "its [use] or [key_ops] is not to verify signatures",
        ))
    }
}

impl Material {
    fn parse(jwk: &Map<String, Value>) -> Result<Self, Unusable> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        match (text("kty"), text("crv")) {
            (Some("RSA"), _) => {
                let modulus = number(jwk, "n")?;
                let exponent = number(jwk, "e")?;
                RsaPublicKey::new_with_size_limits(modulus, exponent, RSA_BITS)
                    .map(|key| Self::Rsa(Box::new(key)))
                    .map_err(|_| Unusable("its [n] or [e] is out of bounds"))
            }
            (Some("EC"), Some("P-256")) => P256Key::from_sec1_bytes(&point(jwk, 32)?)
                .map(Self::P256)
                .map_err(|_| Unusable("its [x] and [y] are no point of the curve")),
            (Some("EC"), Some("P-384")) => P384Key::from_sec1_bytes(&point(jwk, 48)?)
                .map(|key| Self::P384(Box::new(key)))
                .map_err(|_| Unusable("its [x] and [y] are no point of the curve")),
            (Some("EC"), Some("P-521")) => P521Key::from_sec1_bytes(&point(jwk, 66)?)
                .map(|key| Self::P521(Box::new(key)))
                .map_err(|_| Unusable("its [x] and [y] are no point of the curve")),
            (Some("EC"), Some("secp256k1")) => Secp256k1Key::from_sec1_bytes(&point(jwk, 32)?)
                .map(Self::Secp256k1)
                .map_err(|_| Unusable("its [x] and [y] are no point of the curve")),
            (Some("oct"), _) => match octets(jwk, "k")? {
                // RFC 7518 section 3.2: at least as long as the hash, of which this is the shortest.
                secret if secret.len() >= 32 => Ok(Self::Secret(Secret(secret))),
                _ => Err(Unusable("its [k] is shorter than 32 octets")),
            },
            (Some("OKP"), Some("Ed25519")) => octets(jwk, "x")?
                .try_into()
                .ok()
                .and_then(|x| Ed25519Key::from_bytes(&x).ok())
                .filter(|key| !key.is_weak())
                .map(Self::Ed25519)
                .ok_or(Unusable("its [x] is no point of the curve, or a weak one")),
            _ => Err(Unusable("its [kty] and [crv] are not supported")),
        }
    }

    fn suits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Ed25519(_) => algorithm == A::EdDsa,
            Self::P256(_) => algorithm == A::Es256,
            Self::P384(_) => algorithm == A::Es384,
            Self::P521(_) => algorithm == A::Es512,
            Self::Rsa(_) => matches!(
                algorithm,
                A::Ps256 | A::Ps384 | A::Ps512 | A::Rs256 | A::Rs384 | A::Rs512
            ),
            Self::Secp256k1(_) => algorithm == A::Es256k,
            Self::Secret(secret) => match algorithm {
                A::Hs256 => true,
                A::Hs384 => secret.0.len() >= 48,
                A::Hs512 => secret.0.len() >= 64,
                _ => false,
            },
        }
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        use Algorithm as A;
        match (self, algorithm) {
            (Self::Ed25519(key), A::EdDsa) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            (Self::P256(key), A::Es256) => ecdsa!(p256, key, message, signature),
            (Self::P384(key), A::Es384) => ecdsa!(p384, key, message, signature),
            (Self::P521(key), A::Es512) => ecdsa!(p521, key, message, signature),
            (Self::Rsa(key), A::Ps256) => pss!(Sha256, key, message, signature),
            (Self::Rsa(key), A::Ps384) => pss!(Sha384, key, message, signature),
            (Self::Rsa(key), A::Ps512) => pss!(Sha512, key, message, signature),
            (Self::Rsa(key), A::Rs256) => pkcs1!(Sha256, key, message, signature),
            (Self::Rsa(key), A::Rs384) => pkcs1!(Sha384, key, message, signature),
            (Self::Rsa(key), A::Rs512) => pkcs1!(Sha512, key, message, signature),
            // The crate takes only the lower of the two S that verify; RFC 8812 takes both.
            (Self::Secp256k1(key), A::Es256k) => k256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature.normalize_s()).is_ok()),
            (Self::Secret(secret), A::Hs256) => hmac!(Sha256, &secret.0, message, signature),
            (Self::Secret(secret), A::Hs384) => hmac!(Sha384, &secret.0, message, signature),
            (Self::Secret(secret), A::Hs512) => hmac!(Sha512, &secret.0, message, signature),
            _ => false,
        }
    }
}

fn octets(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unusable> {
    jwk.get(name)
        .and_then(Value::as_str)
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or(Unusable("a part of it is missing or no base64url"))
}

fn number(jwk: &Map<String, Value>, name: &str) -> Result<BoxedUint, Unusable> {
    let octets = octets(jwk, name)?;
    // Leading zeros, which RFC 7518 section 2 forbids and some providers write, would make every
    // calculation with the number longer.
    let start = octets.iter().position(|octet| *octet != 0);
    let digits = octets.get(start.unwrap_or(octets.len())..);
    Ok(BoxedUint::from_be_slice_vartime(digits.unwrap_or_default()))
}

/// The uncompressed SEC 1 encoding; both coordinates have exactly the curve's length (RFC 7518
/// section 6.2.1.2).
fn point(jwk: &Map<String, Value>, length: usize) -> Result<Vec<u8>, Unusable> {
    let (x, y) = (octets(jwk, "x")?, octets(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(Unusable("its [x] or [y] has the wrong length"));
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}
