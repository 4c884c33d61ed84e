"""Tokens in great number, signed before anything is measured, and kept in .cache/bench for the next run."""

import base64
import json
import multiprocessing
import time
from pathlib import Path

from chains import GROUP, ISSUER, SUBJECT
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from idp import Keys

TEN_YEARS = 10 * 365 * 86400
# Signed by one process at a time; a round of a short run needs no more.
BATCH = 2500


class Tokens:
    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        keys = Keys(folder / "keys.json")
        self.jwks = json.dumps(keys.public(ISSUER))
        self._keys = keys.of(ISSUER)

    def take(self, algorithm: str, count: int) -> list[str]:
        """`count` tokens that differ in their `jti` only. The same ones each time, in the same order."""
        key = self._keys[algorithm]
        path = self._folder / f"{algorithm}-{key.thumbprint()[:16]}"
        kept = path.read_text().split() if path.exists() else []
        missing = range(len(kept), count, BATCH)
        if missing:
            pem = key.export_to_pem(private_key=True, password=None)
            with multiprocessing.Pool() as pool:
                batches = pool.starmap(sign, [(algorithm, key.key_id, pem, first) for first in missing])
            kept += [token for batch in batches for token in batch]
            path.write_text("\n".join(kept))
        return kept[:count]


def sign(algorithm: str, key_id: str, pem: bytes, first: int) -> list[str]:
    key = serialization.load_pem_private_key(pem, None)
    header = part(json.dumps({"alg": algorithm, "kid": key_id, "typ": "JWT"}).encode())
    now = int(time.time())
    tokens = []
    for number in range(first, first + BATCH):
        claims = {"iss": ISSUER, "sub": SUBJECT, "groups": ["dev", GROUP], "iat": now, "exp": now + TEN_YEARS, "jti": f"{number:08}"}
        signed = header + b"." + part(json.dumps(claims).encode())
        tokens.append((signed + b"." + part(signature(key, algorithm, signed))).decode())
    return tokens


def signature(key, algorithm: str, message: bytes) -> bytes:
    if algorithm == "RS256":
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def part(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")
