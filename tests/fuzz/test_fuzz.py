"""Each target takes some thousand inputs, and what a fuzzer finds is told so that it can be redone.

`scripts/fuzz` runs as many as one likes; docs/reliability.md has the figures of a large run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from tests.fuzz.__main__ import EXIT_FOUND, main
from tests.fuzz.plain import INPUT_BYTES_MAX, Mutator, fuzz
from tests.fuzz.targets import SHARES, TARGETS

SEED = 20_261_128
INPUTS = 3_000
BAD = b"\xbad"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_everything(name: str) -> None:
    target = TARGETS[name]()
    try:
        count, finding = fuzz(target, INPUTS, SEED)
    finally:
        target.close()
    assert finding is None, f"seed {SEED}, input {count}: {finding.data!r}"
    assert count == INPUTS


def test_all_targets_share_the_inputs() -> None:
    assert SHARES.keys() == TARGETS.keys()
    assert sum(SHARES.values()) == pytest.approx(1)


class Planted:
    """Breaks where an input has BAD in it; no seed has."""

    def __init__(self) -> None:
        self.runs = 0
        self.closed = 0

    def seeds(self) -> list[bytes]:
        return [b"a", b"bc", b""]

    def tokens(self) -> list[bytes]:
        return [b"x", BAD]

    def run(self, data: bytes) -> None:
        self.runs += 1
        if BAD in data:
            raise LookupError("planted")

    def close(self) -> None:
        self.closed += 1


def test_a_planted_exception_is_found_with_its_input() -> None:
    target = Planted()
    count, finding = fuzz(target, 1_000, SEED)
    assert finding is not None
    assert BAD in finding.data
    assert isinstance(finding.error, LookupError)
    assert count == target.runs < 1_000, "it ends there"


def test_the_same_seed_makes_the_same_inputs_and_another_makes_others() -> None:
    def inputs(seed: int) -> list[bytes]:
        mutator = Mutator([b"seed", b"another"], [b"token"], seed)
        return [mutator.next() for _ in range(200)]

    assert inputs(1) == inputs(1) != inputs(2)
    assert len(set(inputs(1))) > 100


def test_inputs_are_bounded() -> None:
    mutator = Mutator([b"x" * INPUT_BYTES_MAX], [b"x" * 1_000], SEED)
    assert max(len(mutator.next()) for _ in range(200)) == INPUT_BYTES_MAX


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Undo what the command does to logs."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Stands in the place of a target."""
    target = Planted()
    monkeypatch.setitem(TARGETS, "decoder", lambda: target)
    return target


def test_a_run_without_a_finding_tells_its_seed_and_counts() -> None:
    result = invoke("--target", "channel", "--inputs", 1_234, "--seed", 7, "--engine", "plain")
    assert result.exit_code == 0
    assert "seed 7" in result.output
    assert "1,234" in result.output


def test_a_finding_is_kept_and_can_be_seen_again(planted: Planted, tmp_path: Path) -> None:
    where = ("--target", "decoder", "--findings", tmp_path)
    result = invoke(*where, "--engine", "plain", "--inputs", 1_000, "--seed", SEED)
    assert result.exit_code == EXIT_FOUND
    [kept] = tmp_path.iterdir()
    assert BAD in kept.read_bytes()
    assert "LookupError: planted" in result.output
    assert f"--target decoder --reproduce {kept}" in result.output.replace("\n", "")
    again = invoke("--target", "decoder", "--reproduce", kept)
    assert again.exit_code == EXIT_FOUND
    assert "LookupError: planted" in again.output
    kept.write_bytes(b"harmless")
    assert invoke("--target", "decoder", "--reproduce", kept).exit_code == 0
    assert planted.closed == 3


def test_an_input_belongs_to_one_target(tmp_path: Path) -> None:
    data = tmp_path / "input"
    data.write_bytes(b"x")
    assert invoke("--reproduce", data).exit_code == 2


# --- guided -----------------------------------------------------------------------------------

# Has what the process with the guide uses of Atheris, and says what libFuzzer says.
STAND_IN = f"""
import contextlib, os, pathlib, sys

instrument_imports = lambda include: contextlib.nullcontext()

def Setup(arguments, run):
    global options, corpus, target
    corpus, target = pathlib.Path(arguments[-1]), run
    options = dict(each.lstrip("-").split("=", 1) for each in arguments[1:-1])

def Fuzz():
    assert pathlib.Path(options["dict"]).read_text().startswith('"\\\\x')
    assert (options["seed"], options["max_len"]) == ("5", "{INPUT_BYTES_MAX}")
    seeds = sorted(corpus.iterdir())
    planted = os.environ.get("PLANTED")
    if planted == "nothing runs":
        sys.exit(0)
    for count in range(int(options["runs"])):
        target(seeds[count % len(seeds)].read_bytes())
        if planted == "a finding" and count == 10:
            found = options["artifact_prefix"] + "crash-1"
            pathlib.Path(found).write_bytes(b"bad")
            print("LookupError: planted", "Test unit written to " + found, sep="\\n")
            os._exit(77)
    print("stat::number_of_executed_units:", count + 1)
    os._exit(0)
"""


def guided(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, planted: str = ""
) -> tuple[Result, Path]:
    modules, findings = tmp_path / "modules", tmp_path / "findings"
    modules.mkdir()
    (modules / "atheris.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.setenv("PLANTED", planted)
    options = ("--engine", "guided", "--inputs", 200, "--seed", 5, "--findings", findings)
    return invoke("--target", "segment", *options), findings


def test_the_guide_gets_the_target_and_its_seeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result, findings = guided(monkeypatch, tmp_path)
    assert result.exit_code == 0, result.output
    assert "guided engine, seed 5" in result.output
    assert "200" in result.output
    assert not [*findings.iterdir()]


def test_what_the_guide_finds_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result, findings = guided(monkeypatch, tmp_path, "a finding")
    assert result.exit_code == EXIT_FOUND
    assert "LookupError: planted" in result.output
    assert str(findings / "segment-crash-1") in result.output.replace("\n", "")


def test_a_guide_that_runs_too_few_is_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result, _ = guided(monkeypatch, tmp_path, "nothing runs")
    assert result.exit_code == 1
    assert "the fuzzer itself failed" in result.output


def test_auto_takes_the_guide_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = invoke("--target", "segment", "--inputs", 10, "--seed", 1)
    assert "plain engine" in result.output
