"""PPO is SAPG with one block, and SAPG whose policies are tied together is PPO with a constant input.

The first is shown against skrl's PPO, an independent implementation. Both start from the same weights, act with the
same noise and use the rules they share: one minibatch, fixed step size, Gaussian with one log-std. skrl clips the value
without the maximum of the official code; here both clip as skrl does, around old values that both standardise before
their moments know the targets. Adam turns any difference of moments into a whole step, so both use our class of them.
Only terminations end episodes, because skrl's advantages treat time-outs otherwise. The last bit differs:
torch.distributions, which skrl uses, rounds the density of a Gaussian in another order.
"""

import gymnasium
import torch
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model

from sapg_isaaclab.agents.build import build_agent
from sapg_isaaclab.agents.normalizer import RunningMoments
from sapg_isaaclab.agents.sapg import SapgCfg, losses

T, N, D, A = 8, 16, 6, 3
CLIP = 0.02


class Env:
    num_envs, device, state_space = N, "cpu", None
    observation_space = gymnasium.spaces.Box(-10, 10, (D,))
    action_space = gymnasium.spaces.Box(-1, 1, (A,))


class Scaler(RunningMoments):
    """Our moments, called as skrl calls its preprocessors."""

    def __call__(self, rows, train=False, inverse=False):
        if rows is None:
            return None
        if inverse:
            return self.denormalize(rows)
        if train:
            self.update(rows.reshape(-1, rows.shape[-1]))
        return self.normalize(rows)


class SkrlNet(GaussianMixin, DeterministicMixin, Model):
    """skrl's way of writing a shared network, around the modules of ours."""

    def __init__(self, ours) -> None:
        Model.__init__(
            self, observation_space=Env.observation_space, action_space=Env.action_space, device="cpu", state_space=None
        )
        GaussianMixin.__init__(self, role="policy")
        DeterministicMixin.__init__(self, role="value")
        self.actor, self.mean, self.value_head = ours.actor, ours.mean, ours.value
        self.log_std = ours.log_std

    def act(self, inputs, *, role=""):
        return (GaussianMixin if role == "policy" else DeterministicMixin).act(self, inputs, role=role)

    def compute(self, inputs, role=""):
        features = self.actor(inputs["observations"], None)[0]
        return (
            (self.mean(features), {"log_std": self.log_std[0]}) if role == "policy" else (self.value_head(features), {})
        )


def make_ours():
    cfg = SapgCfg(
        num_blocks=1, hidden_sizes=(32, 16), rollouts=T, learning_epochs=4, mini_batches=1, shuffle=False,
        rewards_scale=1.0, ratio_clip=CLIP, bounds_loss_scale=0.0, learning_rate_schedule="fixed",
        learning_rate=3e-3, entropy_loss_scale=0.01, timeout_bootstrap="none",
    )  # fmt: skip
    cfg.experiment.write_interval = cfg.experiment.checkpoint_interval = 0
    return build_agent(Env(), cfg)


def make_skrl(ours):
    net = SkrlNet(ours)
    cfg = PPO_CFG(
        rollouts=T, learning_epochs=4, mini_batches=1, learning_rate=3e-3, ratio_clip=CLIP, value_clip=CLIP,
        value_loss_scale=2.0, entropy_loss_scale=0.01, grad_norm_clip=1.0, discount_factor=0.99, gae_lambda=0.95,
        observation_preprocessor=Scaler, observation_preprocessor_kwargs={"size": D, "correction": 1},
        value_preprocessor=Scaler, value_preprocessor_kwargs={"size": 1, "correction": 1},
        experiment={"write_interval": 0, "checkpoint_interval": 0},
    )  # fmt: skip
    memory = RandomMemory(memory_size=T, num_envs=N, device="cpu")
    return PPO(
        models={"policy": net, "value": net}, memory=memory, cfg=cfg, observation_space=Env.observation_space,
        state_space=None, action_space=Env.action_space, device="cpu",
    )  # fmt: skip


