from pathlib import Path

import msgspec
from structlog.testing import capture_logs

from scheduler.config import Config, IdentitySettings, load
from scheduler.identity.credentials import Credentials, TokenEntry
from scheduler.identity.tokens import digest_of, line_of
from scheduler.supervisor.reloading import (
    reread_credentials,
    take_log_settings,
    waiting_for_restart,
)


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


# --- credentials ----------------------------------------------------------------------------


def guarded(folder: Path) -> Config:
    tokens = folder / "tokens"
    write(tokens, "a token")
    return Config(identity=IdentitySettings(session_tokens_path=str(tokens)))


def write(path: Path, *tokens: str) -> None:
    path.write_text("".join(line_of(entry(token)) + "\n" for token in tokens))


def entry(token: str) -> TokenEntry:
    return TokenEntry("web", digest_of(token))


def test_files_are_read_again(tmp_path: Path) -> None:
    config = guarded(tmp_path)
    before = Credentials(session_tokens=[entry("a token")])
    assert reread_credentials(config, before) is None, "nothing has changed"
    write(tmp_path / "tokens", "a token", "another")
    changed = reread_credentials(config, before)
    assert changed == Credentials(session_tokens=[entry("a token"), entry("another")])


def test_what_is_wrong_with_them_changes_nothing_and_is_said(tmp_path: Path) -> None:
    config = guarded(tmp_path)
    (tmp_path / "tokens").write_text("")
    with capture_logs() as logs:
        assert reread_credentials(config, Credentials()) is None
    (line,) = logs
    assert line["event"] == "credentials not changed"
    assert "has no entry" in line["reason"]


def test_who_names_no_files_hears_nothing() -> None:
    with capture_logs() as logs:
        assert reread_credentials(Config(), Credentials()) is None
    assert logs == []
