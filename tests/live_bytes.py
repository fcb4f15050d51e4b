"""How much memory tensors take, counted as they are made and freed; the same on every machine."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every storage that an operation makes while this is open, until it is freed.

    What a kernel takes and gives back within one operation is not seen, nor what an allocator keeps for reuse.

    Attributes:
        live: Bytes that live now.
        peak: Most bytes that lived at one time since :meth:`restart`.
        at_peak: Operation that reached it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.at_peak = ""
        self._known: set[int] = set()

    def restart(self) -> None:
        """Look for a new peak from here on."""
        self.peak = self.live

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        if self.live > self.peak:
            self.peak, self.at_peak = self.live, function._schema.name
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += size
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
