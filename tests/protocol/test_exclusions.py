from scheduler.protocol.exclusions import Exclusion


def test_names_fit_a_metric_s_label() -> None:
    assert all(reason.value.replace("_", "").isalpha() for reason in Exclusion)
    assert len({reason.value for reason in Exclusion}) == len(Exclusion)
