"""Policies as TorchScript: written from a module, run by torch in Python or C++."""

from __future__ import annotations

import json
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sapg_isaaclab.errors import InputError

if TYPE_CHECKING:
    from sapg_isaaclab.deploy.module import PolicyModule

FILE = "sapg_isaaclab.json"
"""Under which name the metadata lies in the archive's ``extra`` folder."""


def write(module: PolicyModule, path: pathlib.Path, metadata: dict[str, Any]) -> None:
    """Write a policy as TorchScript; ``forward`` takes and gives what the module's does.

    Args:
        module: The policy.
        path: The file.
        metadata: Plain values that go into the file.

    Raises:
        OSError: If it cannot be written.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.freeze(torch.jit.script(module))
    try:
        script.save(str(path), _extra_files={FILE: json.dumps(metadata)})
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(str(error)) from error


class Runner:
    """A TorchScript file, ready to run on the CPU.

    Args:
        path: The file.

    Raises:
        InputError: If torch is missing or cannot read the file.
    """

    def __init__(self, path: pathlib.Path) -> None:
        try:
            import torch
        except ImportError as error:
            raise InputError(f"{path} is run by torch, which is not installed; export it with --format onnx") from error
        extra = {FILE: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self._script = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{path} is no TorchScript file, or damaged; a checkpoint has to be exported first:"
                f" python -m sapg_isaaclab export --checkpoint {path}"
            ) from error
        text = extra[FILE]
        self.text = (text.decode() if isinstance(text, bytes) else text) or None
        """The metadata as JSON; None in a file of another program."""
        self._torch = torch

    def __call__(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Run one step.

        Args:
            arrays: Observations (N, D) and the state, float32.

        Returns:
            Actions (N, A) and the next state.
        """
        with self._torch.inference_mode():
            results = self._script(*map(self._torch.from_numpy, arrays))
        return [result.numpy() for result in (results if isinstance(results, tuple) else (results,))]
