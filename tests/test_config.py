import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from scheduler.config import (
    MASK,
    SECRETS,
    Config,
    ObservabilitySettings,
    ServerSettings,
    load,
    table_at,
    without_secrets,
)
from scheduler.errors import ConfigError
from scheduler.ipc.control import MESSAGE_BYTES_MAX, SetLogging

SECRET = "open sesame"  # noqa: S105
CONFIGS = Path(__file__).parent.parent / "configs"


def load_text(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    path = folder / "test.toml"
    path.write_text(text)
    return load(path, environ or {})


def refusal(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    """Return what an operator is told about a wrong file or environment."""
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, environ)
    return str(caught.value)


def test_without_a_file_all_is_default() -> None:
    assert load(None, {}) == Config()


def test_a_file_needs_only_what_differs(tmp_path: Path) -> None:
    config = load_text(tmp_path, "[server]\nport = 6010\n")
    assert config.server.port == 6010
    assert config.server.ops_port == Config().server.ops_port


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_committed_file_is_valid(path: Path) -> None:
    load(path, {})


def test_lingua_compat_has_the_values_in_the_field() -> None:
    config = load(CONFIGS / "lingua-compat.toml", {})
    balancer = config.scheduler.load_balancer
    assert config.scheduler.require_gpu
    assert (balancer.cpu_limit, balancer.gpu_limit, balancer.memory_limit) == (25, 25, 75)
    assert config.scheduler.node_health.health_check_count == 3
    assert config.server.public_stats


def test_bare_metal_gives_each_gateway_a_core_of_its_own() -> None:
    config = load(CONFIGS / "bare-metal.toml", {})
    affinity = config.cpu_affinity
    assert config.gateways == len(set(affinity.gateway))
    assert not set(affinity.dispatcher) & {*affinity.gateway, *affinity.stats}


# --- environment ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("SCHEDULER_GATEWAYS", "3", "gateways", 3),
        ("SCHEDULER_SERVER__HOST", "::1", "server.host", "::1"),
        ("SCHEDULER_SERVER__PUBLIC_STATS", "true", "server.public_stats", True),
        ("SCHEDULER_CPU_AFFINITY__GATEWAY", "[1, 2]", "cpu_affinity.gateway", [1, 2]),
        ("SCHEDULER_DRAIN_SECONDS", "2", "drain_seconds", 2.0),
        ("SCHEDULER_OBSERVABILITY__LOG_LEVEL", "debug", "observability.log_level", "debug"),
        (
            "SCHEDULER_SCHEDULER__JOB_TIMEOUT__FAILOVER_MAX_ATTEMPTS",
            "1",
            "scheduler.job_timeout.failover_max_attempts",
            1,
        ),
    ],
)
def test_the_environment_sets_any_value(variable: str, text: str, path: str, value: object) -> None:
    found: object = load(None, {variable: text})
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    environ = {"SCHEDULER_SERVER__PORT": "7000"}
    assert load_text(tmp_path, "[server]\nport = 6010\n", environ).server.port == 7000


def test_other_variables_are_nobodys_business() -> None:
    assert load(None, {"PATH": "/bin", "LINGUA": "x"}) == Config()


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_GATEWAYS", "5")
    assert load(None).gateways == 5


# --- what an operator is told ---------------------------------------------------------------


def test_an_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    message = refusal(tmp_path, "[server]\nprot = 1\n")
    assert "test.toml" in message
    assert "unknown key server.prot (did you mean port?)" in message
    assert "ops_port" in message, "the allowed keys"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[server]\nport = 70000\n", ["server.port = 70000", "<= 65535"]),
        ("[server]\nport = 'x'\n", ["server.port = 'x'", "`int`"]),
        ("drain_seconds = -1\n", ["drain_seconds = -1", ">= 0"]),
        ("[cpu_affinity]\ngateway = [-1]\n", ["cpu_affinity.gateway = [-1]", ">= 0"]),
        (
            "[scheduler.load_balancer]\nstrategy = 'random'\n",
            ["scheduler.load_balancer.strategy = 'random'", "'least_utilization'"],
        ),
        ("server = 1\n", ["server = 1"]),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = refusal(tmp_path, text)
    assert [part for part in ["test.toml", *parts] if part not in message] == []


