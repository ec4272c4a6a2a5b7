"""Started by the supervisor: `python -m scheduler.gateway BOOT_FD`."""

import sys

from scheduler.gateway.process import main

main(int(sys.argv[1]))
