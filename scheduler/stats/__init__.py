"""The operators' side: reads shared memory, publishes snapshots."""
