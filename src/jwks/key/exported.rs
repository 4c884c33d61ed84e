//! Keys and signatures in the form in which Envoy's `verify_signature` takes them.

use der::asn1::UintRef;

use super::Algorithm;
use super::certificate::{sequence, to_public_key};
use super::public::PublicKey;

/// A key for the host.
#[derive(Debug)]
pub(super) struct Exported {
    /// The start of each question: field 2 of the message, the key in DER.
    start: Vec<u8>,
}

impl Exported {
    /// `None` for kinds of keys that the function doesn't know.
    pub(super) fn new(key: &PublicKey) -> Option<Self> {
        let mut start = Vec::new();
        write(2, &to_public_key(key)?, &mut start);
        Some(Self { start })
    }

    /// The serialised `VerifySignatureArguments` of Envoy's
    /// `source/extensions/common/wasm/ext/verify_signature.proto`; `None` for what the function doesn't
    /// know, and for signatures that are none.
    pub(super) fn question(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Vec<u8>> {
        use Algorithm as A;
        let (hash, half) = match algorithm {
            A::Rs256 => ("sha256", None),
            A::Rs384 => ("sha384", None),
            A::Rs512 => ("sha512", None),
            A::Es256 => ("sha256", Some(32)),
            A::Es384 => ("sha384", Some(48)),
            A::Es512 => ("sha512", Some(66)),
            _ => return None,
        };
        let longest = self.start.len() + signature.len() + message.len() + 64;
        let mut question = Vec::with_capacity(longest);
        question.extend_from_slice(&self.start);
        write(1, hash.as_bytes(), &mut question);
        match half {
            None => write(3, signature, &mut question),
            Some(half) => write(3, &ecdsa(signature, half)?, &mut question),
        }
        write(4, message, &mut question);
        Some(question)
    }
}

/// RFC 7518 section 3.4 puts R and S one behind the other, the host wants DER.
fn ecdsa(signature: &[u8], half: usize) -> Option<Vec<u8>> {
    let (r, s) = signature.split_at_checked(half)?;
    if s.len() != half {
        return None;
    }
    sequence(&[UintRef::new(r).ok()?, UintRef::new(s).ok()?])
}

/// A field of a protobuf message that is bytes.
fn write(field: u8, bytes: &[u8], message: &mut Vec<u8>) {
    const LENGTH_DELIMITED: u8 = 2;
    message.push(field << 3 | LENGTH_DELIMITED);
    // A `Vec` has room for all.
    let _ = prost::encode_length_delimiter(bytes.len(), message);
    message.extend_from_slice(bytes);
}
