//! Envoy's foreign function `verify_signature`, by ring, which stems from `BoringSSL` as Envoy's does.
//! It has no P-521, as a host may not.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};

/// What Envoy says of a signature that is none.
const REFUSED: &[u8] = b"\x12\x26Failed to verify digest. Error code: 0";
const UNKNOWN: &[u8] = b"\x12\x23Failed to initialize digest verify.";

/// Answers a serialised `VerifySignatureArguments`.
pub fn verify_signature(question: &[u8]) -> Option<Vec<u8>> {
    let mut fields = [&[][..]; 5];
    let mut rest = question;
    while let [tag, tail @ ..] = rest {
        let (mut length, mut shift, mut tail) = (0, 0, tail);
        while let [byte, after @ ..] = tail {
            length |= usize::from(byte & 0x7f) << shift;
            (shift, tail) = (shift + 7, after);
            if byte & 0x80 == 0 {
                break;
            }
        }
        assert_eq!(tag & 7, 2, "a field of bytes");
        (fields[usize::from(tag >> 3)], rest) = tail.split_at(length);
    }
    let [_, hash, key, signature, message] = fields;
    let hash = std::str::from_utf8(hash).expect("the name of a hash");
    Some(match by(hash, key) {
        None => UNKNOWN.to_vec(),
        Some((algorithm, key)) => {
            let key = UnparsedPublicKey::new(algorithm, key);
            match key.verify(message, signature) {
                Ok(()) => vec![0x08, 0x01],
                Err(_) => REFUSED.to_vec(),
            }
        }
    })
}

/// The algorithm, and the key without what stands around it in a `SubjectPublicKeyInfo`.
fn by<'k>(hash: &str, info: &'k [u8]) -> Option<(&'static dyn VerificationAlgorithm, &'k [u8])> {
    const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03";
    const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
    const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
    let behind = |oid: &[u8]| {
        let start = info.windows(oid.len()).position(|window| window == oid)?;
        info.get(start + oid.len()..)
    };
    if let Some(rsa) = behind(RSA) {
        let algorithm: &dyn VerificationAlgorithm = match hash {
            "sha256" => &RSA_PKCS1_2048_8192_SHA256,
            "sha384" => &RSA_PKCS1_2048_8192_SHA384,
            "sha512" => &RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        };
        // A length of two octets, and no unused bits.
        return Some((algorithm, rsa.strip_prefix(b"\x82")?.get(3..)?));
    }
    match hash {
        "sha256" => Some((&ECDSA_P256_SHA256_ASN1, behind(P256)?)),
        "sha384" => Some((&ECDSA_P384_SHA384_ASN1, behind(P384)?)),
        _ => None,
    }
}
