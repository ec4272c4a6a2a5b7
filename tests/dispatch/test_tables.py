import pytest

from scheduler.dispatch.tables import Tables
from scheduler.memory.layout import NODES, SERVICE_WORDS, SERVICES_MAX, Dimensions, Layout
from scheduler.memory.segment import Segment
from scheduler.protocol.exclusions import SAMPLES_MAX
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


def test_samples_of_excluded_nodes_are_kept_in_the_memory_they_came_from() -> None:
    dimensions = Dimensions(gateways=1, nodes=1, sessions_per_gateway=1, classes=1)
    segment = Segment.create(dimensions, epoch="e", started_ms=0, started_ns=0)
    try:
        tables = Tables(segment.views.column, segment.views.scores())
        tables.excluded_samples[1, 2] = 7
        kept = segment.views.column("exclusions", "sample_refs")
        assert kept[0].tolist().index(7) == SAMPLES_MAX + 2
        del tables, kept
    finally:
        segment.close()


@pytest.mark.parametrize("attribute", ["usage_ref", "heartbeat_ns", "external_jobs"])
def test_columns_are_found_by_their_own_name(attribute: str) -> None:
    asked: list[tuple[str, str]] = []

    def column(block: str, name: str) -> tuple[str, str]:
        asked.append((block, name))
        return block, name

    columns = NodeColumns(column)  # type: ignore[arg-type]
    assert getattr(columns, attribute) == (NODES.name, attribute)
    assert len(asked) == len(set(asked))
