from scheduler.protocol.cancellations import CANCEL_LABELS, Cancellation, cancel_index


def test_each_reason_has_a_place_and_a_label_of_its_own() -> None:
    assert [cancel_index(reason) for reason in Cancellation] == list(range(len(Cancellation)))
    assert len(set(CANCEL_LABELS)) == len(Cancellation)
    assert CANCEL_LABELS[cancel_index(Cancellation.NOT_RESUMED)] == "not_resumed"
