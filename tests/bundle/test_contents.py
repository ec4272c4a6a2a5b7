"""A bundle of a runtime folder as the supervisor makes it, over a segment that the test writes."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

import scheduler
from scheduler.bundle import contents
from scheduler.bundle.contents import ABOUT, Bundle, collect
from scheduler.config import MASK, Config, ModelHubSettings, ServerSettings, StatsSettings
from scheduler.errors import BundleError, LayoutError
from scheduler.memory.flight import FlightRecorder
from scheduler.memory.layout import DISPATCHER_ROW, FIRST_GATEWAY_ROW, MAGIC
from scheduler.supervisor.runtime_dir import RuntimeDir
from tests.stats.world import EPOCH, World, make_world

SECRET = "s3cr3tValue"  # noqa: S105
WHY = "because of this test"


class Site:
    """A runtime folder and who writes to it."""

    def __init__(self, path: Path, runtime: RuntimeDir, world: World) -> None:
        self.path = path
        self.runtime = runtime
        self.world = world

    def collect(self, **options: Any) -> Bundle:
        return collect(self.path, **{"why": WHY, "frame_seconds": 0, **options})

    def note(self, row: int, text: str) -> None:
        FlightRecorder(self.world.views, row).note("info", text)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_world() as world, closing(RuntimeDir(tmp_path / "run")) as runtime:
        world.put_node(0, "node-a", capacity=4)
        world.beat(0, pid=os.getpid())
        runtime.publish_memory(world.segment.fd)
        runtime.publish_settings(Config(server=ServerSettings(admin_token=SECRET)))
        (runtime.path / "snapshot.json").write_text('{"snapshot":{"sequence":3}}')
        yield Site(runtime.path, runtime, world)


def member(bundle: Bundle, name: str) -> bytes:
    return dict(bundle.members)[name]


def document(bundle: Bundle, name: str) -> Any:
    return json.loads(member(bundle, name))


def test_it_holds_all_there_is_in_a_fixed_order(site: Site, tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text("x\n")
    bundle = site.collect(logs=[tmp_path / "one.log"])
    assert bundle.left_out == {}
    assert [name for name, _ in bundle.members] == [
        "manifest.json",
        "summary.txt",
        "flight/supervisor.jsonl",
        "flight/dispatcher.jsonl",
        "flight/stats.jsonl",
        "flight/gateway-0.jsonl",
        "flight/gateway-1.jsonl",
        "decisions.jsonl",
        "counters.json",
        "latency.json",
        "frame.json",
        "nodes.json",
        "processes.json",
        "settings.json",
        "snapshot.json",
        "logs/0-one.log",
    ]
    for name, _ in bundle.members:
        assert sum(name.startswith(start) for start in ABOUT) == 1, f"{name} isn't explained"


def test_the_manifest_says_what_was_looked_at(site: Site) -> None:
    site.world.put("header", 0, generation=4)
    bundle = site.collect()
    manifest = document(bundle, "manifest.json")
    assert manifest["version"] == scheduler.__version__
    assert (manifest["epoch"], manifest["generation"]) == (EPOCH, 4)
    assert manifest["why"] == WHY
    assert manifest["runtime_dir"] == str(site.path)
    assert manifest["machine"]["memory"]["MemTotal"]
    sizes = {name: len(data) for name, data in bundle.members if name != "manifest.json"}
    assert manifest["bytes"] == sizes
    assert (manifest["removed"], manifest["left_out"]) == (bundle.removed, bundle.left_out)


def test_what_each_part_says_is_what_there_is(site: Site) -> None:
    site.note(DISPATCHER_ROW, "before the end")
    site.world.count(1, jobs_accepted_total=7)
    bundle = site.collect()
    assert json.loads(member(bundle, "flight/dispatcher.jsonl"))["text"] == "before the end"
    assert document(bundle, "counters.json")["gateway_counters"][1]["jobs_accepted_total"] == 7
    assert len(document(bundle, "latency.json")["gateways"]) == 2
    assert document(bundle, "frame.json")["slots"] == 4
    assert document(bundle, "nodes.json")["nodes"][0]["node_id"] == "node-a"
    assert document(bundle, "settings.json")["server"]["admin_token"] == MASK
    assert document(bundle, "snapshot.json") == {"snapshot": {"sequence": 3}}
    processes = document(bundle, "processes.json")
    assert processes["supervisor"]["kernel"]["State"]
    assert processes["dispatcher"]["kernel"] is None
    assert b"before the end" in member(bundle, "summary.txt")


def test_a_reason_that_is_no_utf_8_is_no_reason_to_fail(site: Site) -> None:
    assert document(site.collect(why="a\udcffb"), "manifest.json")["why"] == "a?b"


def test_rates_are_those_between_two_looks(site: Site) -> None:
    frame = document(site.collect(frame_seconds=0.2), "frame.json")
    assert frame["interval_s"] >= 0.2
    assert frame["rates"]["jobs_accepted_per_s"] == 0


def test_no_secret_is_in_any_part(site: Site, tmp_path: Path) -> None:
    url = f"http://user:{SECRET}@hub.example"
    site.runtime.publish_settings(
        Config(server=ServerSettings(admin_token=SECRET), model_hub=ModelHubSettings(base_url=url))
    )
    site.note(FIRST_GATEWAY_ROW, f"peer sent Authorization: Bearer {SECRET}")
    site.world.put_node(1, "node-b", name=f"token={SECRET}".encode())
    (site.path / "snapshot.json").write_text(json.dumps({"url": f"{url}/x", "token": SECRET}))
    log = tmp_path / "proxy.log"
    log.write_text(f"GET /ws/session?token={SECRET} 101\n")
    bundle = site.collect(logs=[log], why=f"token={SECRET} was refused")
    for name, data in bundle.members:
        assert SECRET.encode() not in data, name
    assert bundle.removed == {"token": 4, "authorization": 1, "url_password": 2}
    assert b"peer sent Authorization: ***" in member(bundle, "flight/gateway-0.jsonl")
    assert b"GET /ws/session?token=*** 101\n" in member(bundle, "logs/0-proxy.log")
    assert document(bundle, "manifest.json")["removed"] == bundle.removed


def test_a_part_that_cannot_be_had_is_left_out_with_the_reason(site: Site) -> None:
    (site.path / "snapshot.json").unlink()
    (site.path / "settings.json").write_text('{"gateways": "of another version"}')
    # As a process of another mind might write it.
    site.world.put("nodes", 0, status=99)
    bundle = site.collect()
    assert set(bundle.left_out) == {"settings.json", "snapshot.json", "nodes.json"}
    assert "gateways" in bundle.left_out["settings.json"]
    assert "99" in bundle.left_out["nodes.json"]
    assert document(bundle, "manifest.json")["left_out"] == bundle.left_out
    assert "settings.json" not in dict(bundle.members)
    assert member(bundle, "summary.txt")
    assert document(bundle, "counters.json")


def test_the_snapshot_is_found_where_the_settings_have_it(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.json"
    path.write_text('{"from": "elsewhere"}')
    site.runtime.publish_settings(Config(stats=StatsSettings(snapshot_path=str(path))))
    assert document(site.collect(), "snapshot.json") == {"from": "elsewhere"}


def test_a_snapshot_that_is_too_long_is_left_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SNAPSHOT_BYTES_MAX", 10)
    assert "is longer than" in site.collect().left_out["snapshot.json"]


def test_logs_have_names_that_are_safe_and_differ(site: Site, tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "x y:ü.log", tmp_path / "b" / "x y:ü.log"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f"{path.parent.name}\n")
    bundle = site.collect(logs=paths)
    assert member(bundle, "logs/0-x_y__.log") == b"a\n"
    assert member(bundle, "logs/1-x_y__.log") == b"b\n"


def test_a_log_that_cannot_be_read_is_said_at_once(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="can't read"):
        site.collect(logs=[tmp_path / "missing.log"])


def test_where_nothing_runs_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=rf"no scheduler runs in {tmp_path}: start it") as raised:
        collect(tmp_path, why="")
    assert "crashes" not in str(raised.value)
    (tmp_path / "crashes").mkdir()
    (tmp_path / "memory").symlink_to("/proc/1073741824/fd/3")  # after a kill -9
    with pytest.raises(LayoutError, match=rf"when processes died is in {tmp_path}/crashes"):
        collect(tmp_path, why="")


def test_another_version_is_told_from_none(site: Site) -> None:
    site.world.put("header", 0, layout_hash=1)
    with pytest.raises(LayoutError, match=r"run/memory: .*another version.*; use the command of"):
        site.collect()
    site.world.put("header", 0, magic=MAGIC + 1)
    with pytest.raises(LayoutError, match="not a scheduler's memory segment"):
        site.collect()


def test_a_folder_of_another_user_is_told_from_an_empty_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> NoReturn:
        raise LayoutError(f"{path}: Permission denied") from PermissionError()

    monkeypatch.setattr(contents, "Attached", refuse)  # root, as tests may run, is never refused
    with pytest.raises(LayoutError, match="another user's; run this as the scheduler's user"):
        site.collect()
