"""Every algorithm there is, by name. Importing this module imports neither torch nor skrl.

An algorithm is a package and one line in :data:`ALGORITHMS`. The package holds

- ``cfg.py``: the class of the options, which has what :class:`~.contract.AgentOptions` says; and ``PRESETS``, sets of
  options by name, which every task offers (there may be none);
- ``build.py``: ``build(env, cfg, spaces, with_memory)``, which makes the agent, a :class:`~.contract.TrainableAgent`;
  :meth:`Algorithm.build` says of what.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """What a name stands for.

    Attributes:
        package: Import path of the package.
        cfg: Name of the options' class in its ``cfg.py``.
        preset: Which of its presets the name stands for; empty for the options as a task has them.
        several_ranks: Whether it can train in several processes together.
    """

    package: str
    cfg: str
    preset: str = ""
    several_ranks: bool = False

    @property
    def kind(self) -> str:
        """Name of the package itself. Algorithms of one kind read each other's checkpoints.

        A task brings options for a kind under ``<kind>_cfg_entry_point`` of its registration.
        """
        return self.package.rpartition(".")[2]

    def cfg_class(self) -> type[Any]:
        """Class of the options. Imports torch."""
        return getattr(importlib.import_module(f"{self.package}.cfg"), self.cfg)

    def presets(self) -> dict[str, dict[str, Any]]:
        """Sets of options by name, which every task offers. Imports torch."""
        return dict(importlib.import_module(f"{self.package}.cfg").PRESETS)

    def build(self, env: Any, cfg: Any, spaces: dict[str, Any], with_memory: bool) -> Any:
        """Make an agent; :func:`~.build.build_agent` asks for it.

        Args:
            env: Environment in skrl's wrapper.
            cfg: Options, checked.
            spaces: Its ``observation_space``, ``state_space`` (None if there is none) and ``action_space``, flat Boxes.
            with_memory: False for an agent that only acts.

        Returns:
            The agent.

        Raises:
            ValueError: If an option does not suit the environment.
        """
        return importlib.import_module(f"{self.package}.build").build(env, cfg, spaces, with_memory)


ALGORITHMS: dict[str, Algorithm] = {
    "sapg": Algorithm("sapg_isaaclab.agents.sapg", cfg="SapgCfg", several_ranks=True),
    "ppo": Algorithm("sapg_isaaclab.agents.sapg", cfg="SapgCfg", several_ranks=True, preset="ppo"),
    "cpo": Algorithm("sapg_isaaclab.agents.sapg", cfg="SapgCfg", several_ranks=True, preset="cpo"),
    "epo": Algorithm("sapg_isaaclab.agents.sapg", cfg="SapgCfg", several_ranks=True, preset="epo"),
    "dexpbt": Algorithm("sapg_isaaclab.agents.dexpbt", cfg="DexPbtCfg", several_ranks=True),
    "pql": Algorithm("sapg_isaaclab.agents.pql", cfg="PqlCfg", several_ranks=True),
}
"""Algorithms by the name that ``--algorithm`` takes. Of several with the same options, the plain one comes first."""


def algorithm_of(cfg: Any) -> Algorithm:
    """Whose options an object is, or extends.

    Args:
        cfg: Options; their class, or the nearest one that it inherits from, decides.

    Returns:
        The algorithm.

    Raises:
        ValueError: If they are no algorithm's.
    """
    known = {(f"{algorithm.package}.cfg", algorithm.cfg): algorithm for algorithm in reversed(ALGORITHMS.values())}
    for parent in type(cfg).__mro__:
        if (parent.__module__, parent.__qualname__) in known:
            return known[parent.__module__, parent.__qualname__]
    names = ", ".join(sorted({algorithm.cfg for algorithm in ALGORITHMS.values()}))
    raise ValueError(f"{type(cfg).__name__} is no algorithm's options; use or extend one of {names}")
