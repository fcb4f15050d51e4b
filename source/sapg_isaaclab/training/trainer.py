"""The training loop: collect, update, log, checkpoint; from a start iteration to a total."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import time
from typing import Any, cast

import torch
from skrl.utils.spaces.torch import compute_space_size

from sapg_isaaclab.agents.contract import TrainableAgent, VectorEnv
from sapg_isaaclab.agents.ranks import Ranks
from sapg_isaaclab.errors import TrainingError, warn
from sapg_isaaclab.runs import checkpoint, metrics
from sapg_isaaclab.runs.run_folder import RunFolder, package_versions
from sapg_isaaclab.training import distributed, visited
from sapg_isaaclab.training.clips import Clips
from sapg_isaaclab.training.env_log import EnvLog
from sapg_isaaclab.training.episodes import EpisodeTracker
from sapg_isaaclab.training.not_finite import FiniteCheck, report_resets
from sapg_isaaclab.training.progress import Progress
from sapg_isaaclab.training.signals import StopFlag
from sapg_isaaclab.training.staggering import InitialSteps, begin_within, initial_steps
from sapg_isaaclab.training.visited import VisitedStates


@dataclasses.dataclass(kw_only=True)
class TrainerCfg:
    """Options of the training loop."""

    max_iterations: int
    """Total number of iterations of the run, counted from its very beginning, also after a resume."""

    checkpoint_interval: int = 50
    """Iterations between two checkpoints."""

    checkpoint_minutes: float = 15.0
    """Longest time without a checkpoint [min]."""

    keep_checkpoints: int = 5
    """Number of newest checkpoints that are kept, beside the best; 0 keeps all."""

    initial_steps: InitialSteps = "zero"
    """Where in their first episodes environments begin; see :func:`~.staggering.initial_steps`."""

    dump_states: int = 0
    """Observations of each block that are kept, drawn uniformly from all that were acted on; 0 keeps none."""

    logger: str = "tensorboard"
    """``tensorboard``, or ``wandb`` for Weights & Biases in addition."""

    wandb_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of ``wandb.init``, such as ``project``, ``group`` and ``tags``."""

    video: bool = False
    """Whether rank 0 films some of its environments; see :class:`~.clips.Clips`."""

    video_interval: int | None = None
    """Steps from the beginning of a clip to that of the next; None for as few as cost little."""

    video_length: int = 200
    """Steps of a clip."""

    video_blocks: list[int] = dataclasses.field(default_factory=list)
    """Blocks to film; none for the leader."""


