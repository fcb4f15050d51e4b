"""Measures a task under random actions: speed, memory, time to create, and where the time of a step goes."""

import sys

from sapg_isaaclab.commands.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
