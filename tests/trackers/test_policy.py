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


@pytest.mark.parametrize("onednn", [True, False])
def test_a_network_is_its_layers_with_and_without_onednn(onednn, monkeypatch):
    """Against sums in double precision, also where PyTorch lacks the product that is used."""
    if not onednn:
        monkeypatch.setattr(torch.ops, "mkldnn", object())
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
    assert max_error(Network(layers)(rows), expected.float().numpy()) <= 1e-5


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
