#!/usr/bin/env python3
"""An identity provider to try things with: serves key sets, and mints tokens as Istio's gen-jwt.py does.

    .venv/bin/python envoy/idp.py serve --listen 0.0.0.0:8000
    .venv/bin/python envoy/idp.py token --issuer issuer-foo --audience httpbin --expire 5 --claim groups='["admin"]'

Both keep each issuer's private keys in the file `--keys`, and make those that are missing. They are for trying only.
"""

import argparse
import json
import secrets
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from jwcrypto import jwk, jws

KINDS = {
    "RS256": {"kty": "RSA", "size": 2048},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
}


class Keys:
    """The private keys of every issuer, one per algorithm, kept in a file."""

    def __init__(self, path: Path):
        self.path = path

    def of(self, issuer: str) -> dict[str, jwk.JWK]:
        kept = json.loads(self.path.read_text()) if self.path.exists() else {}
        if issuer not in kept:
            kept[issuer] = {
                alg: jwk.JWK.generate(kid=f"{issuer}-{alg}-{secrets.token_hex(4)}", alg=alg, use="sig", **kind).export_private(as_dict=True)
                for alg, kind in KINDS.items()
            }
            self.path.touch(mode=0o600)
            self.path.write_text(json.dumps(kept))
        return {alg: jwk.JWK(**key) for alg, key in kept[issuer].items()}

    def public(self, issuer: str) -> dict:
        return {"keys": [key.export_public(as_dict=True) for key in self.of(issuer).values()]}

    def mint(self, issuer: str, *, subject="alice", audience=(), expire=3600, claims=None, alg="RS256", signer=None) -> str:
        """A token of `issuer`, signed with the key of `signer` where that is someone else."""
        now = int(time.time())
        payload = {"iss": issuer, "sub": subject, "iat": now, "exp": now + expire, **(claims or {})}
        if audience:
            payload["aud"] = list(audience)
        key = self.of(signer or issuer)[alg]
        token = jws.JWS(json.dumps(payload))
        token.add_signature(key, alg, json.dumps({"alg": alg, "kid": key.key_id, "typ": "JWT"}))
        return token.serialize(compact=True)


def serve(keys: Keys, listen: str, issuers: list[str]) -> None:
    sets = {f"/{issuer}/jwks.json": json.dumps(keys.public(issuer)).encode() for issuer in issuers}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = sets.get(self.path)
            self.send_response(200 if body else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    host, port = listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print("listening on %s:%d" % server.server_address, flush=True)
    server.serve_forever()


def claim(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description="An identity provider to try things with.")
    parser.add_argument("--keys", type=Path, default=Path("idp-keys.json"), help="file of private keys (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)

    server = commands.add_parser("serve", help="serve http://HOST:PORT/ISSUER/jwks.json")
    server.add_argument("--listen", default="127.0.0.1:8000", metavar="HOST:PORT")
    server.add_argument("--issuer", action="append", help="may be repeated (default: issuer-foo and issuer-bar)")

    token = commands.add_parser("token", help="print a token")
    token.add_argument("--issuer", default="issuer-foo")
    token.add_argument("--subject", default="alice")
    token.add_argument("--audience", action="append", default=[], help="may be repeated")
    token.add_argument("--expire", type=int, default=3600, metavar="SECONDS", help="how long it lives; negative: it is over")
    token.add_argument("--claim", type=claim, action="append", default=[], metavar="NAME=VALUE", help="VALUE is JSON or else text; may be repeated")
    token.add_argument("--alg", choices=KINDS, default="RS256")

    args = parser.parse_args()
    keys = Keys(args.keys)
    if args.command == "serve":
        serve(keys, args.listen, args.issuer or ["issuer-foo", "issuer-bar"])
    else:
        print(keys.mint(args.issuer, subject=args.subject, audience=args.audience, expire=args.expire, claims=dict(args.claim), alg=args.alg))


if __name__ == "__main__":
    main()
