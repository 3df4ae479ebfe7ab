"""Kochava's install authentication (*Kochava Install Authentication Integration*)."""

from __future__ import annotations

import hashlib
import hmac

from attrs import field, frozen

API_KEY_HEADER = "Kochava-Api-Key"
AUTH_TOKEN_HEADER = "Kochava-Auth-Token"  # noqa: S105  # a header's name
ACCOUNT_KEY_HEADER = "Authentication-Key"
SECRET_HEADERS = frozenset({API_KEY_HEADER, AUTH_TOKEN_HEADER, ACCOUNT_KEY_HEADER})


@frozen
class Credentials:
    """What Kochava's account team hands out for strict authentication."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


def auth_headers(body: bytes, credentials: Credentials) -> dict[str, str]:
    """The two headers that authenticate a body.

    Args:
        body: The exact bytes that are sent.
        credentials: The API key and the secret.
    """
    digest = hashlib.sha1(body, usedforsecurity=False).hexdigest()
    token = hmac.new(
        credentials.api_key.encode(), f"{credentials.api_secret}{digest}".encode(), hashlib.sha256
    )
    return {API_KEY_HEADER: credentials.api_key, AUTH_TOKEN_HEADER: token.hexdigest()}


def digest_of(credentials: Credentials | None, account_key: str | None) -> bytes:
    """Tells whether credentials are still the same, without giving them away."""
    known = ("", "") if credentials is None else (credentials.api_key, credentials.api_secret)
    text = "\0".join((*known, account_key or ""))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
