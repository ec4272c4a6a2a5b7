"""Whose jobs a session's are while they wait, and what share they have."""

import hashlib
from typing import NamedTuple

from scheduler.config import FairnessSettings, TenantSettings

_DEFAULT = TenantSettings()


class Share(NamedTuple):
    """As the records Submit and Announce carry it."""

    flow: int
    weight: int
    priority: int


def share_of(settings: FairnessSettings, tenant: str, session_id: str) -> Share:
    """Return the share of a tenant, or of a session alone where `tenant` is ""."""
    ours = settings.tenants.get(tenant, _DEFAULT)
    name = f"tenant {tenant}" if tenant else f"session {session_id}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return Share(int.from_bytes(digest, "little") >> 1, ours.weight, ours.priority)