def parameters_after(agent, updates: int) -> torch.Tensor:
    agent.init()
    agent.enable_training_mode(True)
    data = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    observations = torch.randn(N, D, generator=data)
    clock = {"timestep": 0, "timesteps": 0}
    for step in range(T * updates):
        if step % T == 0:
            torch.manual_seed(step)  # the learning phases draw differently: only the acting noise must agree
        with torch.no_grad():
            # skrl's sampling goes through torch.distributions: the same standard normal numbers, the same order
            actions, _ = agent.act(observations, None, **clock)
            after = torch.randn(N, D, generator=data) + 0.1 * actions.sum(dim=1, keepdim=True)
            agent.record_transition(
                observations=observations, states=None, actions=actions, rewards=-actions.square().sum(1, keepdim=True),
                next_observations=after, next_states=None, terminated=torch.rand(N, 1, generator=data) < 0.1,
                truncated=torch.zeros(N, 1, dtype=torch.bool), infos={}, **clock,
            )  # fmt: skip
        agent.post_interaction(**clock)
        observations = after
    return torch.cat([p.detach().flatten() for p in agent.models["policy"].parameters()])


def skrls_value_loss(values, old_values, targets, *, clip):
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    CLIPPED.append((clipped != values).float().mean())
    return (clipped - targets).square()


CLIPPED = []


def test_three_updates_equal_skrls_ppo(monkeypatch):
    monkeypatch.setattr(losses, "value_loss", skrls_value_loss)
    torch.manual_seed(0)
    ours = make_ours()
    start = {name: value.clone() for name, value in ours.model.state_dict().items()}
    first = torch.cat([start[name].flatten() for name, _ in ours.model.named_parameters()])
    learned = parameters_after(ours, 3)

    torch.manual_seed(0)
    rival_home = make_ours()
    rival_home.model.load_state_dict(start)
    rival = make_skrl(rival_home.model)
    parameters_after(rival, 3)
    rival_learned = torch.cat([p.detach().flatten() for p in rival_home.model.parameters()])

    assert (learned - first).abs().max() > 0.02  # there is something to agree on
    assert 0.02 < torch.stack(CLIPPED).mean() < 0.98
    torch.testing.assert_close(learned, rival_learned, atol=1e-6, rtol=0)  # measured: 1.5e-7
    torch.testing.assert_close(ours.policies.scalers["observations"].mean, rival._observation_preprocessor.mean)
    torch.testing.assert_close(
        ours.policies.value_scaler.variance, rival._value_preprocessor.variance, rtol=1e-5, atol=0
    )


class ConstantInputEnv(Env):
    """The same observations with the latent of tied policies as further, constant columns."""

    observation_space = gymnasium.spaces.Box(-10, 10, (D + 4,))


def gradients(agent, constant: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of the whole batch of one rollout, before any step."""
    agent.init()
    agent.enable_training_mode(True)
    data = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    clock = {"timestep": 0, "timesteps": 0}
    observations = torch.randn(N, D, generator=data)
    for _ in range(T):
        seen = torch.cat((observations, constant.expand(N, -1)), dim=1)
        actions, _ = agent.act(seen, None, **clock)
        observations = torch.randn(N, D, generator=data) + 0.1 * actions.sum(dim=1, keepdim=True)
        agent.record_transition(
            observations=seen, states=None, actions=actions, rewards=-actions.square().sum(1, keepdim=True),
            next_observations=torch.cat((observations, constant.expand(N, -1)), dim=1), next_states=None,
            terminated=torch.rand(N, 1, generator=data) < 0.1, truncated=torch.zeros(N, 1, dtype=torch.bool),
            infos={}, **clock,
        )  # fmt: skip
    batch, off = agent.batch()
    assert off is None
    agent.learner.losses(batch.rows).parts.sum().backward()
    return {name: parameter.grad for name, parameter in agent.model.named_parameters()}


def test_tied_policies_without_aggregation_learn_as_ppo_with_a_constant_input():
    options = {
        "hidden_sizes": (32, 16), "rollouts": T, "mini_batches": 1, "shuffle": False, "std_mode": "shared",
        "normalize_observations": False, "latent_dim": 4,
    }  # fmt: skip
    torch.manual_seed(0)
    sapg = build_agent(Env(), SapgCfg(num_blocks=4, aggregation="none", **options))
    ppo = build_agent(ConstantInputEnv(), SapgCfg(num_blocks=1, **options))
    with torch.no_grad():
        sapg.model.latents.copy_(sapg.model.latents[:1].expand(4, -1))
    shared = {name: value for name, value in sapg.model.state_dict().items() if name != "latents"}
    ppo.model.load_state_dict(shared)
    latent = sapg.model.latents[0].detach().clone()

    tied, plain = gradients(sapg, torch.empty(0)), gradients(ppo, latent)
    for name, gradient in plain.items():
        assert gradient.abs().max() > 1e-6, name
        torch.testing.assert_close(tied[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