class Trainer:
    """Drives an agent through an environment as skrl's sequential trainer does, and keeps the run on disk.

    One iteration is T = ``agent.cfg.rollouts`` steps of all environments and one update.

    Where torch's process group has several ranks, each has a trainer with environments of its own. They make every
    iteration together, stop together, and rank 0 writes for all.
    """

    def __init__(
        self,
        env: VectorEnv,
        agent: TrainableAgent,
        run: RunFolder | None,
        cfg: TrainerCfg,
        description: dict[str, Any] | None = None,
        clips: Clips | None = None,
    ) -> None:
        """Prepare training; nothing runs yet.

        Args:
            env: The environment.
            agent: The agent, of which nothing was asked yet.
            run: The run folder; None on all ranks but the first.
            cfg: Options of the loop.
            description: What a checkpoint shall say about the run: ``task``, ``algorithm``, ``agent_cfg`` and so on.
            clips: Films the environments; None for no film.
        """
        self.env, self.agent, self.run, self.cfg, self.clips = env, agent, run, cfg, clips
        self.description = {"task": "", "agent_cfg": {}, **(description or {})}
        self.rollouts = agent.cfg.rollouts
        self.ranks = Ranks.current()
        agent.init(trainer_cfg=None)
        self.iteration, self.env_steps, self.wall_time_s = 0, 0, 0.0
        self.best: dict[str, Any] | None = None
        self.wandb_id: str | None = None
        self.episodes = EpisodeTracker(agent.layout, self.rollouts, env.device, ranks=self.ranks)
        self._observations: torch.Tensor | None = None
        self._finite = FiniteCheck(env.num_envs, env.device)
        self._env_log = EnvLog(self.ranks)
        self._seed = self.ranks.seed(self.description.get("seed", 0))
        self._visited: VisitedStates | None = None
        # where every rank has all blocks, those of rank 0 will do
        if cfg.dump_states and (self.ranks.is_main or agent.layout.spread.size > 1):
            size = compute_space_size(env.observation_space)
            self._visited = VisitedStates(agent.layout, self.rollouts, size, cfg.dump_states, env.device, self._seed)
        # of rank 0; the others write there too, where they see what stops a run
        folder = self.ranks.gather(str(run.path) if run else None)[0]
        self._folder = pathlib.Path(folder) if folder else None
        self._papers = run.papers() if run else {}
        # what a task with a curriculum counts as a success now; others have none and stay at 0
        self._tolerance = self._goal_angle = 0.0

    # -- start and resume ----------------------------------------------------------------------------------------------

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where a checkpoint was written.

        An environment that can restore its whole state goes on in the middle of its episodes. Another one is reset,
        and only its curriculum and counters are restored.

        Args:
            state: What :func:`sapg_isaaclab.runs.checkpoint.load` returned.

        Raises:
            ValueError: If the agent is of another size.
        """
        own = state["other_ranks"][self.ranks.rank - 1] if self.ranks.rank else state
        self.agent.load_state_dict({**state["agent"], **own["agent"]})
        self.iteration, self.env_steps = state["iteration"], state["env_steps"]
        self.wall_time_s, self.best, self.wandb_id = state["wall_time_s"], state["best"], state["wandb_id"]
        self.episodes.load_state_dict(own["episodes"])
        if self._visited is not None and own.get("visited"):
            self._visited.load_state_dict(own["visited"])
        self._observations, _ = self.env.reset()
        restored = None
        if own["env"] is not None and hasattr(self.env.unwrapped, "load_state_dict"):
            restored = self.env.unwrapped.load_state_dict(own["env"])
        if restored is not None:
            self._observations = restored
        else:
            self.episodes.restart()
            self.agent.restart_episodes()
            if own.get("steps") is not None:
                self._begin_within(own["steps"])
        # last, because resetting and loading may draw random numbers
        checkpoint.set_rng_state(own["rng"])

    def _begin_within(self, steps: torch.Tensor) -> None:
        steps = steps.to(self.env.device)
        begin_within(self.env, steps)
        self.episodes.leave_out(steps > 0)

    def train(self) -> str | None:
        """Train up to ``max_iterations`` or until a stop is asked for, and leave a checkpoint.

        Returns:
            What asked for the stop (a signal's name), or None if all iterations are done.

        Raises:
            TrainingError: If the environment or the agent gives numbers that are not finite, or the disk is full, on
                any rank. The last checkpoint stays valid.
        """
        self.agent.enable_training_mode(True)
        if self._observations is None:
            self._observations, _ = self.env.reset()
            if self.cfg.initial_steps != "zero":  # once: a resume goes on with what the counters were
                times = {"episode_length": self.env.unwrapped.max_episode_length, "rollouts": self.rollouts}
                self._begin_within(initial_steps(self.cfg.initial_steps, self.agent.layout, **times, seed=self._seed))
        states = self.env.state()
        writer = metrics.MetricsWriter(
            self.run,
            logger=self.cfg.logger,
            start_env_steps=self.env_steps,
            wandb_id=self.wandb_id,
            wandb_options=self.cfg.wandb_options,
            config={key: value for key, value in self.description.items() if key != "params"},
        )
        self.wandb_id = writer.wandb_id
        # a run that is stopped at once leaves a checkpoint too
        last_saved, last_saved_s = self.iteration or None, time.monotonic()
        progress = Progress(
            self.iteration, self.cfg.max_iterations, self.agent.cfg.policy_names(), quiet=not self.ranks.is_main
        )
        try:
            with StopFlag() as stop, progress:
                stopped_by, _ = self._agree(stop.signal_name)
                while self.iteration < self.cfg.max_iterations and not stopped_by:
                    states, row = self._iterate(states)
                    writer.write(self.iteration, self.env_steps, row)
                    writer.write_decisions(self.agent.decisions)
                    progress.update(self.iteration, self.env_steps, row)
                    self._hand_out_clips(writer, progress)
                    minutes = (time.monotonic() - last_saved_s) / 60.0
                    stopped_by, late = self._agree(stop.signal_name, minutes >= self.cfg.checkpoint_minutes)
                    if self.iteration % self.cfg.checkpoint_interval == 0 or late:
                        self.save()
                        last_saved, last_saved_s = self.iteration, time.monotonic()
                if self.iteration != last_saved:
                    self.save()
                if self.clips is not None:
                    self.clips.end()
                    self._hand_out_clips(writer, progress)
                return stopped_by if self.iteration < self.cfg.max_iterations else None
        finally:
            if self.clips is not None:
                self.clips.give_up()
            writer.close()

    def _hand_out_clips(self, writer: metrics.MetricsWriter, progress: Progress) -> None:
        for clip in self.clips.finished() if self.clips is not None else ():
            writer.write_clip(clip, self.iteration, self.env_steps)
            progress.note(f"video: {clip.path}")

    def _agree(self, stop: str | None, late: bool = False) -> tuple[str | None, bool]:
        """What all ranks do next: stop, for whichever rank was told to, or save, by the clock of rank 0."""
        told = self.ranks.gather((stop, late))
        return next((reason for reason, _ in told if reason), None), told[0][1]

    # -- one iteration -------------------------------------------------------------------------------------------------

    def _iterate(self, states: torch.Tensor | None) -> tuple[torch.Tensor | None, dict[str, float]]:
        began = time.monotonic()
        filmed_s = self.clips.spent_s if self.clips is not None else 0.0
        clock = {"timestep": self.iteration * self.rollouts, "timesteps": self.cfg.max_iterations * self.rollouts}
        with contextlib.ExitStack() as together:
            # nothing in there may wait for another rank
            if not self.agent.EXCHANGES_IN_STEPS:
                together.enter_context(distributed.all_or_none(self.ranks))
            for index in range(self.rollouts):
                if index > 0:
                    self.agent.post_interaction(**clock)
                    clock["timestep"] += 1
                self.agent.pre_interaction(**clock)
                states = self._step(states, index, **clock)
            if self.agent.EXCHANGES_IN_STEPS:
                together.enter_context(distributed.all_or_none(self.ranks))
            self._finite.raise_if_found(self.iteration + 1, self._folder, self.ranks.rank)
            report_resets(self.env.unwrapped, self.iteration + 1, self._folder, self.ranks.rank)
        collected = time.monotonic()
        self.agent.post_interaction(**clock)  # the last one is the update
        self.iteration += 1
        if self._visited is not None:
            self._visited.finish_iteration(self.iteration)
        env_steps = self.rollouts * self.env.num_envs * self.ranks.size
        self.env_steps += env_steps
        self.episodes.finish_iteration()
        row = self._env_metrics() | self.episodes.metrics(self.agent.leader) | self.agent.metrics
        self._tolerance = self._in_force(row, "Tolerance", "Metrics/success_tolerance")
        self._goal_angle = self._in_force(row, "Goal_angle", "Metrics/goal_angle")
        self._check_agent(self.agent.metrics)
        duration = time.monotonic() - began
        self.wall_time_s += duration
        row["Perf/env_steps_per_s"] = env_steps / duration
        row["Perf/collect_s"], row["Perf/update_s"] = collected - began, began + duration - collected
        row["Perf/wall_time_s"] = self.wall_time_s
        if self.clips is not None:
            row["Perf/video_s"] = self.clips.spent_s - filmed_s
        return states, row

    def _step(self, states: torch.Tensor | None, index: int, timestep: int, timesteps: int) -> torch.Tensor | None:
        observations: Any = self._observations  # train() has reset the environment
        if self._visited is not None:
            self._visited.step(self.iteration + 1, index, observations)
        with torch.no_grad():
            actions, _ = self.agent.act(observations, states, timestep=timestep, timesteps=timesteps)
            next_observations, rewards, terminated, truncated, infos = self.env.step(actions)
            next_states = self.env.state()
            if self.episodes.shortened is not None:
                infos = {**infos, "shortened": self.episodes.shortened}
            self.agent.record_transition(
                observations=observations,
                states=states,
                actions=actions,
                rewards=rewards,
                next_observations=next_observations,
                next_states=next_states,
                terminated=terminated,
                truncated=truncated,
                infos=infos,
                timestep=timestep,
                timesteps=timesteps,
            )
            done = (terminated | truncated).view(-1)
            self.episodes.step(index, rewards.view(-1), done, infos.get("successes"), infos.get("broken"))
            self._finite.step(
                index,
                observations=observations,
                states=states,
                actions=actions,
                rewards=rewards,
                next_observations=next_observations,
                next_states=next_states,
            )
            self._env_log.step(infos.get("log"))
            if self.clips is not None:
                leader = self.agent.leader
                self.clips.step(self.iteration, leader if leader in self.agent.layout.held else None)
        self._observations = next_observations
        return next_states

    def _in_force(self, row: dict[str, float], name: str, for_all: str) -> float:
        """Number of a curriculum that the leader's episodes are judged by; 0 in a task without one."""
        leader = self.agent.leader
        if f"{name}/blocks_lowest" in row:  # every block has its own, and they are more than a row names
            held, values = self.agent.layout.held, self.env.unwrapped.curriculum.values[name.lower()]
            own = float(values[leader - held.start]) if leader in held else None
            return next(value for value in self.ranks.gather(own) if value is not None)
        return row.get(f"{name}/block_{leader}", row.get(for_all, 0.0))

    def _check_agent(self, values: dict[str, float]) -> None:
        bad = [tag for tag, value in values.items() if tag.startswith("Loss/") and not math.isfinite(value)]
        if bad:
            with distributed.all_or_none(self.ranks):  # losses are those of all ranks: none is missing here
                raise TrainingError(
                    f"{bad[0]} is not finite after iteration {self.iteration}; training diverged, the last checkpoint"
                    " is intact. Try a smaller agent.learning_rate"
                )

    def _env_metrics(self) -> dict[str, float]:
        row = self._env_log.finish_iteration()
        guard = getattr(self.env.unwrapped, "nan_guard", None)
        if guard is not None:  # a count since the start has no mean over an iteration
            row["Metrics/nan_resets"] = float(sum(self.ranks.gather(guard.reported)))
        if self.episodes.has_successes:
            # ours run over the same episodes and more of them; two meanings under one tag would confuse
            row = {tag: value for tag, value in row.items() if not tag.startswith(("Leader/", "Block_", "Blocks/"))}
        return row

    # -- checkpoint ----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint, let ``latest`` and, if it is, ``best`` name it, and delete old ones.

        Raises:
            TrainingError: If it cannot be written.
        """
        is_best, state = self._is_best(), self.state_dict()
        with distributed.all_or_none(self.ranks):
            if self.ranks.is_main:
                self._write(state, is_best)

    def _write(self, state: dict[str, Any], is_best: bool) -> None:
        try:
            self._write_files(state, is_best)
        except TrainingError:
            if self.run.checkpoints.is_dir():
                raise
            try:
                self.run.put_back(self._papers)
            except OSError as error:
                raise TrainingError(f"run folder {self.run.path} has vanished: {error}") from error
            warn(f"run folder {self.run.path} had vanished; it was made again, without what was in it")
            self._write_files(state, is_best)

    def _write_files(self, state: dict[str, Any], is_best: bool) -> None:
        run = cast(RunFolder, self.run)  # rank 0 has one
        path = run.checkpoints / f"agent_{self.iteration}.pt"
        checkpoint.save(path, state)
        try:
            checkpoint.point(run, "latest", path)
            if is_best:
                checkpoint.point(run, "best", path)
            checkpoint.prune(run, self.cfg.keep_checkpoints)
            samples = [own["visited"] for own in (state, *state["other_ranks"]) if own["visited"]]
            if samples:
                visited.write(run.path / visited.FILE, samples, self.agent.leader)
        except OSError as error:
            raise TrainingError(f"cannot write in {run.path}: {error}; checkpoint {path} is intact") from error

    def _is_best(self) -> bool:
        leader = self.agent.leader
        # until about every environment has finished an episode, the mean favours short episodes
        if self.episodes.finished[leader] < self.agent.layout.block_size:
            return False
        means = self.episodes.mean(leader)
        found = {
            "tolerance": self._tolerance,
            "goal_angle": self._goal_angle,
            "successes": means.get("successes", 0.0),
            "return": means["return"],
            "iteration": self.iteration,
        }
        if self.best is not None and _score(found) <= _score(self.best):
            return False
        self.best = found
        return True

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resume needs. All ranks must ask for it; complete on rank 0.

        Returns:
            Tensors and plain values. What differs between ranks is rank 0's, and the others' in ``other_ranks``.
        """
        layout = self.agent.layout
        unwrapped = self.env.unwrapped
        agent = self.agent.state_dict()
        goes_on = getattr(unwrapped, "restores_episodes", hasattr(unwrapped, "load_state_dict"))
        if not goes_on:
            agent = _without_recurrent_state(agent)  # large, and of no use where episodes begin anew
        staggered = self.cfg.initial_steps != "zero" and not goes_on
        own = {
            "agent": {key: agent[key] for key in self.agent.PER_RANK},
            "env": unwrapped.state_dict() if hasattr(unwrapped, "state_dict") else None,
            "episodes": self.episodes.state_dict(),
            # where episodes begin anew, they run out of time when those under way would have
            "steps": unwrapped.episode_length_buf.cpu() if staggered else None,
            "visited": self._visited.state_dict() if self._visited is not None else None,
            "rng": checkpoint.rng_state(),
        }
        return {
            **self.description,
            "iteration": self.iteration,
            "env_steps": self.env_steps,
            "wall_time_s": self.wall_time_s,
            "blocks": {
                "num_blocks": layout.num_blocks,
                "leader": self.agent.leader,
                "block_size": layout.block_size,
                "ids": list(range(layout.num_blocks)),
            },
            **own,
            "agent": agent,
            "other_ranks": self.ranks.gather_states(own),
            "best": self.best,
            "wandb_id": self.wandb_id,
            "versions": package_versions(),
        }


def _without_recurrent_state(state: Any) -> Any:
    if isinstance(state, dict):
        return {k: None if k == "recurrent_state" else _without_recurrent_state(v) for k, v in state.items()}
    return [_without_recurrent_state(value) for value in state] if isinstance(state, list) else state


def _score(candidate: dict[str, Any]) -> tuple[float, ...]:
    # a tighter tolerance, then goals farther away, make fewer successes worth more; and while successes are rare, their
    # hundredths are luck: within a tenth the return decides
    difficulty = -round(candidate["tolerance"], 6), round(candidate.get("goal_angle", 0.0), 6)
    return *difficulty, round(candidate["successes"], 1), candidate["return"]
