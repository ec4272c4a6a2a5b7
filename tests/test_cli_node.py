"""The commands that run nodes refuse what can't be meant; running them: test_cli.py."""

import pytest
from click.testing import CliRunner

from scheduler.cli_node import CORE_SERVICES, node
from scheduler.config import CoreServicesSettings


def test_the_default_services_are_the_default_settings() -> None:
    core = CoreServicesSettings()
    assert CORE_SERVICES.split(",") == [
        core.asr_service_id,
        core.nmt_service_id,
        core.tts_service_id,
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sim", "--count", "0"], "--count"),
        (["sim", "--delay-ms", "fast"], "--delay-ms"),
        (["sim", "--delay-ms", "400-50"], "--delay-ms"),
        (["sim", "--fail-rate", "2"], "--fail-rate"),
        (["sim", "--capacity", "0"], "--capacity"),
        (["speech", "--slots", "0"], "--slots"),
    ],
)
def test_options_out_of_range_are_named(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(node, arguments)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("command", ["sim", "speech"])
def test_help_explains_every_option(command: str) -> None:
    result = CliRunner().invoke(node, [command, "--help"])
    assert result.exit_code == 0
    for parameter in node.commands[command].params:
        assert parameter.help, parameter.name
