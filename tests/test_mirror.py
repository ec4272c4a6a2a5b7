"""Each source file has its test file, at the same place with the same name."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "scheduler"
TESTS = ROOT / "tests"

WITHOUT_TEST = {
    "__init__.py": "holds no code",
    "__main__.py": "starts a process; the integration tests start them all",
}
EXCEPTIONS = {
    "identity/holder.py": "holds data types only",
    "nodes/errors.py": "holds data types only",
    "stats/schema.py": "holds data types only",
    "stress/chart.py": "holds data types only",
    "stress/messages.py": "holds data types only",
    "stress/page_style.py": "holds a style sheet only",
    "stress/raw.py": "holds data types only",
}
# Packages that make sense as a whole only, each tested by a folder of its own.
AS_A_WHOLE = ("simulation",)

# Tests of more than one source file.
ACROSS = ("benchmarks", "deployment", "browser", "integration", "native_bench", "simulation")
# Harnesses with parts of their own, whose tests stand beside them.
HARNESSES = ("chaos", "fuzz")
# Tests of a standard, by its chapters.
OF_A_STANDARD = "test_rfc*.py"
OF_THE_PROJECT = ("test_docs.py", "test_imports.py", "test_lock.py", "test_mirror.py")
OF_TEST_CODE = ("test_leaks.py",)


def sources() -> list[Path]:
    return [
        path.relative_to(SOURCES)
        for path in sorted(SOURCES.rglob("*.py"))
        if path.name not in WITHOUT_TEST
        and path.relative_to(SOURCES).parts[0] not in AS_A_WHOLE
        and str(path.relative_to(SOURCES)) not in EXCEPTIONS
    ]


def mirrors() -> list[Path]:
    return [
        path.relative_to(TESTS)
        for path in sorted(TESTS.rglob("test_*.py"))
        if path.relative_to(TESTS).parts[0]
        not in (*ACROSS, *HARNESSES, *OF_THE_PROJECT, *OF_TEST_CODE)
        and not path.match(OF_A_STANDARD)
    ]


def mirror_of(source: Path) -> Path:
    return TESTS / source.with_name(f"test_{source.name}")


@pytest.mark.parametrize("source", sources(), ids=str)
def test_each_source_has_its_test(source: Path) -> None:
    test = mirror_of(source)
    assert test.exists(), f"scheduler/{source} has no {test.relative_to(ROOT)}"


@pytest.mark.parametrize("test", mirrors(), ids=str)
def test_each_test_has_its_source(test: Path) -> None:
    """`test_connection_limits.py` may stand beside `test_connection.py`."""
    words = test.stem.removeprefix("test_").split("_")
    stems = ("_".join(words[:count]) for count in range(1, len(words) + 1))
    found = any((SOURCES / test.with_name(f"{stem}.py")).exists() for stem in stems)
    assert found, f"tests/{test} names no file of scheduler/{test.parent}: rename or remove it"


@pytest.mark.parametrize("source", EXCEPTIONS)
def test_exceptions_are_needed(source: str) -> None:
    assert (SOURCES / source).exists()
    assert not mirror_of(Path(source)).exists(), "it has a test now: take it off the list"


@pytest.mark.parametrize("package", AS_A_WHOLE)
def test_packages_tested_as_a_whole_are(package: str) -> None:
    assert list((TESTS / package).rglob("test_*.py"))
