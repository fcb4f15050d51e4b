"""A learning benchmark that needs no simulator: environments with an exploration trap, thousands of them on a CPU."""

import sys

from sapg_isaaclab.commands.study import main

if __name__ == "__main__":
    sys.exit(main())
