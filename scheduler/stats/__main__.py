"""Started by the supervisor: `python -m scheduler.stats BOOT_FD`."""

import sys

from scheduler.stats.process import main

main(int(sys.argv[1]))
