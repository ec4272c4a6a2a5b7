"""What a gateway counts of the jobs it gave up."""

from scheduler.memory.views import Views
from scheduler.protocol.cancellations import CANCEL_LABELS


def cancelled(views: Views, gateway: int = 0) -> dict[str, int]:
    """Return them by reason, without those that are 0."""
    totals = views.column("cancellations", "jobs_cancelled_by_reason_total")[gateway].tolist()
    return {label: total for label, total in zip(CANCEL_LABELS, totals, strict=True) if total}
