#!/usr/bin/env python3
"""Certificates to try mutual TLS with: `.venv/bin/python envoy/certs.py [FOLDER]` (default: certs).

An authority (ca.pem), a server (server.pem), and clients with SPIFFE identities: sleep.pem is
spiffe://cluster.local/ns/foo/sa/sleep, stranger.pem one of another trust domain. The key of NAME.pem is NAME-key.pem.
They are good for a day, and for trying only.
"""

import datetime
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = {
    "server": [x509.DNSName("localhost")],
    "sleep": [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/foo/sa/sleep")],
    "stranger": [x509.UniformResourceIdentifier("spiffe://elsewhere/ns/foo/sa/sleep")],
}


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(name: str, key, issuer: str, signer, extensions: list) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(signer, hashes.SHA256())


def make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = certificate("ca", authority, "ca", authority, [x509.BasicConstraints(ca=True, path_length=0)])
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for name, alternatives in NAMES.items():
        key = ec.generate_private_key(ec.SECP256R1())
        own = certificate(name, key, "ca", authority, [x509.SubjectAlternativeName(alternatives)])
        (folder / f"{name}.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
        private = folder / f"{name}-key.pem"
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else "certs"))
