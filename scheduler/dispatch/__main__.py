"""Started by the supervisor: `python -m scheduler.dispatch BOOT_FD`."""

import sys

from scheduler.dispatch.process import main

main(int(sys.argv[1]))