@pytest.mark.parametrize(
    ("variable", "text", "part"),
    [
        ("SCHEDULER_SERVER__PORT", "70000", "SCHEDULER_SERVER__PORT: server.port = 70000"),
        ("SCHEDULER_SERVER__PORT", "many", "SCHEDULER_SERVER__PORT: server.port = 'many'"),
        ("SCHEDULER_SERVER__PORTS", "1", "SCHEDULER_SERVER__PORTS is no setting"),
        ("SCHEDULER_SERVER", "1", "SCHEDULER_SERVER names a table"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, text: str, part: str) -> None:
    assert part in refusal(tmp_path, "", {variable: text})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "[scheduler.node_health]\nheartbeat_timeout_seconds = 15\n",
            "must be greater than heartbeat_interval_seconds",
        ),
        ("[scheduler.node_health]\nfailure_count = 6\n", "must be at most window_size"),
        ("[limits]\nutterance_bytes_max = 67108864\n", "must fit limits.arena_bytes"),
        ("[limits]\nwrite_buffer_bytes_max = 1024\n", "at least limits.message_bytes_max"),
        ("[server]\nport = 5011\n", "give them different ports"),
        ('[server]\nops_host = "0.0.0.0"\n', "set server.admin_token, or use 127.0.0.1"),
        ('[server]\nops_host = "::"\n', "set server.admin_token"),
        ('[server]\nops_host = ""\n', "set server.admin_token"),
        ('[server]\nops_host = "ops.example"\n', "set server.admin_token"),
        ('[model_hub]\nbase_url = "hub:5000"\n', "is no web address"),
        ('[model_hub]\nbase_url = "http://"\n', "is no web address"),
        ('[model_hub]\nbase_url = "http://hub:x"\n', "is no web address"),
        ('[server]\ntls_cert_path = "c"\n', "belong together; set both or none"),
        ('[server]\ntls_key_path = "k"\n', "belong together; set both or none"),
        (
            '[server]\ntls_client_ca_path = "a"\n',
            "needs TLS; set server.tls_cert_path and server.tls_key_path too",
        ),
        (
            "[identity]\nnodes_need_certificate = true\n",
            "needs a CA to check them; set server.tls_client_ca_path",
        ),
        (
            '[identity]\njwt_keys_path = "k"\njwt_issuer = "i"\n',
            "needs identity.jwt_issuer and identity.jwt_audience",
        ),
        (
            '[identity]\njwt_audience = "a"\n',
            "check nothing without identity.jwt_keys_path",
        ),
    ],
)
def test_relations_between_settings_hold(tmp_path: Path, text: str, part: str) -> None:
    assert part in refusal(tmp_path, text)


def test_both_ports_may_be_free_ones(tmp_path: Path) -> None:
    load_text(tmp_path, "[server]\nport = 0\nops_port = 0\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: can't be read"):
        load(tmp_path / "missing.toml", {})


