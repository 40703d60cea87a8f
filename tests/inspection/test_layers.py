"""The layers of a network as a list, and the count of what they hold."""

import torch
from torch import nn

from pointwise.inspection import Layer, count_parameters, layers
from pointwise.nn import MLP, PointwiseConv


def test_layers_come_in_order_with_their_paths_and_sizes():
    network = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.ReLU(), PointwiseConv(2, 4)))
    assert layers(network) == [
        Layer("0", "Linear", "in_features=3, out_features=2, bias=True", 3 * 2 + 2),
        Layer("1.0", "ReLU", "", 0),
        Layer("1.1", "PointwiseConv", network[1][1].extra_repr(), 2 * 4 + 4),
    ]


def test_a_module_reached_twice_is_listed_and_counted_once():
    shared = nn.Linear(3, 3)
    network = nn.Sequential(shared, nn.ReLU(), shared)
    assert [layer.name for layer in layers(network)] == ["0", "1"]
    assert count_parameters(network) == 3 * 3 + 3


def test_tied_weights_are_counted_once_in_the_whole():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    assert count_parameters(network) == 3 * 3 + 3 + 3
    assert sum(layer.parameters for layer in layers(network)) == 2 * (3 * 3 + 3)


def test_a_module_without_children_is_its_own_layer():
    assert layers(nn.ReLU()) == [Layer("", "ReLU", "", 0)]


def test_buffers_are_no_parameters():
    norm = nn.BatchNorm1d(4)
    assert count_parameters(norm) == 2 * 4


def test_members_count_as_often_as_they_are():
    one, many = MLP([3, 8, 1]), MLP([3, 8, 1], members=5)
    assert count_parameters(one) == (3 * 8 + 8) + (8 * 1 + 1)
    assert count_parameters(many) == 5 * count_parameters(one)
    assert sum(layer.parameters for layer in layers(many)) == count_parameters(many)


def test_looking_changes_nothing():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    network[1].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layers(network)
    assert [module.training for module in network.modules()] == [False, False, True]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
