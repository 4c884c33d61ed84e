//! Private keys and the tokens that they sign, by jwt-simple: another implementation than the one that
//! verifies them.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use clap::ValueEnum;
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike as _, ECDSAP256kKeyPairLike as _, ECDSAP384KeyPairLike as _,
    EdDSAKeyPairLike as _, MACLike as _, MLDSAKeyPairLike as _, RSAKeyPairLike as _,
};
use jwt_simple::prelude::{
    Claims, Duration, ES256KeyPair, ES256kKeyPair, ES384KeyPair, Ed25519KeyPair, HS256Key,
    HS384Key, HS512Key, HeaderOptions, JWTClaims, MLDSA44KeyPair, MLDSA65KeyPair, MLDSA87KeyPair,
    PS256KeyPair, PS384KeyPair, PS512KeyPair, RS256KeyPair, RS384KeyPair, RS512KeyPair,
};
use serde_json::{Map, Value, json};

use crate::json;

/// As large as it takes to be taken (RFC 7518 section 3.3).
const RSA_BITS: usize = 2048;

/// What tokens are signed with (RFC 7518, RFC 8037, RFC 8812, RFC 9964).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Algorithm {
    #[default]
    #[value(name = "ES256")]
    Es256,
    #[value(name = "ES256K")]
    Es256k,
    #[value(name = "ES384")]
    Es384,
    #[value(name = "EdDSA")]
    EdDsa,
    #[value(name = "HS256")]
    Hs256,
    #[value(name = "HS384")]
    Hs384,
    #[value(name = "HS512")]
    Hs512,
    #[value(name = "ML-DSA-44")]
    MlDsa44,
    #[value(name = "ML-DSA-65")]
    MlDsa65,
    #[value(name = "ML-DSA-87")]
    MlDsa87,
    #[value(name = "PS256")]
    Ps256,
    #[value(name = "PS384")]
    Ps384,
    #[value(name = "PS512")]
    Ps512,
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "RS384")]
    Rs384,
    #[value(name = "RS512")]
    Rs512,
}

impl Algorithm {
    /// By its name in JOSE.
    fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// The one that a key is for which doesn't say: by its type and curve, and of those for RSA keys and
    /// secrets the usual one.
    fn of(jwk: &Value) -> Option<Self> {
        let member = |name: &str| jwk.get(name).and_then(Value::as_str);
        if let Some(name) = member("alg") {
            return Self::named(name);
        }
        Some(match (member("kty")?, member("crv")) {
            ("EC", Some("P-256")) => Self::Es256,
            ("EC", Some("secp256k1")) => Self::Es256k,
            ("EC", Some("P-384")) => Self::Es384,
            ("OKP", Some("Ed25519")) => Self::EdDsa,
            ("RSA", _) => Self::Rs256,
            ("oct", _) => Self::Hs256,
            _ => return None,
        })
    }
}

/// A key that signs.
pub(super) struct SigningKey(Box<dyn Pair>);

impl SigningKey {
    /// Makes a new one. Without a name it is called by its thumbprint (RFC 7638); a secret, whose
    /// thumbprint would tell of it, has no name then.
    pub(super) fn generate(algorithm: Algorithm, kid: Option<&str>) -> Result<Self, String> {
        let pair = generate(algorithm).map_err(|error| error.to_string())?;
        Self::named(pair, algorithm, kid)
    }

    /// Reads a JWK, a JWK set (of which it takes the key with this `kid`, or else the first), or PEM.
    ///
    /// # Errors
    ///
    /// What keeps it from signing.
    pub(super) fn parse(
        text: &str,
        algorithm: Option<Algorithm>,
        kid: Option<&str>,
    ) -> Result<Self, String> {
        if text.contains("-----BEGIN") {
            let tried = match &algorithm {
                Some(algorithm) => std::slice::from_ref(algorithm),
                None => &[
                    Algorithm::Es256,
                    Algorithm::Es256k,
                    Algorithm::Es384,
                    Algorithm::EdDsa,
                    Algorithm::Rs256,
                ],
            };
            let mut pairs = tried
                .iter()
                .filter_map(|algorithm| Some((from_pem(*algorithm, text)?, *algorithm)));
            let (pair, algorithm) = pairs.next().ok_or(
                "no private key in PEM that can sign: it takes PKCS #8, which `openssl pkcs8 -topk8 -nocrypt` writes",
            )?;
            return Self::named(pair, algorithm, kid);
        }
        let document = json::parse(text.as_bytes())
            .map_err(|error| format!("neither PEM nor a JWK or JWK set: {error}"))?;
        let jwk = match document.get("keys").and_then(Value::as_array) {
            None => &document,
            Some(keys) => {
                let is_meant =
                    |key: &&Value| kid.is_none_or(|kid| key.get("kid") == Some(&kid.into()));
                let found = keys.iter().find(is_meant);
                found.ok_or_else(|| match kid {
                    Some(kid) => format!("no key in the set has the kid `{kid}`"),
                    None => "no key in the set".to_owned(),
                })?
            }
        };
        Self::from_jwk(jwk, algorithm, kid)
    }

