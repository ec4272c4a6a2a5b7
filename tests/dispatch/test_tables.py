import pytest

from scheduler.dispatch.tables import Tables
from scheduler.memory.layout import NODES, SERVICE_WORDS, SERVICES_MAX, Dimensions, Layout
from scheduler.selection.columns import NodeColumns


def test_allocated_tables_have_the_shapes_and_types_of_the_layout() -> None:
    tables = Tables.allocate(nodes=5, classes=3)
    layout = Layout(Dimensions(gateways=1, nodes=5, sessions_per_gateway=1, classes=3))
    for name, array in vars(tables.nodes).items():
        placed = layout.placements[NODES.name, name]
        assert (array.shape, array.dtype) == (placed.shape, placed.dtype), name
    assert tables.scores.shape == (3, 5)
    assert tables.class_services.shape == (3, SERVICE_WORDS)
    assert tables.service_ids.shape == (SERVICES_MAX,)


@pytest.mark.parametrize("attribute", ["usage_ref", "heartbeat_ns", "external_jobs"])
def test_columns_are_found_by_their_own_name(attribute: str) -> None:
    asked: list[tuple[str, str]] = []

    def column(block: str, name: str) -> tuple[str, str]:
        asked.append((block, name))
        return block, name

    columns = NodeColumns(column)  # type: ignore[arg-type]
    assert getattr(columns, attribute) == (NODES.name, attribute)
    assert len(asked) == len(set(asked))
