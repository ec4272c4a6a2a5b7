"""What is asked about: a job as a session would describe it."""

import difflib

import numpy as np
from msgspec import Struct

from scheduler.errors import NotFoundError
from scheduler.protocol.requirements import FEATURES, STAGES, requirement_of
from scheduler.protocol.session import Features, Pipeline
from scheduler.protocol.status import Status
from scheduler.selection.columns import NodeColumns
from scheduler.stats.reading import texts
from scheduler.top.tables import plain

_EXAMPLES_MAX = 3


class Ask(Struct, frozen=True):
    """A job that has not been submitted.

    `stages` are some of requirements.STAGES, `features` of requirements.FEATURES. `node` is the
    id, or the name, of the node that the session is paired with, null where it isn't paired.
    """

    src_lang: str | None = None
    tgt_lang: str | None = None
    stages: tuple[str, ...] = STAGES
    features: tuple[str, ...] = ()
    node: str | None = None

    @property
    def requirement(self) -> int:
        """What the gateway would submit."""
        assert set(self.features) <= set(FEATURES)
        return requirement_of(
            Pipeline(**{f"use_{stage}": stage in self.stages for stage in STAGES}),
            Features(**dict.fromkeys(self.features, True)),
        )


def find_node(nodes: NodeColumns, asked: str) -> int:
    """Return the reference of the node of that id, or else of the only one of that name.

    Raises NotFoundError, which says which ids there are.
    """
    used = np.flatnonzero(nodes.status != Status.FREE)
    for column in (nodes.node_id, nodes.name):
        rows = used[column[used] == asked.encode()]
        if len(rows) == 1:
            return int(nodes.ref[rows[0]])
    if len(rows) > 1:
        same = ", ".join(texts(nodes.node_id[rows[:_EXAMPLES_MAX]]))
        raise NotFoundError(f"{len(rows):,} nodes have the name {asked}; use an id, as {same}")
    if not len(used):
        raise NotFoundError(f"there is no node {asked}: none is registered")
    ids = texts(nodes.node_id[used])
    known = [*ids, *texts(nodes.name[used])]
    similar = difflib.get_close_matches(asked, known, _EXAMPLES_MAX) or ids[:_EXAMPLES_MAX]
    raise NotFoundError(
        f"there is no node {asked}; use the id or name of one of the {len(ids):,} there are, "
        f"as {plain(', '.join(dict.fromkeys(similar)))}"
    )