    /// Reads every key of a text that holds one or more.
    ///
    /// # Errors
    ///
    /// As of [`Self::parse`], of any of them.
    pub(super) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let document = json::parse(text.as_bytes()).ok();
        let keys = document.as_ref().and_then(|document| document.get("keys"));
        match keys.and_then(Value::as_array) {
            Some(keys) => keys
                .iter()
                .map(|key| Self::from_jwk(key, None, None))
                .collect(),
            None => Ok(vec![Self::parse(text, None, None)?]),
        }
    }

    fn from_jwk(
        jwk: &Value,
        algorithm: Option<Algorithm>,
        kid: Option<&str>,
    ) -> Result<Self, String> {
        let algorithm = algorithm.or_else(|| Algorithm::of(jwk));
        let algorithm = algorithm.ok_or("it can't be told which algorithm the key is for")?;
        let mut jwk = jwk.clone();
        if let (Some(kid), Some(members)) = (kid, jwk.as_object_mut()) {
            members.insert("kid".to_owned(), kid.into());
        }
        load(algorithm, &jwk).map(Self)
    }

    fn named(pair: Box<dyn Pair>, algorithm: Algorithm, kid: Option<&str>) -> Result<Self, String> {
        let thumbprint = pair.thumbprint();
        let jwk = pair.private();
        match kid.or(thumbprint.as_deref()) {
            kid @ Some(_) => Self::from_jwk(&jwk, Some(algorithm), kid),
            None => Ok(Self(pair)),
        }
    }

    /// The whole key as a JWK.
    pub(super) fn private(&self) -> Value {
        self.0.private()
    }

    /// What others may know of it, as a JWK; of a secret that is nothing.
    pub(super) fn public(&self) -> Option<Value> {
        self.0.public()
    }

    /// A token that says exactly this. Its header has `alg`, the key's `kid`, and this `typ`, or `JWT`.
    ///
    /// # Errors
    ///
    /// What keeps the key from signing.
    pub(super) fn sign(
        &self,
        claims: Map<String, Value>,
        kind: Option<&str>,
    ) -> Result<String, String> {
        let mut claims = Claims::with_custom_claims(claims, Duration::from_secs(0));
        claims.issued_at = None;
        claims.expires_at = None;
        claims.invalid_before = None;
        let options = HeaderOptions {
            signature_type: kind.map(str::to_owned),
            ..HeaderOptions::default()
        };
        let signed = self.0.sign(claims, &options);
        signed.map_err(|error| error.to_string())
    }
}

/// A key pair or secret of jwt-simple.
trait Pair {
    fn private(&self) -> Value;
    fn public(&self) -> Option<Value>;
    fn thumbprint(&self) -> Option<String>;
    fn sign(
        &self,
        claims: JWTClaims<Map<String, Value>>,
        options: &HeaderOptions,
    ) -> Result<String, jwt_simple::Error>;
}

/// jwt-simple writes JSON.
fn parsed(jwk: &str) -> Value {
    json::parse(jwk.as_bytes()).unwrap_or_default()
}

