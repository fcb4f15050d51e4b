"""List the tasks that SAPG can train on, with their presets."""

import sys

from sapg_isaaclab.commands.list_envs import main

if __name__ == "__main__":
    sys.exit(main())
