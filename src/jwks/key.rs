//! One key and what it may verify.

mod certificate;
mod exported;
mod material;
mod public;
#[cfg(test)]
mod wycheproof;

use serde_json::{Map, Value};

pub(super) use self::certificate::{holds_private_key, is_pem, pem_blocks};
use self::exported::Exported;
use self::material::Material;
use self::public::PublicKey;

/// A signature algorithm of RFC 7518 section 3, RFC 8037, RFC 8812 or RFC 9964.
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
    MlDsa44,
    MlDsa65,
    MlDsa87,
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
            "ML-DSA-44" => Self::MlDsa44,
            "ML-DSA-65" => Self::MlDsa65,
            "ML-DSA-87" => Self::MlDsa87,
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
    /// For the host, where the key is of a kind that it may know.
    exported: Option<Exported>,
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
        let (material, exported) = match jwk.get("kty") {
            Some(kty) if kty == "oct" => (Material::secret(public::octets(jwk, "k")?)?, None),
            _ => of_public(&PublicKey::parse(jwk)?)?,
        };
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
            exported,
        })
    }

    /// Reads a PEM block: a certificate or a public key, which may verify all that its type can.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub(super) fn from_pem(block: &str, id: Option<&str>) -> Result<Self, Unusable> {
        let (material, exported) = of_public(&certificate::from_pem(block)?)?;
        Ok(Self {
            id: id.filter(|id| !id.is_empty()).map(str::to_owned),
            algorithm: None,
            material,
            exported,
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

    /// The same as a question to the host; `None` where the host can't be asked.
    pub(super) fn question(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Vec<u8>> {
        let exported = self
            .exported
            .as_ref()
            .filter(|_| self.material.suits(algorithm))?;
        exported.question(algorithm, message, signature)
    }
}

fn of_public(key: &PublicKey) -> Result<(Material, Option<Exported>), Unusable> {
    Ok((Material::public(key)?, Exported::new(key)))
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
