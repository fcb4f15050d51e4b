"""Log tags of a number that every policy has. Imports nothing heavy."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

MOST_BLOCKS = 16
"""Up to so many policies a number is logged for each of them; beyond, the lowest, the median and the highest."""

_WORDS = ("lowest", "median", "highest")


def block_tags(tag: str, values: Mapping[int, float], num_blocks: int) -> dict[str, float]:
    """A number of the policies by tag.

    Args:
        tag: Tag with ``{}`` for the policy, such as ``Block_{}/return``.
        values: Number by policy; it may be missing for some.
        num_blocks: Number of policies M.

    Returns:
        ``Block_3/return`` and so on; with more than 16 policies ``Blocks/return_lowest``, ``Blocks/return_median`` (of
        an even number the lower of the two in the middle) and ``Blocks/return_highest``. Nothing where no policy has
        the number.
    """
    if num_blocks <= MOST_BLOCKS:
        return {tag.format(block): value for block, value in values.items()}
    found = sorted(values.values())
    summary = (found[0], statistics.median_low(found), found[-1]) if found else ()
    return dict(zip(_summary_tags(tag), summary))


def block_scalars(tag: str, values: Any, first: int = 0) -> dict[str, Any]:
    """The same of a tensor, on its device, for an environment's log.

    Args:
        tag: Tag with ``{}`` for the policy.
        values: Number of every policy. Tensor of shape (M,).
        first: Number of the first of them, where other processes have others.

    Returns:
        Tensors without dimensions by tag: M, or three.
    """
    if len(values) <= MOST_BLOCKS:
        return {tag.format(block): value for block, value in enumerate(values.unbind(), first)}
    return dict(zip(_summary_tags(tag), (values.amin(), values.median(), values.amax())))


def _summary_tags(tag: str) -> tuple[str, ...]:
    stem = tag.replace("lock_{}", "locks").replace("_{}", "")
    return tuple(f"{stem}_{word}" for word in _WORDS)
