from pathlib import Path

import pytest

from scheduler.errors import NotFoundError
from scheduler.explain.jobs import history_of_job, is_job_id
from scheduler.explain.reading import attach
from scheduler.memory.layout import DECISIONS_MAX
from scheduler.protocol.decisions import Outcome
from scheduler.protocol.ids import job_key_base, wire_job_id
from tests.dispatch.desk import job
from tests.explain.site import Site, make_site
from tests.stats.world import EPOCH


def asked(site: Site, key: int, epoch: str = EPOCH) -> str:
    """Return the outcomes recorded of a job, or why there are none."""
    site.beat()
    with attach(site.folder) as running:
        try:
            found = history_of_job(running, wire_job_id(epoch, key))
        except NotFoundError as error:
            return str(error)
    assert found.job_id == wire_job_id(epoch, key)
    return " ".join(one.outcome for one in found.decisions)


@pytest.mark.parametrize("text", ["job-1a2b3c4d-0", "job-1a2b3c4d-10000000001", "job-site-A"])
def test_ids_are_known_by_their_form(text: str) -> None:
    assert is_job_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "17",
        "job",
        "job--1",
        "job-1a2b3c4d-",
        "job-1a2b3c4d-1a",
        "job-1a2b3c4d-01",
        "job-1a2b3c4d-1 ",
        "job-1a2b3c4d-11112222333344445",
        "sess-1a2b3c4d-1",
    ],
)
def test_other_forms_are_none(text: str) -> None:
    assert not is_job_id(text)


def test_a_job_is_found_with_all_its_decisions(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        node = site.desk.node("n", capacity=1)
        site.desk.place(1)
        site.desk.place(2)
        site.desk.finish(1, node)
        assert asked(site, job(1)) == "placed"
        assert asked(site, job(2)) == "queued served"


def test_a_job_of_another_run_is_told_apart(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.place(1)
        said = asked(site, job(1), epoch="ffffffff")
        assert "is of another run" in said
        assert f"ids of this run begin with job-{EPOCH}-" in said


def test_a_job_that_never_was_is_said_to_be_none(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.place(1)
        said = asked(site, job(2))
        assert "no such job has needed a node in this run" in said
        assert "--recent 20" in said
        assert "there is no gateway 2" in asked(site, job_key_base(2, 0) + 1)


def test_a_job_beyond_the_budget_may_have_no_record(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.node("n", capacity=9)
        site.desk.place(1)
        site.desk.core._flow._decisions.budget = 0
        site.desk.place(2)
        said = asked(site, job(2))
        assert "1 of 2 were over what may be recorded" in said
        assert 'observability.levels to { "scheduler.gateway" = "debug" }' in said
        assert asked(site, job(1)) == "placed"


def test_a_job_before_the_oldest_record_may_have_lost_it(tmp_path: Path) -> None:
    with make_site(tmp_path) as site:
        site.desk.counts.decisions_recorded_total = DECISIONS_MAX + 1
        rows = site.world.views.column("decisions", "sequence")
        rows[0] = DECISIONS_MAX + 1
        site.world.put("decisions", 0, outcome=Outcome.PLACED)
        said = asked(site, job(1))
        assert f"the last {DECISIONS_MAX:,} decisions, which are kept, reach back to" in said
        assert "over what may be recorded" not in said
