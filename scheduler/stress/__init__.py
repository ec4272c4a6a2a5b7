"""A load of simulated sessions and nodes against a real scheduler, and a report of how it went."""
