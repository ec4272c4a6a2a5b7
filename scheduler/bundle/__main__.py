"""Started by the supervisor: `python -m scheduler.bundle FOLDER NAME WHY KEPT SUPERVISOR_PID`."""

import sys

from scheduler.bundle.crashes import main

sys.exit(main(sys.argv[1:]))
