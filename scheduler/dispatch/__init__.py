"""Which node runs which job. Pure but for process.py, which gives the core its I/O."""
