"""Why a node can't take a job."""

from enum import StrEnum

SAMPLES_MAX = 5
"""Nodes that operators are told by name for each reason."""


class Exclusion(StrEnum):
    """Reasons, in the order in which they are looked at; a node counts under the first."""

    OFFLINE = "offline"
    PRIVATE = "private"
    DRAINING = "draining"
    NOT_READY = "not_ready"
    NOT_INSTALLED = "service_not_installed"
    SERVICE_NOT_READY = "service_not_ready"
    MODEL_NOT_AVAILABLE = "model_not_available"
    FAILED_THIS_JOB = "failed_this_job"
    CPU_LIMIT = "cpu_over_limit"
    GPU_LIMIT = "gpu_over_limit"
    MEMORY_LIMIT = "memory_over_limit"
    EJECTED = "ejected"
    FULL = "no_free_slot"
