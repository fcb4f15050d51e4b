"""The policies of all blocks: networks, and the moments that standardise what goes in and comes out."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.networks import BlockActorCritic, Outputs, Sequences
from sapg_isaaclab.agents.saving import check_shapes


class Policies:
    """Networks with their running moments, which all policies share.

    Args:
        model: Networks of all policies.
        layout: Blocks.
        cfg: Options.
        has_states: Whether the environment gives a privileged state.

    Raises:
        ValueError: If the critic is to see a state that the environment does not give.
    """

    def __init__(self, model: BlockActorCritic, layout: BlockLayout, cfg: SapgCfg, *, has_states: bool) -> None:
        self.model, self.layout, self.cfg = model, layout, cfg
        self.recurrent = model.state_shape is not None
        widths = {"observations": model.num_observations}
        if cfg.critic_input == "states":
            if not has_states:
                raise ValueError(
                    "agent.critic_input=states, but this environment has no privileged state; remove the option"
                )
            widths["states"] = model.num_states
        self.scalers = torch.nn.ModuleDict(
            {name: RunningMoments(width, device=model.device) for name, width in widths.items()}
        )
        self.value_scaler = RunningMoments(1, device=model.device)

    def seen(self, observations: torch.Tensor, states: torch.Tensor | None, *, critic: bool = True) -> TensorDict:
        """What the networks see of a step.

        Args:
            observations: Observations. Shape (rows, D).
            states: Privileged states. Shape (rows, S); not read unless the critic sees them.
            critic: False where only actions are asked for.

        Returns:
            Rows for :meth:`evaluate`. Batch size [rows].

        Raises:
            ValueError: If the critic needs a state and none came.
        """
        rows = {"observations": observations}
        if critic and "states" in self.scalers:
            if states is None:
                raise ValueError("agent.critic_input=states, but the environment gave no state (key 'critic')")
            rows["states"] = states
        return TensorDict(rows, batch_size=[len(observations)])

    def inputs(self, rows: TensorDict, blocks: torch.Tensor) -> dict[str, torch.Tensor]:
        """Standardise every input and append the one-hot identity of the row's policy.

        Args:
            rows: What :meth:`seen` returned. Batch size [rows].
            blocks: Whose policy looks at each row. Shape (rows,).

        Returns:
            Inputs of the networks by name, of shape (rows, D + M); (rows, D) with one block.
        """
        identity = self.model.identity(blocks)
        inputs = {}
        for name, value in rows.items():
            value = self.scalers[name].normalize(value) if self.cfg.normalize_observations else value
            inputs[name] = value if identity is None else torch.cat((value, identity), dim=1)
        return inputs

    def evaluate(
        self, rows: TensorDict, blocks: torch.Tensor | int, sequences: Sequences | torch.Tensor | None = None
    ) -> Outputs:
        """Policy and value of rows.

        Args:
            rows: What :meth:`seen` returned. Batch size [rows].
            blocks: Whose policy looks at each row, shape (rows,), or one block for all.
            sequences: Recurrent states and resets of the rows' sequences; a tensor of states means single steps.

        Returns:
            Outputs of the networks, with values in reward units.
        """
        if isinstance(blocks, int):
            blocks = torch.full((len(rows),), blocks, device=self.model.device)
        if isinstance(sequences, torch.Tensor):
            sequences = Sequences(sequences)
        inputs = self.inputs(rows, blocks)
        out = self.model.evaluate(inputs["observations"], inputs.get("states"), sequences)
        return out._replace(values=self.value_scaler.denormalize(out.values)) if self.cfg.normalize_values else out

    def state_dict(self) -> dict[str, Any]:
        """Networks, latents, standard deviations, moments and the block table."""
        return {
            "layout": {"num_blocks": self.layout.num_blocks, "leader": self.layout.leader},
            "model": self.model.state_dict(),
            "scalers": self.scalers.state_dict(),
            "value_scaler": self.value_scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over saved policies.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If it belongs to another number of blocks or another network.
        """
        blocks = state["layout"]["num_blocks"]
        if blocks != self.layout.num_blocks:
            raise ValueError(
                f"the checkpoint holds {blocks} policies, this agent {self.layout.num_blocks};"
                f" add agent.num_blocks={blocks}"
            )
        check_shapes("model", state["model"], self.model.state_dict())
        self.model.load_state_dict(state["model"])
        self.scalers.load_state_dict(state["scalers"])
        self.value_scaler.load_state_dict(state["value_scaler"])


class Player:
    """One policy in any number of environments, without learning.

    Args:
        policies: The policies.
        block: Whose policy; 0 is the leader.
        deterministic: Mean actions instead of samples.

    Raises:
        ValueError: If there is no such block.
    """

    def __init__(self, policies: Policies, block: int, deterministic: bool) -> None:
        policies.layout.check_block(block)
        self._policies, self._block, self._deterministic = policies, block, deterministic
        self._state: torch.Tensor | None = None

    @torch.no_grad()
    def __call__(self, observations: torch.Tensor) -> torch.Tensor:
        """Act.

        Args:
            observations: Observations of all environments. Shape (N, D).

        Returns:
            Unclamped actions of shape (N, A).
        """
        policies = self._policies
        if policies.recurrent and self._state is None:
            self._state = torch.zeros(len(observations), *policies.model.state_shape, device=observations.device)
        blocks = torch.full((len(observations),), self._block, device=observations.device)
        inputs = policies.inputs(policies.seen(observations, None, critic=False), blocks)
        mean, log_std, self._state = policies.model.policy(inputs["observations"], self._state)
        return mean if self._deterministic else mean + log_std.exp() * torch.randn_like(mean)

    def reset(self, done: torch.Tensor) -> None:
        """Forget the recurrent state where an episode ended.

        Args:
            done: Whether it did, boolean. Shape (N,) or (N, 1).
        """
        if self._state is not None:
            self._state = self._state * done.logical_not().view(-1, 1, 1)
