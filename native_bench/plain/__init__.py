"""A plain scheduler in one asyncio process: what this one has to be worth its processes against.

It speaks the same protocol to sessions and nodes and is written as one writes such a program: a
map of nodes under a lock, a look at each node for each job, statistics counted as jobs pass. It
is not crippled: uvloop, the `websockets` library's own asyncio server, messages as msgspec
structs, encoded to bytes once. What it leaves out makes it faster, not slower: failover, waiting
jobs, idempotency, pairing, identity, streamed audio, limits and rates.
"""
