"""Where in their first episodes environments begin.

Environments that all begin at step 0 run out of time together: with rollouts much shorter than an episode, an update
then sees one part of the episode only, and the same part again after as many updates as an episode has rollouts.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch

from sapg_isaaclab.agents.blocks import BlockLayout

InitialSteps = Literal["zero", "random", "blocks"]

CHOICES: tuple[str, ...] = get_args(InitialSteps)
"""Values of ``initial_steps``."""


def initial_steps(
    how: InitialSteps, layout: BlockLayout, *, episode_length: int, rollouts: int, seed: int
) -> torch.Tensor:
    """Steps of its first episode that each environment counts as taken when training starts.

    The first episode is thus shorter; where it ends, and so where all later ones begin, differs between environments.

    Args:
        how: ``zero`` for none; ``random`` for numbers uniform over 0 to L - 1, drawn for every environment; ``blocks``
            for the multiples of T below L, each given to as many environments of a block as any other, give or take
            one, and to the same environments of every block, so that all policies see the same parts of an episode.
        layout: Which environment belongs to which block.
        episode_length: Steps L until an episode runs out of time.
        rollouts: Steps T of an iteration.
        seed: Seed of the draw.

    Returns:
        Numbers of steps on the host, integer. Shape (N,).
    """
    if how == "random":
        return torch.randint(episode_length, (layout.num_envs,), generator=torch.Generator().manual_seed(seed))
    phases = math.ceil(episode_length / rollouts) if how == "blocks" else 1
    # spread over the whole episode, also where a block has fewer environments than there are phases
    steps = torch.arange(layout.block_size) * phases // layout.block_size * rollouts
    return steps.repeat(len(layout.held))


def begin_within(env: Any, steps: torch.Tensor) -> None:
    """Let environments count steps of the episodes that they have just begun as taken.

    Args:
        env: The environment, right after its reset. A task with statistics of its own is told by its
            ``begin_within``; any other of Isaac Lab has a counter that is written to.
        steps: Numbers of steps on the environment's device, integer. Shape (N,).
    """
    task = env.unwrapped
    if hasattr(task, "begin_within"):
        task.begin_within(steps)
    else:
        task.episode_length_buf.copy_(steps)
