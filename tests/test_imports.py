"""Imports run one way, and the pure modules touch neither clock nor machine."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "scheduler"

BASE = ("protocol", "config", "errors")
SHARED = (*BASE, "memory", "ipc", "logs")

# Module or package -> what of ours it may import besides itself. The longest name that fits
# counts; a new package needs a line here.
ALLOWED: dict[str, tuple[str, ...]] = {
    "": (),
    "__main__": ("cli",),
    "protocol": (),
    "errors": ("protocol",),
    "config": ("protocol", "errors"),
    "config_reference": ("config",),
    "logs": ("config", "repeats"),
    "repeats": (),
    "memory": BASE,
    "memory.layout": ("protocol",),
    "identity": BASE,
    "ipc": (*BASE, "identity.credentials", "memory", "logs"),
    "selection": (*BASE, "memory.layout"),
    "dispatch": (*BASE, "memory.layout", "selection"),
    "dispatch.process": (*SHARED, "selection"),
    "dispatch.__main__": SHARED,
    "gateway": (*SHARED, "identity"),
    "stats": (*SHARED, "selection"),
    "supervisor": (*SHARED, "identity", "selection"),
    "simulation": (*BASE, "memory.layout", "selection", "dispatch"),
    "sdk": ("protocol", "errors"),
    "nodes": ("protocol", "errors", "sdk"),
    "top": (*SHARED, "stats.audit", "stats.reading", "stats.health", "stats.schema"),
    "explain": (
        *(*SHARED, "selection", "supervisor.runtime_dir"),
        *("stats.reading", "stats.health", "top.reading", "top.run", "top.tables"),
    ),
    "bundle": (
        *(*SHARED, "supervisor.runtime_dir", "stats.schema"),
        *("top.frame", "top.reading"),
    ),
    "cli": (
        *(*SHARED, "identity", "supervisor", "sdk", "nodes", "talk", "simulation"),
        *("cli_bundle", "cli_client", "cli_explain", "cli_node", "cli_reload", "cli_token"),
        *("cli_stress", "cli_top"),
    ),
    "cli_bundle": ("bundle", "config"),
    "cli_client": ("config", "errors", "logs"),
    "cli_explain": ("config", "explain", "protocol"),
    "cli_node": ("cli_client", "errors", "nodes"),
    "cli_stress": ("config", "errors", "stress"),
    "cli_token": ("identity",),
    "cli_reload": ("config", "supervisor"),
    "cli_top": ("config", "top"),
    "origin": (),
    "programs": (*BASE, "memory.views", "supervisor.runtime_dir"),
    "stress": (
        *(*SHARED, "sdk", "nodes.sim", "programs", "origin", "stats.proc"),
        "supervisor.runtime_dir",
    ),
    "talk": ("protocol", "errors", "sdk", "nodes.audio", "nodes.errors"),
    "demo": (*BASE, "logs", "supervisor", "sdk", "nodes", "talk"),
}

PURE = (
    "protocol",
    "memory.layout",
    "selection",
    "dispatch",
    "explain.verdicts",
    "identity.address_limit",
    "supervisor.backoff",
    "supervisor.policy",
    "gateway.segmenter",
    "gateway.order",
    "gateway.health",
    "gateway.lease",
    "gateway.splice",
    "gateway.chunk_seqs",
    "gateway.reply_tail",
)
NOT_PURE = ("dispatch.process", "dispatch.__main__")
# What a pure module may import besides: settings, errors and plain data types.
DATA = ("config", "errors", "ipc.boot")
# fmt: off
IMPURE_LIBRARIES = frozenset({
    "asyncio", "datetime", "logging", "os", "random", "secrets", "select", "selectors", "signal",
    "socket", "structlog", "subprocess", "threading", "time", "uuid", "uvloop",
})
# fmt: on

# The supervisor stays small and can't be broken by an event loop or a web framework.
NOT_IN_SUPERVISOR = frozenset({"aiohttp", "asyncio", "uvloop", "websockets"})


def module_name(path: Path) -> str:
    """Return the dotted name below `scheduler`, "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of each import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            name = node.module or ""
            for alias in node.names:
                below = PACKAGE.parent.joinpath(*name.split("."), alias.name)
                is_module = below.with_suffix(".py").exists() or below.is_dir()
                yield node.lineno, f"{name}.{alias.name}" if is_module else name


def is_within(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTS = {module: list(imported(path)) for module, path in MODULES.items()}


def allowed_for(module: str) -> tuple[str, ...]:
    names = [name for name in ALLOWED if name and is_within(module, (name,))]
    assert names or module == "", f"tests/test_imports.py has no rule for scheduler.{module}"
    own, _, _ = module.partition(".")
    return (*ALLOWED[max(names, key=len, default="")], own)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    allowed = allowed_for(module)
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {name}"
        for line, name in IMPORTS[module]
        if name.startswith("scheduler.") and not is_within(name.removeprefix("scheduler."), allowed)
    ]
    assert not wrong, f"{wrong}; allowed: {allowed}"


PURE_MODULES = [m for m in MODULES if is_within(m, PURE) and not is_within(m, NOT_PURE)]


@pytest.mark.parametrize("module", PURE_MODULES)
def test_pure_modules_touch_no_machine(module: str) -> None:
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {name}"
        for line, name in IMPORTS[module]
        if name.split(".")[0] in IMPURE_LIBRARIES
    ]
    assert not wrong


@pytest.mark.parametrize("module", PURE_MODULES)
def test_pure_modules_import_only_pure_ones_and_data(module: str) -> None:
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{line} imports {name}"
        for line, name in IMPORTS[module]
        if name.startswith("scheduler.")
        and not is_within(name.removeprefix("scheduler."), (*PURE, *DATA))
    ]
    assert not wrong


@pytest.mark.parametrize("name", PURE)
def test_every_pure_module_exists(name: str) -> None:
    assert name in MODULES


def test_the_supervisor_loads_no_event_loop() -> None:
    seen: set[str] = set()
    waiting = [module for module in MODULES if is_within(module, ("supervisor",))]
    while waiting:
        module = waiting.pop()
        if module in seen or module not in MODULES:
            continue
        seen.add(module)
        for line, name in IMPORTS[module]:
            assert name.split(".")[0] not in NOT_IN_SUPERVISOR, f"{MODULES[module]}:{line}: {name}"
            if name.startswith("scheduler."):
                waiting.append(name.removeprefix("scheduler."))
