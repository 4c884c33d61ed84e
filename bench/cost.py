"""CPU per request, of every chain in turn in every round."""

import dataclasses

import chains
import load
from harness import Envoy, Failed, request
from tokens import Tokens

POLICIES = (1, 10, 100, 1000, 5000)
# How many tokens a chain is shown in a round where each must be new; each chain sees each of them once.
NEW = 10_000


@dataclasses.dataclass
class Case:
    """Requests that are sent to several chains."""
    name: str
    chains: list[str]
    requests: load.Requests
    # Sent once, so many a round, and not again and again.
    once: bool = False

    def measure(self, envoy: Envoy, chain: str, number: int, seconds: int) -> float:
        if not self.once:
            return load.microseconds(envoy, chain, self.requests, seconds)
        return load.microseconds(envoy, chain, self.requests[number * NEW : (number + 1) * NEW])


def token_cases(tokens: Tokens, rounds: int) -> tuple[dict, list[Case]]:
    filters = {"none": [], "header": chains.header(), "native": chains.native(tokens.jwks), "portcullis": chains.portcullis(tokens.jwks)}
    everyone, guards = list(filters), ["none", "native", "portcullis"]
    # One round more, to warm up with.
    new = {algorithm: [("/", token) for token in tokens.take(algorithm, (rounds + 1) * NEW)] for algorithm in ("RS256", "ES256")}
    return filters, [
        Case("the same RS256 token", everyone, new["RS256"][:1]),
        Case("every token new, RS256", guards, new["RS256"], once=True),
        Case("every token new, ES256", guards, new["ES256"], once=True),
        Case("no token, open path", everyone, [(chains.OPEN, None)]),
    ]


def policy_cases(tokens: Tokens) -> tuple[dict, list[Case]]:
    """The same token on the paths of all policies, one after the other."""
    [token] = tokens.take("RS256", 1)
    filters, cases = {"none": []}, []
    for count in POLICIES:
        ours, native = f"portcullis, {count}", f"native, {count}"
        filters |= {native: chains.native(tokens.jwks, count), ours: chains.portcullis(tokens.jwks, count)}
        cases.append(Case(policies_name(count), ["none", native, ours], [(chains.own_path(number), token) for number in range(count)]))
    return filters, cases


def policies_name(count: int) -> str:
    return f"{count:,} {'policy' if count == 1 else 'policies'}"


def check(envoy: Envoy, tokens: Tokens, filters: dict) -> None:
    """What is measured must guard: the same answers from all that do."""
    token, another = tokens.take("RS256", 2)
    forged = f"{token.rpartition('.')[0]}.{another.rpartition('.')[2]}"
    for name in filters:
        if name in ("none", "header"):
            continue
        asked = [("/p/0", token), ("/p/0", forged), ("/p/0", None)]
        answers = [request(envoy.ports[name], path, headers={"authorization": f"Bearer {sent}"} if sent else {}).status for path, sent in asked]
        if answers != [200, 401, 403]:
            raise Failed(f"{name} answered {answers} to a good token, a forged one and none")


def measure(filters: dict, cases: list[Case], tokens: Tokens, rounds: int, seconds: int) -> list[dict]:
    """Microseconds of every round, by case and chain."""
    costs = {(case.name, chain): [] for case in cases for chain in case.chains}
    with load.envoy_with(filters) as envoy:
        check(envoy, tokens, filters)
        for number in range(rounds + 1):
            for case in cases:
                for chain in case.chains:
                    cost = case.measure(envoy, chain, number, seconds)
                    # The first round compiles and fills caches.
                    if number > 0:
                        costs[case.name, chain].append(cost)
    return [{"case": case, "chain": chain.partition(",")[0], "microseconds": values} for (case, chain), values in costs.items()]
