"""Policies as ONNX: written from a module, run by onnxruntime."""

from __future__ import annotations

import importlib.util
import io
import json
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from sapg_isaaclab.errors import InputError

if TYPE_CHECKING:
    from sapg_isaaclab.deploy.module import PolicyModule

KEY = "sapg_isaaclab"
"""Under which name the metadata lies in the file's ``metadata_props``."""

OPSET = 17
"""Version of ONNX's operators: the first with layer norm, known to every runtime of the last years."""


def require() -> None:
    """Make sure that ONNX files can be written and run here.

    Raises:
        InputError: If a package is missing.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{' and '.join(missing)} not installed; pip install onnx onnxruntime (the extra [export] of this"
            " package), or use --format torchscript"
        )


def write(module: PolicyModule, num_observations: int, path: pathlib.Path, metadata: dict[str, Any]) -> None:
    """Write a policy as ONNX, with any number of rows.

    Inputs are ``observations`` and, with an LSTM, ``hidden`` and ``cell``; outputs ``actions`` and, with an LSTM,
    ``next_hidden`` and ``next_cell``.

    Args:
        module: The policy.
        num_observations: Observation columns D.
        path: The file.
        metadata: Plain values that go into the file.

    Raises:
        OSError: If it cannot be written.
    """
    import onnx
    import torch

    inputs, arguments = ["observations"], [torch.zeros(1, num_observations)]
    outputs = ["actions"]
    if metadata["policy"]["rnn_units"]:
        inputs, outputs = [*inputs, "hidden", "cell"], [*outputs, "next_hidden", "next_cell"]
        arguments += [torch.zeros(1, metadata["policy"]["rnn_units"]) for _ in range(2)]
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # the newer exporter needs a further package and makes a larger graph of the same numbers
        warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning)
        torch.onnx.export(
            module,
            tuple(arguments),
            stream,  # type: ignore  # a stream is what this exporter documents
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes={name: {0: "rows"} for name in (*inputs, *outputs)},
        )
    model = onnx.load_from_string(stream.getvalue())
    model.doc_string = f"{metadata['policy']['name']} of {metadata['task']}"
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata)})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


class Runner:
    """An ONNX file, ready to run on the CPU.

    Args:
        path: The file.
        threads: Threads of an operator.

    Raises:
        InputError: If onnxruntime is missing or cannot read the file.
    """

    def __init__(self, path: pathlib.Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                f"{path} is run by onnxruntime, which is not installed; pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception of its own for every way to be broken
            raise InputError(f"{path} is no ONNX file, or damaged; export it again") from error
        self.text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        """The metadata as JSON; None in a file of another program."""
        self._names = [item.name for item in self._session.get_inputs()]

    def __call__(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Run one step.

        Args:
            arrays: Observations (N, D) and the state, float32.

        Returns:
            Actions (N, A) and the next state.
        """
        outputs = self._session.run(None, dict(zip(self._names, arrays)))
        return [np.asarray(output) for output in outputs]
