"""Benchmarks that need processes of their own; `scripts/bench` runs them."""
