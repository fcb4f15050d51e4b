"""Measure a policy: return and successes over finished episodes, with standard errors."""

import sys

from sapg_isaaclab.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
