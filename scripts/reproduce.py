"""A table or a figure of the paper by one command, at any scale."""

import sys

from sapg_isaaclab.commands.reproduce import main

if __name__ == "__main__":
    sys.exit(main())
