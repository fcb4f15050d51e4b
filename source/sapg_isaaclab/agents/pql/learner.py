"""The learning half of PQL: critic and actor updates from the replay."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
from torch import nn

from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.pql.cfg import PqlCfg
from sapg_isaaclab.agents.pql.networks import Actor, DoubleCritic
from sapg_isaaclab.agents.pql.replay import Replay
from sapg_isaaclab.agents.ranks import ALONE, Ranks

CLAMP = 5.0
"""Largest magnitude of a standardised observation in learning. Acting has no such limit (official code)."""


class Learner:
    """Owns the optimisers and takes their steps.

    Args:
        actor: The policy.
        critic: Both critics.
        target_critic: Their slow copy.
        scaler: Moments of observations.
        replay: Where transitions come from.
        cfg: Options.
        generator: Source of randomness, on the device.
        ranks: Processes that take every step together, each with rows of its own replay.

    Raises:
        ValueError: If CUDA streams are asked for where there are none.
    """

    def __init__(
        self,
        actor: Actor,
        critic: DoubleCritic,
        target_critic: DoubleCritic,
        scaler: RunningMoments,
        replay: Replay,
        cfg: PqlCfg,
        generator: torch.Generator,
        ranks: Ranks = ALONE,
    ) -> None:
        device = torch.device(actor.device)
        if cfg.cuda_streams and device.type != "cuda":
            raise ValueError(
                f"agent.cuda_streams=true, but the device is {device}; drop the option or use --device cuda:0"
            )
        self.actor, self.critic, self.target_critic = actor, critic, target_critic
        self.scaler, self.replay, self.cfg, self.generator, self.ranks = scaler, replay, cfg, generator, ranks
        settings = {"lr": cfg.learning_rate, "weight_decay": cfg.weight_decay, "fused": True}
        self.actor_optimizer = torch.optim.AdamW(actor.parameters(), **settings)
        self.critic_optimizer = torch.optim.AdamW(critic.parameters(), **settings)
        self.critic_updates = self.actor_updates = 0
        # what each half sees of the other one
        self.seen_actor, self.seen_critic = actor, critic
        if cfg.staleness:
            self.seen_actor = copy.deepcopy(actor).requires_grad_(False)
            self.seen_critic = copy.deepcopy(critic).requires_grad_(False)
        self._streams = [torch.cuda.Stream(device) for _ in range(2)] if cfg.cuda_streams else []
        self._critic_reports: list[torch.Tensor] = []
        self._actor_reports: list[torch.Tensor] = []

    def learn(self) -> None:
        """Updates of one step of all environments, critic and actor in turns.

        On two CUDA streams each half's work is queued on its own. Neither writes what the other one reads, both start
        after everything queued before, and everything queued later waits for both: memory that one stream has given
        back is thus never taken by another before its last use.
        """
        if self.cfg.staleness:
            _copy(self.actor, self.seen_actor)
            _copy(self.critic, self.seen_critic)
        critic_half = actor_half = contextlib.nullcontext()
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream(stream.device))
        if self._streams:
            critic_half, actor_half = map(torch.cuda.stream, self._streams)
        for _ in range(self.cfg.updates_per_step):
            with critic_half:
                self._critic_reports.append(self.update_critic())
            if self.critic_updates % self.cfg.critic_updates_per_actor_update == 0:
                with actor_half:
                    self._actor_reports.append(self.update_actor())
        for stream in self._streams:
            torch.cuda.current_stream(stream.device).wait_stream(stream)

    def update_critic(self) -> torch.Tensor:
        """One step of the critics towards their target, and of the target critics towards them.

        Returns:
            Loss and norm of the gradient. Shape (2,).
        """
        cfg = self.cfg
        rows = self.replay.sample(cfg.batch_size, self.generator)
        observations, after = self._look(rows.observations), self._look(rows.next_observations)
        with torch.no_grad():
            actions = self.seen_actor.evaluate(after)
            noise = torch.randn(actions.shape, generator=self.generator, device=actions.device).mul_(cfg.target_noise)
            actions = actions.add_(noise.clamp_(-cfg.target_noise_clip, cfg.target_noise_clip)).clamp_(-1.0, 1.0)
            outputs = self.target_critic.evaluate(after, actions)
            target = self.critic.target(outputs, rows.rewards, rows.discounts)
        loss = self.critic.loss(self.critic.evaluate(observations, rows.actions), target)
        report = self._descend(loss, self.critic, self.critic_optimizer)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target_critic.parameters()), list(self.critic.parameters()), cfg.polyak)
        self.critic_updates += 1
        return report

    def update_actor(self) -> torch.Tensor:
        """One step of the actor towards actions of a higher value, the smaller one of both critics.

        Returns:
            Loss and norm of the gradient. Shape (2,).
        """
        observations = self._look(self.replay.sample_observations(self.cfg.batch_size, self.generator))
        outputs = self.seen_critic.evaluate(observations, self.actor.evaluate(observations))
        loss = -self.critic.values(outputs).amin(dim=0).mean()
        report = self._descend(loss, self.actor, self.actor_optimizer)
        self.actor_updates += 1
        return report

    def _look(self, observations: torch.Tensor) -> torch.Tensor:
        if not self.cfg.normalize_observations:
            return observations
        return self.scaler.normalize(observations).clamp_(-CLAMP, CLAMP)

    def _descend(self, loss: torch.Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        parameters = list(model.parameters())
        # of these parameters only: the actor's loss goes through a critic that it must not move
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters)):
            parameter.grad = gradient
        loss = self.ranks.average_gradients(parameters, loss.detach().view(1))
        norm = nn.utils.clip_grad_norm_(parameters, self.cfg.grad_norm_clip or float("inf"), foreach=True)
        optimizer.step()
        return torch.cat((loss, norm.view(1)))

    def report(self) -> dict[str, float]:
        """What was learned since the last call, brought to the host in one transfer.

        Returns:
            Means by tag; without those of a half that made no update.
        """
        halves = {"critic": self._critic_reports, "actor": self._actor_reports}
        halves = {name: reports for name, reports in halves.items() if reports}
        self._critic_reports, self._actor_reports = [], []
        if not halves:
            return {}
        tags = [tag for name in halves for tag in (f"Loss/{name}", f"Policy/{name}_grad_norm")]
        means = torch.cat([torch.stack(reports).mean(dim=0) for reports in halves.values()])
        return dict(zip(tags, means.tolist()))

    def state_dict(self) -> dict[str, Any]:
        """State of the optimisers and the numbers of updates."""
        return {
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "actor_updates": self.actor_updates,
            "critic_updates": self.critic_updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Args:
            state: What :meth:`state_dict` returned.
        """
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.actor_updates, self.critic_updates = state["actor_updates"], state["critic_updates"]


@torch.no_grad()
def _copy(source: nn.Module, to: nn.Module) -> None:
    torch._foreach_copy_(list(to.parameters()), list(source.parameters()))
