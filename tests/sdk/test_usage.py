from scheduler.sdk.usage import MachineUsage, machine_hardware


def test_usage_is_in_percent() -> None:
    usage = MachineUsage()
    for _ in range(3):
        now = usage()
        assert 0 <= now.cpu_percent <= 100
        assert 0 < now.mem_percent < 100


def test_hardware_has_whole_numbers() -> None:
    hardware = machine_hardware()
    assert hardware.cpu_cores >= 1
    assert isinstance(hardware.memory_gb, int)