macro_rules! pairs {
    (
        pairs { $( $algorithm:ident: $pair:ty, $generate:expr, $from_pem:expr; )* }
        secrets { $( $shared:ident: $secret:ty, $name:literal, $octets:literal; )* }
    ) => {
        $(
            impl Pair for $pair {
                fn private(&self) -> Value {
                    parsed(&self.to_jwk())
                }

                fn public(&self) -> Option<Value> {
                    Some(parsed(&self.public_key().to_jwk()))
                }

                fn thumbprint(&self) -> Option<String> {
                    Some(self.jwk_thumbprint())
                }

                fn sign(
                    &self,
                    claims: JWTClaims<Map<String, Value>>,
                    options: &HeaderOptions,
                ) -> Result<String, jwt_simple::Error> {
                    self.sign_with_options(claims, options)
                }
            }
        )*

        $(
            impl Pair for $secret {
                fn private(&self) -> Value {
                    let secret = BASE64_URL_SAFE_NO_PAD.encode(self.to_bytes());
                    let mut jwk = json!({ "kty": "oct", "alg": $name, "k": secret });
                    if let (Some(kid), Some(members)) = (self.key_id(), jwk.as_object_mut()) {
                        members.insert("kid".to_owned(), kid.as_str().into());
                    }
                    jwk
                }

                fn public(&self) -> Option<Value> {
                    None
                }

                fn thumbprint(&self) -> Option<String> {
                    None
                }

                fn sign(
                    &self,
                    claims: JWTClaims<Map<String, Value>>,
                    options: &HeaderOptions,
                ) -> Result<String, jwt_simple::Error> {
                    self.authenticate_with_options(claims, options)
                }
            }
        )*

        fn generate(algorithm: Algorithm) -> Result<Box<dyn Pair>, jwt_simple::Error> {
            Ok(match algorithm {
                $( Algorithm::$algorithm => Box::new($generate), )*
                $( Algorithm::$shared => {
                    let mut secret = [0; $octets];
                    getrandom::fill(&mut secret)?;
                    Box::new(<$secret>::from_bytes(&secret))
                } )*
            })
        }

        fn load(algorithm: Algorithm, jwk: &Value) -> Result<Box<dyn Pair>, String> {
            let text = jwk.to_string();
            let loaded: Result<Box<dyn Pair>, jwt_simple::Error> = match algorithm {
                $( Algorithm::$algorithm => <$pair>::from_jwk(&text).map(|key| Box::new(key) as _), )*
                $( Algorithm::$shared => {
                    let secret = <$secret>::from_bytes(&secret(jwk, $octets)?);
                    let kid = jwk.get("kid").and_then(Value::as_str);
                    Ok(Box::new(match kid {
                        Some(kid) => secret.with_key_id(kid),
                        None => secret,
                    }))
                } )*
            };
            loaded.map_err(|error| format!("no private key that can sign: {error}"))
        }

        fn from_pem(algorithm: Algorithm, pem: &str) -> Option<Box<dyn Pair>> {
            match algorithm {
                $( Algorithm::$algorithm => {
                    let read: Option<fn(&str) -> Result<$pair, jwt_simple::Error>> = $from_pem;
                    Some(Box::new(read?(pem).ok()?))
                } )*
                $( Algorithm::$shared => None, )*
            }
        }
    };
}

pairs! {
    pairs {
        EdDsa: Ed25519KeyPair, Ed25519KeyPair::generate(), Some(Ed25519KeyPair::from_pem);
        Es256: ES256KeyPair, ES256KeyPair::generate(), Some(ES256KeyPair::from_pem);
        Es256k: ES256kKeyPair, ES256kKeyPair::generate(), Some(ES256kKeyPair::from_pem);
        Es384: ES384KeyPair, ES384KeyPair::generate(), Some(ES384KeyPair::from_pem);
        MlDsa44: MLDSA44KeyPair, MLDSA44KeyPair::generate(), None;
        MlDsa65: MLDSA65KeyPair, MLDSA65KeyPair::generate(), None;
        MlDsa87: MLDSA87KeyPair, MLDSA87KeyPair::generate(), None;
        Ps256: PS256KeyPair, PS256KeyPair::generate(RSA_BITS)?, Some(PS256KeyPair::from_pem);
        Ps384: PS384KeyPair, PS384KeyPair::generate(RSA_BITS)?, Some(PS384KeyPair::from_pem);
        Ps512: PS512KeyPair, PS512KeyPair::generate(RSA_BITS)?, Some(PS512KeyPair::from_pem);
        Rs256: RS256KeyPair, RS256KeyPair::generate(RSA_BITS)?, Some(RS256KeyPair::from_pem);
        Rs384: RS384KeyPair, RS384KeyPair::generate(RSA_BITS)?, Some(RS384KeyPair::from_pem);
        Rs512: RS512KeyPair, RS512KeyPair::generate(RSA_BITS)?, Some(RS512KeyPair::from_pem);
    }
    secrets {
        Hs256: HS256Key, "HS256", 32;
        Hs384: HS384Key, "HS384", 48;
        Hs512: HS512Key, "HS512", 64;
    }
}

/// The octets of a secret, at least as many as its hash has (RFC 7518 section 3.2).
fn secret(jwk: &Value, octets: usize) -> Result<Vec<u8>, String> {
    let written = jwk
        .get("k")
        .and_then(Value::as_str)
        .ok_or("a secret has a member `k`")?;
    let secret = BASE64_URL_SAFE_NO_PAD.decode(written);
    let secret = secret.map_err(|_| "`k` is not base64url without padding")?;
    match secret.len() < octets {
        true => Err(format!(
            "the secret is shorter than the {octets} octets it takes"
        )),
        false => Ok(secret),
    }
}
