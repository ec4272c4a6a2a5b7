"""Shared memory: one layout, the segment that carries it, and typed views over it."""
