"""A guard for the hot path: what makes the host wait for the device.

On CUDA torch itself raises at every synchronisation that it knows of. On a CPU nothing waits, so the operations that
would are listed as they are dispatched: a number read back, rows whose count depends on the data, a tensor made from
numbers of the host.
"""

import collections
import contextlib
import traceback

import torch
from torch.utils._python_dispatch import TorchDispatchMode

READS = {
    f"aten::{name}"
    for name in ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "bincount",
                 "unique", "_unique2", "lift_fresh")
}  # fmt: skip
"""Operations that wait for the device; ``lift_fresh`` is ``torch.tensor`` of the host's numbers."""


class _Listing(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: collections.Counter[tuple[str, str]] = collections.Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        # an index by a mask looks for its true rows
        masked = name in ("aten::index", "aten::index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in READS or masked:
            self.found[name, _place()] += 1
        return function(*args, **(kwargs or {}))


def _place() -> str:
    """The function of this project that asked, innermost first."""
    for frame in reversed(traceback.extract_stack()):
        if "sapg_isaaclab" in frame.filename and "/tests/" not in frame.filename:
            return frame.name
    return "elsewhere"


@contextlib.contextmanager
def no_stall(device: str, allowed: dict[tuple[str, str], int] | None = None):
    """Fail where the host would wait for the device.

    Args:
        device: Where the tensors are.
        allowed: How often it may, by operation and the function that asks. Read on a CPU only.

    Raises:
        AssertionError: On a CPU, with the operations that are not allowed.
        RuntimeError: On CUDA, from torch, at the first synchronisation; give ``allowed`` only where there is none.
    """
    if torch.device(device).type == "cuda":
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn" if allowed else "error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
        return
    listing = _Listing()
    with listing:
        yield
    unexpected = {key: count for key, count in listing.found.items() if count > (allowed or {}).get(key, 0)}
    assert not unexpected, unexpected
