//! Signatures that the host verifies: Envoy's foreign function `verify_signature`, which is
//! `BoringSSL` at the speed of native code.
//!
//! The function is trusted for an algorithm only after it has taken a good signature and refused a
//! bad one. What it can't tell is verified in here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Algorithm, Key, KeySet};
use crate::config::Verification;
use crate::config::reader::{Mistake, Mistakes};
use crate::json;

/// Calls the function with a serialised message; `None` where the host has none, or refuses.
pub type VerifySignature = fn(&[u8]) -> Option<Vec<u8>>;

/// Keys and signatures that show whether the host verifies as it should.
const KNOWN: &[u8] = include_bytes!("host/known.json");

/// The algorithms that the host verifies.
#[derive(Debug, Default)]
pub(crate) struct HostVerifier {
    proven: Option<(VerifySignature, Vec<Algorithm>)>,
}

impl HostVerifier {
    /// Asks the host to prove itself, unless nobody wants it.
    ///
    /// # Errors
    ///
    /// It is wanted and can't verify anything.
    pub(crate) fn new(
        wanted: Verification,
        host: Option<VerifySignature>,
    ) -> Result<Self, Mistakes> {
        let host = host.filter(|_| wanted != Verification::Wasm);
        let proven = host.map(|host| (host, proven(host)));
        let proven = proven.filter(|(_, algorithms)| !algorithms.is_empty());
        match (wanted, &proven) {
            (Verification::Host, None) => Err(Mistakes(vec![Mistake {
                path: "verification".to_owned(),
                message: "the host doesn't verify signatures: write `auto` or `wasm`, or let it \
                          (Envoy's `verify_signature`; `proxy_call_foreign_function` in \
                          `capability_restriction_config`)"
                    .to_owned(),
            }])),
            _ => Ok(Self { proven }),
        }
    }

    /// Whether this is the key's signature of the message by this algorithm; `None` where that has to
    /// be found out in here.
    pub(crate) fn verifies(
        &self,
        key: &Key,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let (host, algorithms) = self.proven.as_ref()?;
        match algorithms.contains(&algorithm) {
            true => asked(*host, key, algorithm, message, signature),
            false => None,
        }
    }
}

/// What the host answers; `None` where it can't tell.
fn asked(
    host: VerifySignature,
    key: &Key,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    /// A message whose field 1, `result`, is true.
    const VERIFIED: [u8; 2] = [0x08, 0x01];
    /// Field 2, `error`.
    const ERROR: u8 = 0x12;
    /// Envoy's word for a signature that was looked at, and is none.
    const REFUSED: &[u8] = b"Failed to verify digest";
    let question = key.question(algorithm, message, signature)?;
    match host(&question)?.as_slice() {
        answer if answer == VERIFIED => Some(true),
        [ERROR, _, error @ ..] if error.starts_with(REFUSED) => Some(false),
        _ => None,
    }
}

/// The algorithms for which the host takes a good signature and refuses a bad one.
fn proven(host: VerifySignature) -> Vec<Algorithm> {
    let Some((keys, signatures)) = known() else {
        return Vec::new();
    };
    let is_proven = |algorithm: Algorithm, signature: &[u8]| {
        let verifies = |message: &[u8]| {
            let key = keys.candidates(None, algorithm).next()?;
            asked(host, key, algorithm, message, signature)
        };
        verifies(b"portcullis") == Some(true) && verifies(b"Portcullis") == Some(false)
    };
    let proven = signatures
        .into_iter()
        .filter(|(algorithm, signature)| is_proven(*algorithm, signature));
    proven.map(|(algorithm, _)| algorithm).collect()
}

type Signatures = Vec<(Algorithm, Vec<u8>)>;

/// Keys, and their signatures of `portcullis`.
fn known() -> Option<(KeySet, Signatures)> {
    let keys = KeySet::parse(KNOWN).ok()?;
    let document = json::parse(KNOWN).ok()?;
    let signatures = document.get("signatures")?.as_object()?.iter();
    let signatures = signatures.map(|(name, signature)| {
        let signature = URL_SAFE_NO_PAD.decode(signature.as_str()?).ok()?;
        Some((Algorithm::named(name)?, signature))
    });
    Some((keys, signatures.collect::<Option<_>>()?))
}
