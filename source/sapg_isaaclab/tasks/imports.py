"""What Isaac Lab imports with every environment and few need."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

_EDITOR = "moviepy.editor"


@contextlib.contextmanager
def deferred_moviepy() -> Iterator[None]:
    """Give Isaac Lab's video recorder a stand-in for moviepy, which is then imported with its first clip.

    moviepy brings matplotlib and SciPy's image filters: an eighth of the CPU time in which training starts.
    """
    if _EDITOR in sys.modules or importlib.util.find_spec("moviepy") is None:
        yield
        return
    editor: Any = types.ModuleType(_EDITOR)
    editor.ImageSequenceClip = _clip
    sys.modules[_EDITOR] = editor
    try:
        yield
    finally:
        del sys.modules[_EDITOR]


def _clip(*args: Any, **options: Any) -> Any:
    from moviepy.editor import ImageSequenceClip

    return ImageSequenceClip(*args, **options)
