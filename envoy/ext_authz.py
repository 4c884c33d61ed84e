#!/usr/bin/env python3
"""A service that is asked about requests, as Istio's sample `ext-authz` is: `python envoy/ext_authz.py [HOST:PORT]`.

It allows those with `x-ext-authz: allow`, and tells the upstream so.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DENIED = b"no `x-ext-authz: allow` in the request"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        allowed = self.headers.get_all("x-ext-authz") == ["allow"]
        body = b"" if allowed else DENIED
        self.send_response(200 if allowed else 403)
        self.send_header("x-ext-authz-check-result", "allowed" if allowed else "denied")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


host, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000").rsplit(":", 1)
server = ThreadingHTTPServer((host, int(port)), Handler)
print("listening on %s:%d" % server.server_address, flush=True)
server.serve_forever()
