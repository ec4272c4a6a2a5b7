from scheduler.memory.layout import NODES
from scheduler.selection.columns import NodeColumns


def test_each_attribute_is_the_column_of_its_name() -> None:
    asked: list[tuple[str, str]] = []

    def column(block: str, name: str) -> object:
        asked.append((block, name))
        return name

    nodes = NodeColumns(column)  # type: ignore[arg-type]
    assert vars(nodes) == {name: name for _, name in asked}
    assert {block for block, _ in asked} == {NODES.name}
    assert {name for _, name in asked} <= {declared.name for declared in NODES.columns}
