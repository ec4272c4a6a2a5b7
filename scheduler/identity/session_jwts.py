"""Signed session tokens (JWT): short-lived, made by the operator's own service.

Nothing that a token says of itself is believed before its signature: its `kid` only chooses among
the configured keys, and each key is for one algorithm. `alg` must name that one, so there is
neither `none` nor a public key taken for a secret; keys inside or linked from a token are ignored.
"""

from collections.abc import Sequence
from typing import Any

import jwt
from jwt.types import Options

from scheduler.config import IdentitySettings
from scheduler.identity.credentials import JwtKey
from scheduler.identity.holder import Holder, Unproven
from scheduler.identity.jwt_keys import load_key
from scheduler.identity.tokens import TENANT_CHARS_MAX

_OPTIONS: Options = {"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True}


class JwtCheck:
    """Verifies tokens with these keys."""

    def __init__(self, keys: Sequence[JwtKey], settings: IdentitySettings) -> None:
        self._keys = {key.kid: (key.algorithm, load_key(key)) for key in keys}
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._leeway_seconds = settings.jwt_leeway_seconds
        self._max_ahead_seconds = settings.jwt_max_ahead_seconds

    def holder(self, token: str, now_s: float) -> Holder | Unproven:
        """Return whose token it is. `now_s` is seconds since the epoch."""
        try:
            kid = jwt.get_unverified_header(token).get("kid", "")
            # That an unknown kid is refused sooner tells nothing: it stands in every token.
            algorithm, key = self._keys[kid]
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_seconds,
                options=_OPTIONS,
            )
        except KeyError:
            return Unproven("JWT with an unknown kid, or without one")
        except jwt.PyJWTError as error:
            return Unproven(f"JWT: {type(error).__name__}")  # its text may quote the token
        return self._judge(f"jwt {kid}", claims, now_s)

    def _judge(self, name: str, claims: dict[str, Any], now_s: float) -> Holder | Unproven:
        expires_s = claims["exp"]
        if isinstance(expires_s, bool) or not isinstance(expires_s, int | float):
            return Unproven("JWT: exp is no number")
        if expires_s - now_s > self._max_ahead_seconds + self._leeway_seconds:
            return Unproven("JWT: exp is further ahead than identity.jwt_max_ahead_seconds")
        if "tenant" not in claims:
            return Holder(name)
        # One that is there and is none must not make a token that is good for any tenant.
        tenant = claims["tenant"]
        if not isinstance(tenant, str) or not 0 < len(tenant) <= TENANT_CHARS_MAX:
            return Unproven("JWT: tenant is no text, or has no fitting length")
        return Holder(name, tenant)
