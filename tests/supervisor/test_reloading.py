import msgspec

from scheduler.config import Config, load
from scheduler.supervisor.reloading import take_log_settings, waiting_for_restart


def config(**variables: str) -> Config:
    return load(None, {f"SCHEDULER_{name}": value for name, value in variables.items()})


def test_log_settings_and_nothing_else_are_taken_over() -> None:
    wanted = config(
        OBSERVABILITY__LOG_LEVEL="error",
        OBSERVABILITY__LOG_FORMAT="json",
        OBSERVABILITY__LEVELS='{ "scheduler.gateway" = "debug" }',
        OBSERVABILITY__PATH_WARN_MS="7",
        GATEWAYS="9",
    )
    running = config(GATEWAYS="2")
    changed = take_log_settings(running, wanted)
    assert changed.observability == msgspec.structs.replace(wanted.observability, path_warn_ms=50)
    assert msgspec.structs.replace(changed, observability=running.observability) == running


def test_what_waits_for_a_restart_is_named() -> None:
    wanted = config(
        OBSERVABILITY__LOG_LEVEL="error",
        OBSERVABILITY__LEVELS='{ "scheduler" = "debug" }',
        OBSERVABILITY__PATH_WARN_MS="7",
        GATEWAYS="9",
        SCHEDULER__JOB_TIMEOUT__SEND_CANCEL="false",
    )
    assert waiting_for_restart(Config(), wanted) == [
        "gateways",
        "scheduler.job_timeout.send_cancel",
        "observability.path_warn_ms",
    ]
    assert waiting_for_restart(wanted, wanted) == []
