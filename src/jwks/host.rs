//! Signatures that the host verifies: Envoy's foreign function `verify_signature`, which is
//! `BoringSSL` at the speed of native code.
//!
//! The function is trusted for an algorithm only after it has taken a good signature and refused a
//! bad one. What it can't tell is verified in here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Algorithm, Key, KeySet};
use crate::config::Verification;
use crate::config::place::Place;
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
            (Verification::Host, None) => Err(Mistakes(vec![Mistake::at(
                Place::default().member("verification"),
                "the host doesn't verify signatures: write `auto` or `wasm`, or let it (Envoy's \
                 `verify_signature`; `proxy_call_foreign_function` in \
                 `capability_restriction_config`)",
            )])),
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

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use crate::boring::verify_signature;

    fn proven(host: Option<VerifySignature>) -> Vec<Algorithm> {
        let host = HostVerifier::new(Verification::Auto, host).unwrap();
        host.proven.map_or(Vec::new(), |(_, algorithms)| algorithms)
    }

    #[test]
    fn a_host_proves_what_it_can() {
        use Algorithm as A;
        let algorithms = [A::Es256, A::Es384, A::Rs256, A::Rs384, A::Rs512];
        let mut own = proven(Some(verify_signature));
        own.sort_by_key(|algorithm| algorithms.iter().position(|own| own == algorithm));
        assert_eq!(own, algorithms, "P-521 is verified in here");
    }

    #[test]
    fn a_host_that_answers_wrongly_is_not_trusted() {
        let always: VerifySignature = |_| Some(vec![0x08, 0x01]);
        let never: VerifySignature = |_| Some(b"\x12\x17Failed to verify digest".to_vec());
        let nonsense: VerifySignature = |_| Some(vec![0x08, 0x02]);
        let nothing: VerifySignature = |_| None;
        for host in [always, never, nonsense, nothing] {
            assert_eq!(proven(Some(host)), []);
            let mistakes = HostVerifier::new(Verification::Host, Some(host)).unwrap_err();
            let text = mistakes.to_string();
            assert!(
                text.starts_with("verification: the host doesn't verify"),
                "{text}"
            );
        }
        assert!(HostVerifier::new(Verification::Host, None).is_err());
        let wasm = HostVerifier::new(Verification::Wasm, Some(verify_signature)).unwrap();
        assert!(wasm.proven.is_none());
    }

    #[test]
    fn what_the_host_cannot_tell_is_found_out_in_here() {
        fn fails_later(question: &[u8]) -> Option<Vec<u8>> {
            match question.ends_with(b"portcullis") || question.ends_with(b"Portcullis") {
                true => verify_signature(question),
                false => Some(b"\x12\x05Oh no".to_vec()),
            }
        }
        let host = HostVerifier::new(Verification::Auto, Some(fails_later)).unwrap();
        let (keys, signatures) = known().unwrap();
        let (algorithm, signature) = &signatures[0];
        let key = keys.candidates(None, *algorithm).next().unwrap();
        let ask = |message: &[u8]| host.verifies(key, *algorithm, message, signature);
        assert_eq!(ask(b"portcullis"), Some(true));
        assert_eq!(ask(b"Portcullis"), Some(false));
        assert_eq!(ask(b"another"), None);
    }
}
