"""``python -m sapg_isaaclab COMMAND``; see :mod:`sapg_isaaclab.commands.table`."""

import sys

from sapg_isaaclab.commands.table import main

if __name__ == "__main__":  # the benchmark's processes import this file once more
    sys.exit(main())
