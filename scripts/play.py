"""Watch a policy: writes a short video, or PNG frames, and prints the returns of the episodes."""

import sys

from sapg_isaaclab.commands.play import main

if __name__ == "__main__":
    sys.exit(main())
