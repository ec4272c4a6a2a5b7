"""Nodes that come with the scheduler: a real speech node and simulated ones."""
