"""The real dispatcher core in virtual time, against models of everything around it.

    traffic.py ──► gateway.py ◄── link.py ──► dispatcher.py ──► the real Dispatcher
                      ▲                            │
                   node.py   faults.py ──► all     └──► ledger.py, audit.py (checks.py)

`simulate(seed)` (run.py) draws a world from the seed (scenario.py), lets it work with nodes that
fail, fall silent, answer twice or late and come and go, with gateways and dispatchers that die,
and then lets it come to rest. The core is checked from outside after every call and from inside
in samples; a violation is raised with the seed and the last events. A seed replays its run.
"""
