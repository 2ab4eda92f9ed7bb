from __future__ import annotations

from itertools import product

import pytest

pytest.importorskip("torch_pruning")
pytest.importorskip("torchvision")

import torch
from torch import nn

from contracts.errors import InputError
from harness.compression.pruning import METHODS, Pruning, gradients_of, prune, replay
from harness.compression.pruning.settings import Scope
from harness.compression.size import size_of
from harness.compression.traced import traced
from harness.compression.twin import Twin
from harness.models.build import ZOO, build_model
from tests.harness.compression.pruning.networks import blind, layers
from tests.harness.compression.small_networks import pixels

SHAPE = (1, 16, 16)
EXAMPLE = torch.zeros(1, *SHAPE)
LABELS = torch.tensor([0, 1, 2])
WITHOUT_NORMS = ("cnn8", "digits-cnn", "vit-tiny")
ATTENTIONS = tuple(f"network.blocks.{block}.attention.1" for block in range(4))


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(name, None, SHAPE, 10)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.3, 1.0)
    return model


@pytest.mark.parametrize(("name", "method"), list(product(ZOO, METHODS)))
def test_every_model_with_every_method(name: str, method: str) -> None:
    model, same = network(name), network(name)
    before = size_of(model, SHAPE)
    gradients = gradients_of(pixels(3, *SHAPE), LABELS, 3)
    scope: Scope = "global" if method in ("l2", "random") else "local"
    pruning = Pruning(method=method, sparsity=0.5, scope=scope, round_to=4 if method == "l1" else 1)
    if method == "bn-scale" and name in WITHOUT_NORMS:
        with pytest.raises(InputError, match="reads the scales of batch norms"):
            prune(model, EXAMPLE, pruning, gradients)
        return
    history = prune(model, EXAMPLE, pruning, gradients)
    after = size_of(model, SHAPE)
    assert after.parameters < 0.5 * before.parameters and after.macs < 0.6 * before.macs
    assert model(pixels(2, *SHAPE)).shape == (2, 10)
    if pruning.round_to > 1:
        *inner, head = layers(model).values()
        assert head == 10 and all(count % pruning.round_to == 0 for count in inner)
    replay(same, history)
    assert list(same.state_dict()) == list(model.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in same.state_dict().items())
    torch.testing.assert_close(same(pixels(2, *SHAPE)), model(pixels(2, *SHAPE)), rtol=0, atol=0)


@pytest.mark.parametrize("name", ZOO)
def test_the_pruned_model_is_the_whole_one_blind_to_what_went(name: str) -> None:
    whole, model = network(name), network(name)
    # What an attention sees is divided by the width of its heads, and a layer norm sees all channels.
    ignore = ATTENTIONS if name == "vit-tiny" else ()
    history = prune(model, EXAMPLE, Pruning(method="random", sparsity=0.5, ignore=ignore))
    blind(whole, history)
    images = pixels(2, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(model(images), whole(images), rtol=1e-3, atol=1e-4)
        assert not torch.allclose(model(images), network(name)(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ZOO)
def test_a_pruned_model_has_a_twin(name: str) -> None:
    model = network(name)
    prune(model, EXAMPLE, Pruning(sparsity=0.5))
    twin = Twin(traced(model, SHAPE))
    assert twin(pixels(2, *SHAPE)).shape == (2, 10)


def test_heads_lose_the_same_channels_of_queries_keys_and_values() -> None:
    model = network("vit-tiny")
    history = prune(model, EXAMPLE, Pruning(sparsity=0.5))
    cut = {(name, out): channels for name, out, channels in history}
    assert len(cut["network.positions", True]) == 32
    for attention in ATTENTIONS:
        inside = cut[f"{attention}.project", False]
        assert cut[f"{attention}.query_key_value", True] == [part * 64 + each for part in range(3) for each in inside]
        places = [[each % 16 for each in inside if each // 16 == head] for head in range(4)]
        assert len(places[0]) == 8 and all(each == places[0] for each in places)
        assert cut[f"{attention}.query_key_value", False] == cut["network.positions", True]


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("sparsity", [0.1, 0.9])
def test_a_transformer_runs_whatever_the_share(scope: Scope, sparsity: float) -> None:
    model = network("vit-tiny")
    prune(model, EXAMPLE, Pruning(sparsity=sparsity, scope=scope, limits={f"{ATTENTIONS[0]}.query_key_value": 0.25}))
    width = model.get_submodule("network.norm").get_parameter("weight").shape[0]
    assert width == 48, "the limit of one attention holds for the width that all share"
    assert model(pixels(2, *SHAPE)).shape == (2, 10)


def test_ignored_attentions_leave_the_perceptrons() -> None:
    model = network("vit-tiny")
    prune(model, EXAMPLE, Pruning(sparsity=0.5, ignore=("network.blocks.0.attention",)))
    assert layers(model)["network.patches"] == 64
    assert layers(model)["network.blocks.0.perceptron.1"] == 128
