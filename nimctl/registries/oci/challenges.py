"""Challenges: what a registry wants a client to prove. Pure.

RFC 9110, 11.6.1, and https://distribution.github.io/distribution/spec/auth/token/
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# token68 is not among them: neither Basic nor Bearer uses it in a challenge.
_PARAMETER = re.compile(r'\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*')
_SCHEME = re.compile(r"\s*([\w!#$%&'*+.^`|~-]+)(?:\s+|$|(?=,))")
_LASTING = ("realm", "service")


class Challenge(NamedTuple):
    """One way to authenticate; scheme and parameter names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """Read a WWW-Authenticate header, or several that were joined by commas."""
    return tuple(_challenges(header))


def chosen(challenges: tuple[Challenge, ...]) -> Challenge | None:
    """The challenge to meet: Bearer, which keeps the password from the registry, before Basic.

    It has only the parameters that are the same for all requests to a registry.
    """
    usable = [
        one
        for one in challenges
        if one.scheme == "basic" or (one.scheme == "bearer" and "realm" in one.parameters)
    ]
    best = min(usable, key=lambda one: one.scheme != "bearer", default=None)
    if best is None:
        return None
    kept = {name: value for name, value in best.parameters.items() if name in _LASTING}
    return Challenge(best.scheme, kept)


def _challenges(header: str) -> Iterator[Challenge]:
    position = 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            parameters[name.lower()] = plain or re.sub(r"\\(.)", r"\1", quoted or "")
            position = parameter.end()
            if header[position : position + 1] != ",":
                break
            position += 1
        yield Challenge(scheme[1].lower(), parameters)
        position += header[position : position + 1] == ","
