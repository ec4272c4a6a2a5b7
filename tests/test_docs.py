"""The documents say what the code does, and lead nowhere that isn't there."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from scheduler.cli import cli
from scheduler.protocol import node, session
from scheduler.protocol.codes import HINTS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("samples/*.md")])
COMMITTED = [
    path
    for folder in ("configs", "docs", "native_bench", "samples", "scheduler")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".c", ".h", ".css", ".html", ".js", ".md", ".py", ".toml"}
    and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
]

SERVER_TO_SESSION = (
    session.SessionInitAck,
    session.AsrPartial,
    session.TranslationResult,
    session.UiEvent,
    session.ServerHeartbeat,
    session.SessionCloseAck,
    session.ErrorMessage,
)
SERVER_TO_NODE = (
    node.NodeRegisterAck,
    node.NodeStatus,
    node.JobAssign,
    node.JobCancel,
    node.NodeControl,
    node.PairingCode,
    session.ErrorMessage,
)
SHARED = (
    session.Features,
    session.Pipeline,
    node.Hardware,
    node.Gpu,
    node.InstalledModel,
    node.InstalledService,
    node.ResourceUsage,
    node.NodeFailure,
)
# The client reads these leniently; the scheduler always sends them.
ALWAYS_SENT: dict[type[Struct], set[str]] = {
    session.TranslationResult: {"text_asr", "text_translated", "tts_audio", "tts_format"}
}


def read(path: str) -> str:
    return (ROOT / path).read_text()


def section(title: str) -> str:
    """Return what stands under a heading of docs/protocol.md, up to the next one."""
    _, found, rest = read("docs/protocol.md").partition(f"# {title}\n")
    assert found, f"docs/protocol.md has no heading {title}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def messages() -> Iterator[tuple[str, type[Struct]]]:
    for kind in typing.get_args(session.SessionMessage):
        yield "Client to scheduler", kind
    for kind in SERVER_TO_SESSION:
        yield "Scheduler to client", kind
    for kind in typing.get_args(node.NodeMessage):
        yield "Node to scheduler", kind
    for kind in SERVER_TO_NODE:
        yield "Scheduler to node", kind
    for kind in SHARED:
        yield "Shared types", kind


def declared(kind: type[Struct]) -> set[str]:
    """Return the struct's fields, with a question mark where they may be missing."""
    always = ALWAYS_SENT.get(kind, set())
    return {
        info.name
        if info.name in always or (info.default is NODEFAULT and info.default_factory is NODEFAULT)
        else f"{info.name}?"
        for info in fields(kind)
    }


def without_asides(text: str) -> str:
    return re.sub(r"\([^()]*\)", "", text)


@pytest.mark.parametrize(
    ("title", "kind"), list(messages()), ids=lambda value: getattr(value, "__name__", value)
)
def test_each_message_is_described_field_by_field(title: str, kind: type[Struct]) -> None:
    name = kind.__struct_config__.tag or kind.__name__
    rows = re.findall(rf"^\| `{name}` \| (.*) \|$", section(title), re.MULTILINE)
    assert len(rows) == 1, f"{title} has {len(rows)} rows for {name}"
    assert set(re.findall(r"`([a-z_]+\??)`", without_asides(rows[0]))) == declared(kind)


def test_each_error_code_stands_with_its_hint() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", section("Error codes"), re.MULTILINE)
    assert dict(rows) == {code.value: hint for code, hint in HINTS.items()}


def commands(group: click.Group, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name


def test_the_readme_names_each_command() -> None:
    shown = re.findall(r"^\| `([a-z -]+)` \|", read("README.md"), re.MULTILINE)
    assert sorted(shown) == sorted(commands(cli))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as forges make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{target}: no such file"
        assert path.is_relative_to(ROOT), f"{target} leads out of the project"
        if anchor:
            assert anchor in anchors(path), f"{target}: no such heading"


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *COMMITTED], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_file_names_somebodys_folder(document: Path) -> None:
    found = re.findall(r"/(?:home|root|Users)/\S+", document.read_text())
    assert not found


def test_files_named_in_documents_exist() -> None:
    pattern = r"`((?:scheduler|tests|configs|scripts|docs|samples|requirements)/[\w./-]+)`"
    missing = {
        f"{document.name}: {name}"
        for document in DOCUMENTS
        for name in re.findall(pattern, document.read_text())
        if not (ROOT / name).exists() and "/x/" not in name
    }
    assert not missing
