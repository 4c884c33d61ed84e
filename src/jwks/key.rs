//! One key and what it may verify.

mod certificate;
mod exported;
mod material;
mod public;
#[cfg(test)]
mod wycheproof;

use std::fmt;

use serde_json::{Map, Value};

pub(super) use self::certificate::{holds_private_key, is_pem, label, pem_blocks};
use self::exported::Exported;
use self::material::Material;
pub(super) use self::public::PublicKey;
use crate::json;

/// A signature algorithm of RFC 7518 section 3, RFC 8037, RFC 8812, RFC 9864 or RFC 9964.
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
            // RFC 9864 section 2.2 names the curve; of those of EdDSA there is only this one here.
            "EdDSA" | "Ed25519" => Self::EdDsa,
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
pub(crate) enum Unusable {
    /// It is for something else than signatures of tokens, and says so.
    ForAnotherUse,
    /// It has no such member.
    Missing(&'static str),
    /// This member is no base64url.
    NotBase64Url(&'static str),
    Wrong(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForAnotherUse => formatter.write_str("it is for another use"),
            Self::Missing(name) => write!(formatter, "its [{name}] is missing"),
            Self::NotBase64Url(name) => {
                write!(
                    formatter,
                    "its [{name}] is no base64url (RFC 7515 section 2)"
                )
            }
            Self::Wrong(why) => formatter.write_str(why),
        }
    }
}

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
    /// Reads a JWK. Tells what of it is ignored, too.
    ///
    /// # Errors
    ///
    /// A key that this filter can't or mustn't use for verification.
    pub(crate) fn parse(jwk: &Map<String, Value>) -> Result<(Self, Option<Unusable>), Unusable> {
        for_signatures(jwk)?;
        let (material, exported, ignored) = match jwk.get("kty") {
            Some(kty) if kty == "oct" => {
                let secret = Material::secret(public::octets(jwk, "k")?)?;
                (secret, None, None)
            }
            _ => {
                let (key, ignored) = PublicKey::parse(jwk)?;
                let (material, exported) = of_public(&key)?;
                (material, exported, ignored)
            }
        };
        let text = |name: &str, no_string| match json::set(jwk, name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Unusable::Wrong(no_string)),
        };
        let algorithm = match text("alg", "its [alg] is no string")? {
            None => None,
            Some(name) => {
                Some(Algorithm::named(name).ok_or(Unusable::Wrong("its [alg] is not supported"))?)
            }
        };
        if algorithm.is_some_and(|algorithm| !material.suits(algorithm)) {
            return Err(Unusable::Wrong(
                "its [alg] doesn't belong to its [kty] and [crv]",
            ));
        }
        let key = Self {
            id: text("kid", "its [kid] is no string")?.cloned(),
            algorithm,
            material,
            exported,
        };
        Ok((key, ignored))
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

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
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

/// The public key of a JWK, which may be a private one.
pub(super) fn public_part(jwk: &Map<String, Value>) -> Option<PublicKey> {
    Some(PublicKey::parse(jwk).ok()?.0)
}

/// Whether this JWK is for the same key as one of those.
pub(super) fn is_one_of(jwk: &Map<String, Value>, keys: &[PublicKey]) -> bool {
    !keys.is_empty() && public_part(jwk).is_some_and(|key| keys.contains(&key))
}

/// RFC 7517 sections 4.2 and 4.3: what a key is for, where it says so.
///
/// Keys for encryption stand in the sets of many providers (Keycloak's), those for other documents
/// than JWTs in SPIFFE's bundles (SPIFFE Trust Domain and Bundle, section 4.2.2). A `wit-svid` key
/// signs identities that anybody may hold and nobody may take as bearer tokens (WIT-SVID).
fn for_signatures(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    let text = |name: &str| json::set(jwk, name).and_then(Value::as_str);
    let wrong = Unusable::Wrong("its [use] or [key_ops] is not to verify signatures");
    let is_said = match json::set(jwk, "use") {
        None => false,
        Some(_) => match text("use") {
            Some("sig" | "jwt-svid") => true,
            Some("enc" | "wit-svid" | "x509-svid") => return Err(Unusable::ForAnotherUse),
            _ => return Err(wrong),
        },
    };
    match json::set(jwk, "key_ops") {
        None if is_said => Ok(()),
        None => {
            let algorithm = text("alg").unwrap_or_default();
            let encrypts = ["RSA-OAEP", "RSA1_5", "ECDH-ES"];
            match encrypts.iter().any(|start| algorithm.starts_with(start))
                || matches!(text("crv"), Some("X25519" | "X448"))
            {
                true => Err(Unusable::ForAnotherUse),
                false => Ok(()),
            }
        }
        Some(Value::Array(operations)) if operations.iter().any(|own| own == "verify") => Ok(()),
        Some(Value::Array(operations)) => {
            let encrypts = operations.iter().all(|own| {
                let own = own.as_str().unwrap_or_default();
                own.ends_with("crypt") || own.ends_with("wrapKey") || own.starts_with("derive")
            });
            Err(if encrypts {
                Unusable::ForAnotherUse
            } else {
                wrong
            })
        }
        Some(_) => Err(wrong),
    }
}
