"""The policies of all blocks: networks, and the moments that standardise what goes in and comes out."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict

from sapg_isaaclab.agents.blocks import BlockLayout
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.agents.sapg.cfg import SapgCfg
from sapg_isaaclab.agents.sapg.coupling import imitates
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
        moments = {"correction": 1, "device": model.device}  # the unbiased variance (official code)
        scalers = {name: RunningMoments(width, **moments) for name, width in widths.items()}
        self.scalers: Any = torch.nn.ModuleDict(scalers)
        self.value_scaler = RunningMoments(1, **moments)

    def network_rows(
        self, observations: torch.Tensor, states: torch.Tensor | None, *, critic: bool = True
    ) -> TensorDict:
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

    def inputs(self, rows: TensorDict, identity: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Standardise every input and append the identity of the row's policy.

        Args:
            rows: Has what :meth:`network_rows` returned. Batch size [rows].
            identity: Whose policy looks at each row, as :meth:`BlockActorCritic.identity` has it.

        Returns:
            Inputs of the networks by name, of shape (rows, D + E); (rows, D) with one block.
        """
        inputs = {}
        for name, scaler in self.scalers.items():
            if name in rows.keys():
                value = scaler.normalize(rows[name]) if self.cfg.normalize_observations else rows[name]
                inputs[name] = value if identity is None else torch.cat((value, identity), dim=1)
        return inputs

    def evaluate(
        self,
        rows: TensorDict,
        who: torch.Tensor | int | None,
        sequences: Sequences | torch.Tensor | None = None,
    ) -> Outputs:
        """Policy and value of rows.

        Args:
            rows: What :meth:`network_rows` returned. Batch size [rows].
            who: Whose policy looks at each row, as :meth:`BlockActorCritic.identity` has it, or one block for all.
            sequences: Recurrent states and resets of the rows' sequences; a tensor of states means single steps.

        Returns:
            Outputs of the networks, with values in reward units.
        """
        if isinstance(who, int):
            who = self.identity_of(who, len(rows))
        if isinstance(sequences, torch.Tensor):
            sequences = Sequences(sequences)
        inputs = self.inputs(rows, who)
        out = self.model.evaluate(inputs["observations"], inputs.get("states"), sequences)
        return out._replace(values=self.value_scaler.denormalize(out.values)) if self.cfg.normalize_values else out

    def identity_of(self, block: int, rows: int) -> torch.Tensor | None:
        """The same identity in all rows.

        Args:
            block: Whose.
            rows: Number of rows.

        Returns:
            View of shape (rows, E); None with one block.
        """
        return self.model.identities[block].expand(rows, -1) if self.layout.num_blocks > 1 else None

    def update_moments(self, rows: TensorDict, ranks: Ranks, *, standardised: bool = False) -> None:
        """Take rows into the moments of what the networks see, if it is standardised.

        Args:
            rows: Rows of a :class:`~sapg_isaaclab.agents.sapg.batch.Batch`. Batch size [rows].
            ranks: Processes whose rows are all taken.
            standardised: Take what the networks see of them instead of what they are (a fault; see
                ``observation_moments``).
        """
        if self.cfg.normalize_observations:
            counted = None
            if self.cfg.awac_scale > 0.0 and not self.cfg.awac_in_moments:
                counted = imitates(rows["group"], self.layout.num_blocks).logical_not()
            for name, scaler in self.scalers.items():
                scaler.update(scaler.normalize(rows[name]) if standardised else rows[name], ranks, counted)

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


class Player(torch.nn.Module):
    """One policy in any number of environments, without learning. It follows the policies while they are trained.

    Args:
        policies: The policies.
        block: Whose policy; 0 is the leader.
        deterministic: Mean actions instead of samples.

    Raises:
        ValueError: If there is no such block.
    """

    def __init__(self, policies: Policies, block: int, deterministic: bool) -> None:
        super().__init__()
        policies.layout.check_block(block)
        # modules of its own, so that torch.jit.trace finds their parameters
        self.model, self.scalers = policies.model, policies.scalers
        self._policies, self._block, self._deterministic = policies, block, deterministic
        self._state: torch.Tensor | None = None

    @torch.no_grad()
    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Act.

        Args:
            observations: Observations of all environments. Shape (N, D).

        Returns:
            Unclamped actions of shape (N, A).
        """
        policies, rows = self._policies, len(observations)
        if self._state is None:
            self._state = self.model.initial_state(rows)
        seen = policies.network_rows(observations, None, critic=False)
        inputs = policies.inputs(seen, policies.identity_of(self._block, rows))
        mean, log_std, self._state = self.model.policy(inputs["observations"], self._state)
        return mean if self._deterministic else mean + log_std.exp() * torch.randn_like(mean)

    def reset(self, done: torch.Tensor) -> None:
        """Forget the recurrent state where an episode ended.

        Args:
            done: Whether it did, boolean. Shape (N,) or (N, 1).
        """
        if self._state is not None:
            self._state = self._state * done.logical_not().view(1, -1, 1)
