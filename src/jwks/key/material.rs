//! The mathematical part of a key, and what it verifies.

use std::fmt;

use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::ecdsa::VerifyingKey as Secp256k1Key;
use ml_dsa::{MlDsa44, MlDsa65, MlDsa87, MlDsaParams, VerifyingKey as MlDsaKey};
use p256::ecdsa::VerifyingKey as P256Key;
use p384::ecdsa::VerifyingKey as P384Key;
use p384::ecdsa::signature::Verifier as _;
use p521::ecdsa::VerifyingKey as P521Key;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::public::{Kind, Number, PublicKey};
use super::{Algorithm, Unusable};

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

/// With the context that JOSE gives, which is empty (RFC 9964).
macro_rules! ml_dsa {
    ($key:expr, $message:expr, $signature:expr) => {
        ml_dsa::Signature::try_from($signature)
            .is_ok_and(|signature| $key.verify($message, &signature).is_ok())
    };
}

#[derive(Debug)]
pub(super) enum Material {
    Ed25519(Ed25519Key),
    MlDsa44(Box<MlDsaKey<MlDsa44>>),
    MlDsa65(Box<MlDsaKey<MlDsa65>>),
    MlDsa87(Box<MlDsaKey<MlDsa87>>),
    P256(P256Key),
    P384(Box<P384Key>),
    P521(Box<P521Key>),
    Rsa(Box<RsaPublicKey>),
    Secp256k1(Secp256k1Key),
    Secret(Secret),
}

/// A key that signs as well as it verifies. It is never shown.
pub(super) struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Material {
    /// A key that is one: of the right length, on its curve, neither too small nor too large, and
    /// none of those with which anybody's signature verifies.
    pub(super) fn public(key: &PublicKey) -> Result<Self, Unusable> {
        let (kind, key) = match key {
            PublicKey::Rsa(modulus, exponent) => return Self::rsa(modulus, exponent),
            PublicKey::Encoded(kind, key) => (kind, key.as_slice()),
        };
        let material = match kind {
            Kind::Ed25519 => (key.try_into().ok())
                .and_then(|key| Ed25519Key::from_bytes(key).ok())
                .filter(|key| !key.is_weak())
                .map(Self::Ed25519),
            Kind::MlDsa44 => ml_dsa_key(key).map(Self::MlDsa44),
            Kind::MlDsa65 => ml_dsa_key(key).map(Self::MlDsa65),
            Kind::MlDsa87 => ml_dsa_key(key).map(Self::MlDsa87),
            Kind::P256 => P256Key::from_sec1_bytes(key).ok().map(Self::P256),
            Kind::P384 => (P384Key::from_sec1_bytes(key).ok().map(Box::new)).map(Self::P384),
            Kind::P521 => (P521Key::from_sec1_bytes(key).ok().map(Box::new)).map(Self::P521),
            Kind::Secp256k1 => Secp256k1Key::from_sec1_bytes(key).ok().map(Self::Secp256k1),
        };
        material.ok_or(Unusable::Wrong(
            "it is no point of its curve, a weak one, or of the wrong length",
        ))
    }

    fn rsa(modulus: &Number, exponent: &Number) -> Result<Self, Unusable> {
        let number = |number: &Number| BoxedUint::from_be_slice_vartime(number.octets());
        RsaPublicKey::new_with_size_limits(number(modulus), number(exponent), RSA_BITS)
            .map(|key| Self::Rsa(Box::new(key)))
            .map_err(|_| Unusable::Wrong("its modulus or exponent is out of bounds"))
    }

    /// A shared secret, at least as long as the hash (RFC 7518 section 3.2), of which the shortest
    /// has 32 octets.
    pub(super) fn secret(secret: Vec<u8>) -> Result<Self, Unusable> {
        match secret.len() {
            0..32 => Err(Unusable::Wrong("its [k] is shorter than 32 octets")),
            _ => Ok(Self::Secret(Secret(secret))),
        }
    }

    pub(super) fn suits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Ed25519(_) => algorithm == A::EdDsa,
            Self::MlDsa44(_) => algorithm == A::MlDsa44,
            Self::MlDsa65(_) => algorithm == A::MlDsa65,
            Self::MlDsa87(_) => algorithm == A::MlDsa87,
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

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        use Algorithm as A;
        match (self, algorithm) {
            (Self::Ed25519(key), A::EdDsa) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            (Self::MlDsa44(key), A::MlDsa44) => ml_dsa!(key, message, signature),
            (Self::MlDsa65(key), A::MlDsa65) => ml_dsa!(key, message, signature),
            (Self::MlDsa87(key), A::MlDsa87) => ml_dsa!(key, message, signature),
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

fn ml_dsa_key<P: MlDsaParams>(key: &[u8]) -> Option<Box<MlDsaKey<P>>> {
    MlDsaKey::new_from_slice(key).ok().map(Box::new)
}
