"""What a check of a credential comes to."""

from typing import NamedTuple


class Holder(NamedTuple):
    """Who holds a valid credential."""

    name: str
    """For operators."""
    tenant: str = ""
    """Whom the session is for; "" = the session says it itself."""
    node_id: str = ""
    """The one node that may register with it; "" = any that no other credential is bound to."""


class Unproven(NamedTuple):
    """Why a credential is none. For the operator's log; the peer isn't told."""

    reason: str
