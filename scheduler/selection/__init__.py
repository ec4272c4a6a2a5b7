"""Which nodes can take a job, and which of them best: what dispatcher and observers share."""
