from hypothesis import given
from hypothesis import strategies as st

from scheduler.protocol.requirements import (
    FEATURES,
    REQUIREMENTS_TOTAL,
    STAGES,
    required_services,
    requirement_of,
)
from scheduler.protocol.session import Features, Pipeline

STAGE_SERVICES = {"asr": "node-inference", "nmt": "nmt-m2m100", "tts": "piper-tts"}
ALL_STAGES = 0b111

flags = st.none() | st.booleans()
pipelines = st.none() | st.builds(Pipeline, use_asr=flags, use_nmt=flags, use_tts=flags)
features = st.none() | st.builds(Features, **dict.fromkeys(FEATURES, flags))


def test_all_stages_are_in_use_by_default() -> None:
    assert requirement_of(None, None) == ALL_STAGES
    assert requirement_of(Pipeline(), Features()) == ALL_STAGES


@given(pipelines, features)
def test_each_stage_and_feature_has_its_bit(
    pipeline: Pipeline | None, asked: Features | None
) -> None:
    requirement = requirement_of(pipeline, asked)
    assert 0 <= requirement < REQUIREMENTS_TOTAL
    for bit, stage in enumerate(STAGES):
        used = pipeline is None or getattr(pipeline, f"use_{stage}") in (None, True)
        assert requirement >> bit & 1 == used
    for bit, feature in enumerate(FEATURES, start=len(STAGES)):
        wanted = asked is not None and getattr(asked, feature) is True
        assert requirement >> bit & 1 == wanted


@given(pipelines, features)
def test_services_are_those_of_the_stages_and_features(
    pipeline: Pipeline | None, asked: Features | None
) -> None:
    feature_services = {name: [f"{name}-1", "shared"] for name in FEATURES}
    expected = {
        service
        for stage, service in STAGE_SERVICES.items()
        if pipeline is None or getattr(pipeline, f"use_{stage}") is not False
    }
    for name in FEATURES:
        if asked is not None and getattr(asked, name):
            expected |= {f"{name}-1", "shared"}
    requirement = requirement_of(pipeline, asked)
    assert required_services(requirement, STAGE_SERVICES, feature_services) == expected


def test_an_empty_service_id_requires_nothing() -> None:
    stages = STAGE_SERVICES | {"tts": ""}
    expected = {"node-inference", "nmt-m2m100"}
    assert required_services(ALL_STAGES, stages, {}) == expected
    asked = requirement_of(None, Features(emotion_detection=True))
    assert required_services(asked, stages, {"emotion_detection": [""]}) == expected
    assert required_services(ALL_STAGES, {}, {}) == frozenset()
