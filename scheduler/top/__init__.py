"""The live view of a running scheduler on a terminal, read straight from its shared memory."""
