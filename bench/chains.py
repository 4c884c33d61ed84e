"""The filter chains that are compared: nothing, a Wasm filter that sets one header, Envoy's own as Istio sets them up, ours."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ISSUER, SUBJECT, GROUP = "https://idp.example.com", "alice", "admin"
OPEN = "/healthz"
TYPES = "type.googleapis.com/envoy.extensions.filters"
TEXT = "type.googleapis.com/google.protobuf.StringValue"


def header() -> list[dict]:
    return wasm("header", ROOT / "dist/bench-header.wasm", "")


def native(jwks: str, policies: int | None = None) -> list[dict]:
    """The filters that Istio makes of what `portcullis` is told."""
    allowed = all_of(all_of(claim("iss", exact(ISSUER)), claim("sub", exact(SUBJECT))), claim("groups", in_list_or_alone(GROUP)))
    if policies is None:
        rules = {
            "ns[foo]-policy[bench]-rule[0]": {"permissions": [{"any": True}], "principals": [allowed]},
            "ns[foo]-policy[bench]-rule[1]": {"permissions": [path(OPEN)], "principals": [{"any": True}]},
        }
    else:
        rules = {
            f"ns[foo]-policy[p{number}]-rule[0]": {"permissions": [path(own_path(number))], "principals": [allowed]}
            for number in range(policies)
        }
    provider = {
        "issuer": ISSUER,
        "local_jwks": {"inline_string": jwks},
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["permission", "scope"]},
    }
    requires = {"requires_any": {"requirements": [{"provider_name": "origins-0"}, {"allow_missing": {}}]}}
    authentication = {
        "@type": f"{TYPES}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"origins-0": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        "bypass_cors_preflight": True,
    }
    authorization = {"@type": f"{TYPES}.http.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": rules}}
    return [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": authentication},
        {"name": "envoy.filters.http.rbac", "typed_config": authorization},
    ]


def portcullis(jwks: str, policies: int | None = None) -> list[dict]:
    """Ours, with one policy for everything or as many as asked, each with a path of its own."""
    allowed = {
        "from": [{"source": {"requestPrincipals": [f"{ISSUER}/{SUBJECT}"]}}],
        "when": [{"key": "request.auth.claims[groups]", "values": [GROUP]}],
    }
    if policies is None:
        rules = [[allowed, {"to": [{"operation": {"paths": [OPEN]}}]}]]
    else:
        rules = [[{**allowed, "to": [{"operation": {"paths": [own_path(number)]}}]}] for number in range(policies)]
    return plugin({
        "jwtRules": [{"issuer": ISSUER, "jwks": jwks}],
        "authorizationPolicies": [{"name": f"p{number}", "action": "ALLOW", "rules": each} for number, each in enumerate(rules)],
    })


def ten_rules(jwks: str) -> list[dict]:
    return plugin({
        "jwtRules": [{"issuer": f"{ISSUER}/{number}", "jwks": jwks} for number in range(10)],
        "authorizationPolicies": [{"name": "bench", "rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]}],
    })


def plugin(configuration: dict) -> list[dict]:
    policy = {**configuration, "workload": {"name": "bench", "namespace": "foo", "labels": {}}}
    return wasm("portcullis", ROOT / "dist/portcullis.wasm", json.dumps(policy))


def own_path(number: int) -> str:
    return f"/p/{number}"


def path(text: str) -> dict:
    return {"url_path": {"path": exact(text)}}


def exact(text: str) -> dict:
    return {"exact": text}


def all_of(*principals: dict) -> dict:
    return {"and_ids": {"ids": list(principals)}}


def claim(name: str, value: dict) -> dict:
    value = value if "or_match" in value else {"string_match": value}
    keys = [{"key": "payload"}, {"key": name}]
    return {"sourced_metadata": {"metadata_matcher": {"filter": "envoy.filters.http.jwt_authn", "path": keys, "value": value}}}


def in_list_or_alone(text: str) -> dict:
    string = {"string_match": exact(text)}
    return {"or_match": {"value_matchers": [{"list_match": {"one_of": string}}, string]}}


def wasm(name: str, module: Path, configuration: str) -> list[dict]:
    vm = {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}}
    config = {"name": name, "vm_config": vm, "configuration": {"@type": TEXT, "value": configuration}}
    return [{"name": name, "typed_config": {"@type": f"{TYPES}.http.wasm.v3.Wasm", "config": config}}]


def bootstrap(chains: dict[str, list[dict]]) -> dict:
    """An Envoy with one listener per chain, on a port of its own choice, that answers by itself."""
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [listener(name, filters) for name, filters in chains.items()]},
    }


def listener(name: str, filters: list[dict]) -> dict:
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [*filters, router],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
