from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
import torch

from parc_ray.character.skeleton import load_skeleton
from parc_ray.config.record import RecordConfig
from parc_ray.errors import InputError
from parc_ray.trackers import network as network_module
from parc_ray.trackers import policy as policy_module
from parc_ray.trackers.action_bounds import action_bounds
from parc_ray.trackers.network import HIDDEN, Network
from parc_ray.trackers.policy import Policy, load_checkpoint
from tests.reference import DATA, HUMANOID, max_error, tensor, vectors

SKELETON = load_skeleton(HUMANOID)
CPU = torch.device("cpu")
V = vectors("policy")
SMALL = (DATA / "policy_small_state_dict.pt").read_bytes()


SMALL_NETWORK = "fc_2layers_1024units"
BOUNDS = action_bounds(SKELETON)
CONFIG = RecordConfig(
    output_dir="out", model_file="model.pt", env_file="env.yaml", agent_file="agent.yaml", dataset_file="walk.pkl"
)  # fmt: skip


def save(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def small_size() -> int:
    return V["small_obs"].shape[1]


def load(content=SMALL, network=SMALL_NETWORK, obs_size=None):
    return load_checkpoint(content, network, obs_size or small_size(), SKELETON.dof_count, CONFIG)


def test_action_bounds():
    v = vectors("action_bounds")
    low, high = action_bounds(SKELETON)
    assert max_error(low, v["mjcf_low"]) <= 1e-5
    assert max_error(high, v["mjcf_high"]) <= 1e-5


def test_small_policy():
    policy = Policy(load(), SMALL_NETWORK, float(V["small_obs_norm_clip"]), BOUNDS, CPU)
    obs = tensor(V["small_obs"])
    assert max_error(policy.normalized_mode(obs), V["small_norm_action_mode"]) <= 1e-4
    assert max_error(policy.act(obs), V["small_action_clipped"]) <= 1e-4


def hashed_weights(shape, salt, scale) -> torch.Tensor:
    """The closed form of the reference's large network."""
    k = np.arange(int(np.prod(shape)), dtype=np.uint64)
    mask = np.uint64(2**32 - 1)
    h = (k * np.uint64(2654435761) + np.uint64(salt * 40503 + 12345)) & mask
    h = (h * np.uint64(2246822519)) & mask
    h ^= h >> np.uint64(15)
    return torch.from_numpy((scale * (h / 2.0**31 - 1.0)).astype(np.float32).reshape(shape))


def test_large_policy():
    shapes = policy_module._expected_shapes("fc_3layers_2048units", 1312, 28)
    state = {
        "_obs_norm._mean": tensor(V["full_obs_mean"]),
        "_obs_norm._std": tensor(V["full_obs_std"]),
        "_a_norm._mean": tensor(V["a_mean"]),
        "_a_norm._std": tensor(V["a_std"]),
    }
    for name, salt, scale in zip(V["full_hash_names"], V["full_hash_salts"], V["full_hash_scales"]):
        full_name = next(key for key in shapes if key.endswith(str(name)))
        state[full_name] = hashed_weights(shapes[full_name], int(salt), float(scale))
    network, clip = "fc_3layers_2048units", float(V["full_obs_norm_clip"])
    policy = Policy(load(save(state), network, obs_size=1312), network, clip, BOUNDS, CPU)
    obs = tensor(V["full_obs"])
    assert max_error(policy.normalized_mode(obs), V["full_norm_action_mode"]) <= 1e-4
    assert max_error(policy.act(obs), V["full_action_clipped"]) <= 1e-4


@pytest.mark.parametrize("rows", [1, 3, 63, 64, 65, 200])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_action_does_not_depend_on_the_batch(rows, threads):
    policy = Policy(load(), SMALL_NETWORK, 10.0, BOUNDS, CPU, threads)
    generator = torch.Generator().manual_seed(rows)
    obs = torch.randn(rows, small_size(), generator=generator)
    order = torch.randperm(rows, generator=generator)
    whole = policy.act(obs)
    assert torch.equal(policy.act(obs[order]), whole[order])
    assert torch.equal(policy.act(obs[:1]), whole[:1])
    assert torch.equal(Policy(load(), SMALL_NETWORK, 10.0, BOUNDS, CPU).act(obs), whole)


def wrong_product(rows, weight, bias, activation, scalars, algorithm):
    return torch.zeros(len(rows), len(bias))


@pytest.mark.parametrize("product", ["onednn", "switched off", "missing", "changed", "wrong"])
def test_a_network_is_its_layers_whatever_computes_the_product(product, monkeypatch):
    """Against sums in double precision."""
    monkeypatch.setattr(network_module, "_onednn_works", network_module._onednn_works.__wrapped__)
    if product == "switched off":
        monkeypatch.setenv(network_module.PLAIN, "1")
    elif product == "missing":
        monkeypatch.setattr(torch.ops, "mkldnn", object())
    elif product in ("changed", "wrong"):
        fake = (lambda rows: rows) if product == "changed" else wrong_product
        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", fake, raising=False)
    generator = torch.Generator().manual_seed(0)
    sizes = [(300, 128), (128, 64), (64, 20)]
    layers = [
        (torch.randn(wide, narrow, generator=generator) / narrow**0.5, torch.randn(wide, generator=generator))
        for narrow, wide in sizes
    ]
    rows = torch.randn(77, 300, generator=generator)
    expected = rows.double()
    for place, (weight, bias) in enumerate(layers):
        expected = expected @ weight.double().t() + bias.double()
        expected = expected if place == 2 else expected.clamp(min=0)
    network = Network(layers)
    assert network._onednn == (product == "onednn" and hasattr(torch.ops.mkldnn, "_linear_pointwise"))
    assert max_error(network(rows), expected.float().numpy()) <= 1e-5


# ------------------------------------------------------------------------------------------------ exploration


def with_std(**entries):
    """The small checkpoint with its standard deviation replaced."""
    state = torch.load(io.BytesIO(SMALL), weights_only=True)
    state = {name: value for name, value in state.items() if "_logstd_net" not in name}
    return save({**state, **{f"{policy_module.LOG_STD}{name}": value for name, value in entries.items()}})


def small_policy(content=SMALL, bounds=None):
    return Policy(load(content), SMALL_NETWORK, 10.0, bounds, CPU)


def random_obs(rows=37):
    return torch.randn(rows, small_size(), generator=torch.Generator().manual_seed(1))


def test_noise_is_in_constant_standard_deviations_of_the_normalised_action():
    log_std = torch.linspace(-4.0, -1.0, 28)
    policy = small_policy(with_std(**{"": log_std.half()}))
    obs, noise = random_obs(), torch.randn(37, 28)
    expected = policy.act(obs) + noise * torch.exp(log_std.half().float()) * policy.action_std
    assert policy.explores and torch.allclose(policy.explore(obs, noise), expected, atol=1e-5)
    assert torch.equal(policy.explore(obs, torch.zeros(37, 28)), policy.act(obs))


def test_a_standard_deviation_that_depends_on_the_observation():
    """As a layer beside that of the mean (actor_std_type VARIABLE), against the layers written out."""
    weight, bias = 0.1 * torch.randn(28, HIDDEN[SMALL_NETWORK][-1]), torch.full((28,), -3.0)
    content = with_std(**{".weight": weight, ".bias": bias})
    policy, parameters, obs = small_policy(content), load(content), random_obs()
    hidden = ((obs - policy.obs_mean) / policy.obs_std).clamp(-10.0, 10.0)
    for name in ("_model._actor_layers.0", "_model._actor_layers.2"):
        hidden = torch.relu(hidden @ parameters[f"{name}.weight"].t() + parameters[f"{name}.bias"])
    expected = torch.exp(hidden @ weight.t() + bias)
    assert float(expected.std(0).max()) > 0.001
    assert torch.allclose(policy.std(obs), expected, rtol=1e-4)
    whole = policy.explore(obs, torch.ones(37, 28))
    assert torch.allclose(whole, policy.act(obs) + expected * policy.action_std, rtol=1e-4, atol=1e-4)
    assert torch.equal(policy.explore(obs[5:8], torch.ones(3, 28)), whole[5:8])


def test_exploration_stays_within_the_bounds():
    policy = small_policy(bounds=BOUNDS)
    targets = policy.explore(random_obs(), torch.full((37, 28), 1e4))
    assert bool((targets <= BOUNDS[1]).all()) and bool((targets == BOUNDS[1]).any())


def test_a_checkpoint_without_standard_deviations_acts_but_does_not_explore():
    policy = small_policy(with_std())
    assert not policy.explores and torch.equal(policy.act(random_obs()), small_policy().act(random_obs()))
    with pytest.raises(InputError, match=r"_logstd_net' has shape \[5\], expected \[28\]"):
        load(with_std(**{"": torch.zeros(5)}))


@pytest.mark.parametrize("network", sorted(HIDDEN))
def test_expected_shapes_are_those_of_a_saved_agent(network):
    saved = json.loads((DATA / "agent_state_dict_keys.json").read_text())
    saved_shapes = {item["key"]: tuple(item["shape"]) for item in saved["keys"]}
    shapes = policy_module._expected_shapes(network, 1312, 28)
    assert shapes.keys() <= saved_shapes.keys()
    if network == "fc_3layers_2048units":
        assert shapes == {name: saved_shapes[name] for name in shapes}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a checkpoint"),
        (b"PK\x03\x04 torn", "not a checkpoint"),
        (SMALL[: len(SMALL) // 2], "not a checkpoint"),
        (pickle.dumps({"_obs_norm._mean": print}), "not a checkpoint"),
        (save([1, 2]), "not a state dict"),
        (save({"policy": torch.zeros(3)}), "has no"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content, says):
    with pytest.raises(InputError, match=says) as error:
        load(content)
    assert "model.pt" in str(error.value)


def test_a_misfit_names_both_sizes():
    with pytest.raises(InputError, match=rf"observes {small_size()} numbers, env.yaml describes 99"):
        load(obs_size=99)
    with pytest.raises(InputError, match=r"network of agent.yaml|has no"):
        load(network="fc_3layers_2048units")
    with pytest.raises(InputError, match="cnn"):
        load(network="dm_cnn_mlp")


def test_diverged_weights_are_refused():
    state = torch.load(io.BytesIO(SMALL), weights_only=True)
    state["_model._actor_layers.0.bias"][3] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        load(save(state))
