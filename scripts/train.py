"""Train SAPG, or one of its baselines, on a task."""

import sys

from sapg_isaaclab.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
