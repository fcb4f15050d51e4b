"""What all environments of the study have in common: episodes, seeds, resets and exact states."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch


class TrapEnv:
    """N environments with an exploration trap, in the form of skrl's environment wrapper. No simulator.

    ``infos["final_obs"]["policy"]`` holds the observations before any reset. ``infos["successes"]`` (N,) is 1 where the
    last finished episode was a success, else 0. An episode is truncated after ``episode_length`` steps, and the state
    of a finished episode is replaced in the same step. At a reset of the whole environment the ages are drawn
    uniformly, so that episodes do not end all at once.

    Seeding: all draws come from a generator of its own. :meth:`state_dict` is complete: a restored environment goes on
    bit by bit.

    Args:
        num_envs: Number of environments N.
        seed: Seed of the generator.
        device: Where to compute.
    """

    episode_length: int
    """Steps after which an episode is truncated."""

    num_observations: int
    """Size O of an observation."""

    num_actions: int
    """Size A of an action."""

    def __init__(self, num_envs: int, seed: int = 0, device: str = "cpu") -> None:
        self.num_envs, self.device = num_envs, torch.device(device)
        self.observation_space = gymnasium.spaces.Box(-float("inf"), float("inf"), (self.num_observations,))
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.num_actions,))
        self.state_space = None
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.reset()

    @property
    def unwrapped(self) -> TrapEnv:
        """The environment itself; it has no wrapper."""
        return self

    # -- the trap, given by the subclass -------------------------------------------------------------------------------

    def starts(self) -> dict[str, torch.Tensor]:
        """The state in which episodes begin, drawn anew for every environment.

        Returns:
            Tensors (N, ...) by the names of the attributes that hold them; together they are the state.
        """
        raise NotImplementedError

    def advance(self, actions: torch.Tensor) -> None:
        """Change the state by one step.

        Args:
            actions: Actions as they came. Shape (N, A).
        """
        raise NotImplementedError

    def pay(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Judge the present state.

        Returns:
            Rewards and whether the episode terminates. Shape (N,) each.
        """
        raise NotImplementedError

    def observe(self) -> torch.Tensor:
        """The present state as a policy sees it. Shape (N, O)."""
        raise NotImplementedError

    def succeeded(self, terminated: torch.Tensor) -> torch.Tensor:
        """Whether an episode that ends now is a success.

        Args:
            terminated: Whether it terminates. Shape (N,).

        Returns:
            Shape (N,), bool.
        """
        raise NotImplementedError

    def decoy(self) -> torch.Tensor:
        """Actions of a controller that goes to the decoy and stays. Shape (N, A)."""
        raise NotImplementedError

    def optimal(self) -> torch.Tensor:
        """Actions of a controller that goes for the goal without detour. Shape (N, A)."""
        raise NotImplementedError

    # -- what a trainer calls ------------------------------------------------------------------------------------------

    def reset(self) -> tuple[torch.Tensor, dict[str, Any]]:
        """Begin anew everywhere, with ages drawn uniformly.

        Returns:
            Observations (N, O) and an empty dictionary.
        """
        fresh = self.starts()
        self._names = (*fresh, "age", "successes")
        for name, value in fresh.items():
            setattr(self, name, value)
        self.age = torch.randint(self.episode_length, (self.num_envs,), generator=self.generator, device=self.device)
        self.successes = torch.zeros(self.num_envs, device=self.device)
        return self.observe(), {}

    def step(
        self, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Advance all environments.

        Args:
            actions: Actions. Shape (N, A).

        Returns:
            Observations (N, O), rewards (N, 1), terminated (N, 1), truncated (N, 1), never both, and infos.
        """
        self.advance(actions)
        self.age = self.age + 1
        rewards, terminated = self.pay()
        truncated = (self.age >= self.episode_length) & ~terminated
        done = terminated | truncated
        final = self.observe()
        self.successes = torch.where(done, self.succeeded(terminated).float(), self.successes)
        # drawn for all, used by few: asking which would make the host wait for the device
        for name, fresh in self.starts().items():
            old = getattr(self, name)
            setattr(self, name, torch.where(done.view(-1, *[1] * (old.dim() - 1)), fresh, old))
        self.age = self.age * ~done
        infos = {"final_obs": {"policy": final}, "successes": self.successes}
        return self.observe(), rewards[:, None], terminated[:, None], truncated[:, None], infos

    def state(self) -> None:
        """There is no privileged state."""

    def render(self) -> None:
        """There is no picture."""

    def close(self) -> None:
        """There is nothing to close."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides what comes next.

        Returns:
            Tensors by name.
        """
        return {name: getattr(self, name).clone() for name in self._names} | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> torch.Tensor:
        """Go on from :meth:`state_dict`.

        Args:
            state: What it returned, for the same number of environments.

        Returns:
            Observations (N, O).
        """
        for name in self._names:
            setattr(self, name, state[name].clone().to(self.device))
        self.generator.set_state(state["generator"].cpu())
        return self.observe()
