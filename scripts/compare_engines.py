"""Runs the same scripted motion on two physics engines and prints how far joints and objects drift apart."""

import sys

from sapg_isaaclab.commands.compare_engines import main

if __name__ == "__main__":
    sys.exit(main())