@pytest.mark.parametrize("data", [b"gateways =", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        load(path, {})


def test_what_peers_must_show_follows_from_the_paths() -> None:
    off = Config().identity
    assert not off.sessions_need_token
    assert not off.nodes_need_proof
    for name in ("session_tokens_path", "jwt_keys_path"):
        assert msgspec.structs.replace(off, **{name: "x"}).sessions_need_token
    for changed in ({"node_tokens_path": "x"}, {"nodes_need_certificate": True}):
        identity = msgspec.structs.replace(off, **changed)
        assert identity.nodes_need_proof
        assert not identity.sessions_need_token


# --- what is resolved for this machine ------------------------------------------------------


def test_gateways_are_one_less_than_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert Config().gateways_total == max(1, cores - 1)
    assert Config(gateways=7).gateways_total == 7


def test_the_runtime_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert Config().runtime_path == Path("/run/user/7/lingua-scheduler")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert Config().runtime_path.name == f"lingua-scheduler-{os.getuid()}"
    assert Config(runtime_dir="/srv/x").runtime_path == Path("/srv/x")


def test_the_snapshot_lies_in_the_runtime_folder(tmp_path: Path) -> None:
    assert Config(runtime_dir="/srv/x").snapshot_path == Path("/srv/x/snapshot.json")
    config = load_text(tmp_path, "[stats]\nsnapshot_path = '/srv/y.json'\n")
    assert config.snapshot_path == Path("/srv/y.json")


def test_table_at_finds_tables_only() -> None:
    assert table_at("") is Config
    assert "port" in table_at("server").__struct_fields__
    for path in ("server.port", "nothing"):
        with pytest.raises(KeyError):
            table_at(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_operators_of_this_machine_need_no_token(tmp_path: Path, host: str) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'[server]\nops_host = "{host}"\n')
    assert load(path, {}).server.ops_host == host


def test_with_a_token_operators_may_be_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[server]\nops_host = "0.0.0.0"\n')
    server = load(path, {"SCHEDULER_SERVER__ADMIN_TOKEN": "secret"}).server
    assert (server.ops_host, server.admin_token) == ("0.0.0.0", "secret")  # noqa: S104


def test_a_secret_is_not_shown_when_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("[server]\nadmin_token = 271828\n")
    with pytest.raises(ConfigError, match=r"server.admin_token = \*\*\* is not allowed") as caught:
        load(path, {})
    assert "271828" not in str(caught.value)


def secret_of(config: Config, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_every_secret_is_masked_and_nothing_else_changed() -> None:
    variables = {f"SCHEDULER_{key.upper().replace('.', '__')}": SECRET for key in SECRETS}
    config = load(None, {**variables, "SCHEDULER_GATEWAYS": "3"})
    assert {secret_of(config, key) for key in SECRETS} == {SECRET}
    shown = without_secrets(config)
    assert {secret_of(shown, key) for key in SECRETS} == {MASK}
    assert SECRET.encode() not in msgspec.json.encode(shown)
    for key in SECRETS:  # what is left is what was there
        shown = _replaced(shown, key.split("."), SECRET)
    assert shown == config


def _replaced(table: Struct, names: list[str], value: str) -> Any:
    name, *below = names
    inner: Any = _replaced(getattr(table, name), below, value) if below else value
    return msgspec.structs.replace(table, **{name: inner})


def test_a_secret_that_is_not_set_shows_as_not_set() -> None:
    assert without_secrets(Config()) == Config()


def test_masking_leaves_the_settings_in_use_alone() -> None:
    config = Config(server=ServerSettings(admin_token=SECRET))
    without_secrets(config)
    assert config.server.admin_token == SECRET


def test_every_secret_is_a_text_setting() -> None:
    assert SECRETS
    for key in SECRETS:
        assert secret_of(Config(), key) == "", f"{key}: masking sets a text"


def test_the_hub_s_variable_of_the_field_is_read() -> None:
    environ = {"MODEL_HUB_URL": "http://hub:1"}
    assert load(None, environ).model_hub.base_url == "http://hub:1"
    environ["SCHEDULER_MODEL_HUB__BASE_URL"] = "http://hub:2"
    assert load(None, environ).model_hub.base_url == "http://hub:2"
    default = load(None, {}).model_hub.base_url
    assert load(None, {"MODEL_HUB_URL": ""}).model_hub.base_url == default
    with pytest.raises(ConfigError, match="is no web address"):
        load(None, {"MODEL_HUB_URL": "nonsense"})


# --- hints ------------------------------------------------------------------------------------


def test_hints_are_for_known_codes_only(tmp_path: Path) -> None:
    text = '[server.hints]\nJOB_TIMEOUT = "Zu lange."\n'
    assert load_text(tmp_path, text).server.hints == {"JOB_TIMEOUT": "Zu lange."}
    said = refusal(tmp_path, '[server.hints]\nJOB_TIMOUT = "Zu lange."\n')
    assert "server.hints" in said
    assert "JOB_TIMOUT" in said


# --- levels of modules ----------------------------------------------------------------------


def test_levels_are_set_in_files_and_the_environment(tmp_path: Path) -> None:
    text = '[observability.levels]\n"scheduler.gateway" = "debug"\nscheduler = "warning"\n'
    levels = {"scheduler.gateway": "debug", "scheduler": "warning"}
    assert load_text(tmp_path, text).observability.levels == levels
    variable = {"SCHEDULER_OBSERVABILITY__LEVELS": '{ "scheduler.gateway.jobs" = "error" }'}
    found = load_text(tmp_path, "", variable).observability.levels
    assert found == {"scheduler.gateway.jobs": "error"}


def test_a_wrong_level_names_those_that_are_allowed(tmp_path: Path) -> None:
    said = refusal(tmp_path, '[observability.levels]\n"scheduler.gateway" = "loud"\n')
    assert "observability.levels" in said
    assert "expected one of 'debug', 'error', 'info', 'warning'" in said


def test_the_longest_table_of_levels_fits_into_a_control_message(tmp_path: Path) -> None:
    names = [f"{'x' * 125}{number:03}" for number in range(64)]
    longest = SetLogging(ObservabilitySettings(levels=dict.fromkeys(names, "warning")))
    assert len(msgspec.msgpack.encode(longest)) < MESSAGE_BYTES_MAX
    for too_many, bound in (([*names, "y"], "<= 64"), (["x" * 129], "<= 128")):
        table = "".join(f'{name} = "debug"\n' for name in too_many)
        said = refusal(tmp_path, f"[observability.levels]\n{table}")
        assert "observability.levels" in said
        assert bound in said


@pytest.mark.parametrize("name", ["scheduler.gatway", "asyncio", "", "scheduler..", "../etc"])
def test_modules_that_do_not_exist_have_no_level(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, f'[observability.levels]\n"{name}" = "debug"\n')
    assert f"names {name!r}, which is no module of the scheduler" in said
