"""Export a policy for use outside of training: one ONNX or TorchScript file with its metadata."""

import sys

from sapg_isaaclab.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
