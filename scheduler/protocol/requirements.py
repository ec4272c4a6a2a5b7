"""What a job needs, as one small integer that every process reads alike.

Bits 0-2 are the pipeline's stages, bits 3-8 the asked features. The configuration maps a
requirement to service ids; since there are only 512 of them, they are worked out once each.
"""

from collections.abc import Mapping

from scheduler.protocol.session import Features, Pipeline

STAGES = ("asr", "nmt", "tts")
FEATURES = Features.__struct_fields__
SERVICE_ID_BYTES_MAX = 64
REQUIREMENTS_TOTAL = 1 << (len(STAGES) + len(FEATURES))


def requirement_of(pipeline: Pipeline | None, features: Features | None) -> int:
    """Return the requirement (0-511) of a pipeline, all stages by default, and features."""
    requirement = 0
    for bit, stage in enumerate(STAGES):
        # `null` means "not given", and a stage that is not given is in use.
        if pipeline is None or getattr(pipeline, f"use_{stage}") is not False:
            requirement |= 1 << bit
    if features is not None:
        for bit, feature in enumerate(FEATURES, start=len(STAGES)):
            if getattr(features, feature):
                requirement |= 1 << bit
    return requirement


def required_services(
    requirement: int,
    stage_services: Mapping[str, str],
    feature_services: Mapping[str, list[str]],
) -> frozenset[str]:
    """Return the service ids a node must have ready for `requirement`.

    `stage_services` maps each of STAGES to its service id, "" where none is required;
    `feature_services` maps feature names to service ids.
    """
    services = {
        stage_services.get(stage, "") for bit, stage in enumerate(STAGES) if requirement >> bit & 1
    }
    for bit, feature in enumerate(FEATURES, start=len(STAGES)):
        if requirement >> bit & 1:
            services.update(feature_services.get(feature, ()))
    return frozenset(services - {""})
