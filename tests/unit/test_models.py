import gymnasium
import pytest
import torch

from sapg_isaaclab.agents.sapg.networks import BlockActorCritic

OBS, ACT = gymnasium.spaces.Box(-1, 1, (5,)), gymnasium.spaces.Box(-1, 1, (2,))


def model(**changes) -> BlockActorCritic:
    torch.manual_seed(0)
    options = {
        "num_blocks": 4, "latent_dim": 3, "hidden_sizes": (8, 6), "activation": "elu", "separate": False,
        "critic_states": False, "critic_latent": True, "std_mode": "per_block", "initial_log_std": 0.0,
    }  # fmt: skip
    return BlockActorCritic(OBS, None, ACT, "cpu", **{**options, **changes})


def test_one_hot_input_equals_concatenating_the_latent():
    net, x, blocks = model(), torch.randn(20, 5), torch.arange(20) % 4
    mean, _, value, _ = net.evaluate(torch.cat((x, net.identity(blocks)), dim=1))
    features = net.actor.rest(net.actor.act(net.actor.first(torch.cat((x, net.latents[blocks]), dim=1))))
    torch.testing.assert_close(mean, net.mean(features))
    torch.testing.assert_close(value, net.value(features).squeeze(-1))


def test_latents_begin_as_far_apart_as_they_are_told():
    far, near = model(latent_dim=400), model(latent_dim=400, initial_latent_std=0.1)
    torch.testing.assert_close(near.latents, 0.1 * far.latents)  # and everything else is the same
    assert 0.95 < far.latents.std() < 1.05 and torch.equal(near.mean.weight, far.mean.weight)


@pytest.mark.parametrize("separate", [False, True])
def test_a_policys_latent_and_std_get_gradient_from_its_own_rows_only(separate):
    net = model(separate=separate)
    for block in range(4):
        net.zero_grad()
        rows = torch.cat((torch.randn(7, 5), net.identity(torch.full((7,), block))), dim=1)
        mean, log_std, value, _ = net.evaluate(rows)
        (mean.square().sum() + log_std.exp().sum() + value.sum()).backward()
        others = [i for i in range(4) if i != block]
        assert (net.latents.grad[others] == 0).all() and (net.latents.grad[block] != 0).any()
        assert (net.log_std.grad[others] == 0).all() and (net.log_std.grad[block] != 0).all()
        assert (net.actor.first.weight.grad != 0).any()


def test_initialisation_is_the_official_one():
    net = model(num_blocks=600)
    assert net.latents.shape == (600, 3) and abs(net.latents.std().item() - 1.0) < 0.05
    assert all((layer.bias == 0).all() for layer in net.modules() if isinstance(layer, torch.nn.Linear))
    assert net.log_std.shape == (600, 2) and (net.log_std == 0).all()


def test_one_block_has_no_latent():
    net = model(num_blocks=1)
    assert net.latents is None and net.identity(torch.zeros(3, dtype=torch.long)) is None
    assert net.evaluate(torch.randn(3, 5))[0].shape == (3, 2)


@pytest.mark.parametrize(("mode", "shape"), [("shared", (1, 2)), ("per_block", (4, 2))])
def test_std_modes(mode, shape):
    assert model(std_mode=mode).log_std.shape == shape


def test_state_dependent_std_depends_on_the_state():
    net = model(std_mode="state", initial_log_std=-1.0)
    rows = torch.cat((torch.randn(2, 5), net.identity(torch.zeros(2, dtype=torch.long))), dim=1)
    log_std = net.evaluate(rows)[1]
    assert (log_std[0] != log_std[1]).all() and (net.log_std.bias == -1.0).all()


def test_skrls_way_of_asking_gives_the_same_and_leads_by_default():
    net, x = model(), torch.randn(6, 5)
    leader = torch.cat((x, net.identity(torch.zeros(6, dtype=torch.long))), dim=1)
    mean, extra = net.compute({"observations": x}, role="policy")
    torch.testing.assert_close(mean, net.evaluate(leader)[0])
    actions, out = net.act({"observations": x, "blocks": torch.full((6,), 2)}, role="policy")
    again = net.act({"observations": x, "blocks": torch.full((6,), 2), "taken_actions": actions}, role="policy")[1]
    torch.testing.assert_close(again["log_prob"], out["log_prob"])
    assert net.act({"observations": x}, role="value")[0].shape == (6, 1)
    assert extra["log_std"].shape == (6, 2)


def test_tied_policies_are_ppo_with_a_constant_extra_input():
    net, x = model(std_mode="shared"), torch.randn(20, 5)
    with torch.no_grad():
        net.latents.copy_(net.latents[:1].expand(4, -1))
    mixed = net.evaluate(torch.cat((x, net.identity(torch.arange(20) % 4)), dim=1))
    plain = model(num_blocks=1, std_mode="shared")
    state = {name: value for name, value in net.state_dict().items() if name != "latents"}
    weight = state["actor.first.weight"]
    state["actor.first.bias"] = state["actor.first.bias"] + weight[:, 5:] @ net.latents[0]  # the input's constant part
    state["actor.first.weight"] = weight[:, :5]
    plain.load_state_dict(state)
    for ours, theirs in zip(mixed[:3], plain.evaluate(x)[:3], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_critic_without_latent_gives_all_policies_the_same_value():
    rows = torch.cat((torch.randn(1, 5).expand(4, 5), torch.eye(4)), dim=1)
    values = model(separate=True, critic_latent=False).evaluate(rows).values
    torch.testing.assert_close(values, values[:1].expand(4))
    values = model(separate=True).evaluate(rows).values
    assert (values - values[0]).abs()[1:].min() > 1e-3
