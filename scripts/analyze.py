"""Draw learning curves of run folders."""

import sys

from sapg_isaaclab.commands.analyze import main

if __name__ == "__main__":
    sys.exit(main())
