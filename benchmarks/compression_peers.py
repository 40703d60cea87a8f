"""Other tools that compress a network to a share of its multiply-adds, as their pages say.

Tools that are not installed are named and left out. The first convolution and, for pruning, the
last layer stay as they are, as in the tools' own examples; where the budget is then out of reach,
the first convolution is given, too.
"""

import contextlib
import copy
import importlib.util
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from compression_subjects import Subject
from pointwise.compression.budget import count_costs
from pointwise.compression.calibration import BATCH
from pointwise.compression.fitting.recalibrate import norms_of, recalibrate

PACKAGES = {
    "AIMET": "aimet_torch",
    "fasterai": "fasterai",
    "Torch-Pruning": "torch_pruning",
    "tensorly-torch": "tltorch",
}

HALVINGS = 9
"""Steps of the search for the option that just keeps to a budget, where a tool takes no budget."""

Compress = Callable[[Subject, float], nn.Module]


def installed(tool: str) -> bool:
    """Whether a tool is here."""
    return importlib.util.find_spec(PACKAGES[tool]) is not None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the tools print and warn of."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), Path(os.devnull).open("w", encoding="utf-8") as nothing:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
            try:
                yield
            finally:
                logging.disable(logging.NOTSET)


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))


def last_layer(network: nn.Module) -> nn.Module:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]


def macs(network: nn.Module, subject: Subject) -> int:
    return count_costs(network, subject.example).macs


def within(
    share: float, subject: Subject, make: Callable[[float], nn.Module]
) -> tuple[float, nn.Module]:
    """The least strength, of 0 to 1, at which a tool keeps to a budget, and its network."""
    limit = share * macs(subject.network, subject)
    low, high, best = 0.0, 1.0, None
    for _ in range(HALVINGS):
        strength = (low + high) / 2
        made = make(strength)
        if macs(made, subject) <= limit:
            high, best = strength, made
        else:
            low = strength
    if best is None:
        raise ValueError(f"no setting reaches {share:.2f} of the multiply-adds")
    return high, best


def with_or_without_stem(
    share: float, subject: Subject, make: Callable[[float, list[str]], nn.Module]
) -> tuple[float, list[str], nn.Module]:
    """As ``within``; the first convolution is kept if the budget is then within reach."""
    stem, _ = first_convolution(subject.network)
    try:
        strength, made = within(share, subject, lambda one: make(one, [stem]))
        return strength, [stem], made
    except ValueError:
        strength, made = within(share, subject, lambda one: make(one, []))
        return strength, [], made


# --- AIMET ---


def aimet(scheme: str, folder: Path) -> Compress:
    """Greedy choice of every layer's ratio by labelled evaluations, then one network per budget."""

    def run(subject: Subject, share: float) -> nn.Module:
        names = "-".join(map(str, subject.name.values()))
        scores = (folder / f"aimet-{scheme}-{names}.pkl").resolve()
        made = aimet_once(scheme, subject, share, scores, monotonic=False)
        if macs(made, subject) > (share + 0.005) * macs(subject.network, subject):
            made = aimet_once(scheme, subject, share, scores, monotonic=True)
        return made

    return run


def aimet_once(
    scheme: str, subject: Subject, share: float, scores: Path, *, monotonic: bool
) -> nn.Module:
    """One network. Evaluations are kept for other budgets, and fitted by a monotonic function
    where scores are not, which AIMET's page advises."""
    importlib.import_module("torchvision_models")  # torchvision without its operators, too
    from aimet_torch import defs
    from aimet_torch.common.defs import (
        CompressionScheme,
        CostMetric,
        GreedySelectionParameters,
        RankSelectScheme,
    )
    from aimet_torch.compress import ModelCompressor

    greedy = GreedySelectionParameters(
        target_comp_ratio=share,
        use_monotonic_fit=monotonic,
        saved_eval_scores_dict=str(scores) if scores.exists() else None,
    )
    network = copy.deepcopy(subject.network)
    ignore = [first_convolution(network)[1]]
    if scheme == "spatial":
        kind = defs.SpatialSvdParameters
        chosen = kind.AutoModeParams(greedy, modules_to_ignore=ignore)
    else:
        kind = defs.WeightSvdParameters
        chosen = kind.AutoModeParams(RankSelectScheme.greedy, greedy, modules_to_ignore=ignore)
    with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):
        made, _ = ModelCompressor.compress_model(
            network,
            eval_callback=lambda one, *_, **__: subject.score_labelled(one),
            eval_iterations=None,
            input_shape=tuple(subject.example.shape),
            compress_scheme=CompressionScheme[f"{scheme}_svd"],
            cost_metric=CostMetric.mac,
            parameters=kind(kind.Mode.auto, chosen),
        )
        if not scores.exists():
            found = Path("data", "greedy_selection_eval_scores_dict.pkl")
            scores.write_bytes(found.read_bytes())
    result: nn.Module = made
    return result


# --- Torch-Pruning ---


def pruning(kind: str) -> Compress:
    """Channels pruned by one ratio, the norm of their group or Taylor's first term choosing."""

    def run(subject: Subject, share: float) -> nn.Module:
        import torch_pruning as tp

        def make(ratio: float) -> nn.Module:
            network = copy.deepcopy(subject.network)
            if kind == "taylor":
                importance: Any = tp.importance.GroupTaylorImportance()
                loss = F.cross_entropy(
                    network(subject.images[:128]), subject.labels[:128].long(), ignore_index=11
                )
                loss.backward()
            else:
                importance = tp.importance.GroupMagnitudeImportance(p=2)
            pruner = tp.pruner.BasePruner(
                network,
                subject.example,
                importance=importance,
                global_pruning=kind == "taylor",
                pruning_ratio=ratio,
                ignored_layers=[last_layer(network)],
            )
            pruner.step()
            network.zero_grad()
            return network

        return within(share, subject, make)[1]

    return run


# --- fasterai ---


def fasterai(method: str) -> Compress:
    """The same share of the rank removed from every convolution."""

    def run(subject: Subject, share: float) -> nn.Module:
        from fasterai.misc.conv_decomposer import Conv_Decomposer

        def make(removed: float, kept: list[str]) -> nn.Module:
            made: nn.Module = Conv_Decomposer().decompose(
                subject.network, percent_removed=min(removed, 0.999), method=method, exclude=kept
            )
            return made.eval()

        return with_or_without_stem(share, subject, make)[2]

    return run


# --- tensorly-torch ---


def tensorly(subject: Subject, share: float) -> nn.Module:
    """Every convolution as a Tucker tensor with the same share of its parameters."""
    from tltorch import FactorizedConv

    def make(removed: float, kept: list[str], *, decompose: bool = False) -> nn.Module:
        network = copy.deepcopy(subject.network)
        for name, module in subject.network.named_modules():
            if not isinstance(module, nn.Conv2d) or name in kept:
                continue
            factored = FactorizedConv.from_conv(
                network.get_submodule(name),
                rank=1 - min(removed, 0.999),
                factorization="tucker",
                implementation="factorized",
                decompose_weights=decompose,
            )
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, factored)
        return network.eval()

    removed, kept, _ = with_or_without_stem(share, subject, make)  # of sizes alone: quick
    return make(removed, kept, decompose=True)


def peers(folder: Path) -> dict[str, tuple[str, Compress]]:
    """Tool and function of every peer by name; AIMET's evaluations are kept in a folder."""
    return {
        "AIMET spatial SVD, greedy": ("AIMET", aimet("spatial", folder)),
        "fasterai Tucker": ("fasterai", fasterai("tucker")),
        "fasterai SVD": ("fasterai", fasterai("svd")),
        "tensorly-torch Tucker": ("tensorly-torch", tensorly),
        "Torch-Pruning L2 group": ("Torch-Pruning", pruning("l2")),
        "Torch-Pruning Taylor, global": ("Torch-Pruning", pruning("taylor")),
        "AIMET weight SVD, greedy": ("AIMET", aimet("weight", folder)),
    }


# --- What we may add to them ---


def recalibrated(network: nn.Module, subject: Subject) -> nn.Module | None:
    """A peer's network with norms that know it; ``None`` if there are no norms."""
    if not norms_of(network):
        return None
    network = copy.deepcopy(network)
    batches = list(subject.images.split(BATCH))
    before, after = norms_of(subject.network), norms_of(network)
    shapes = [
        {path: norm.num_features for path, norm in norms.items()} for norms in (before, after)
    ]
    if shapes[0] == shapes[1]:
        recalibrate(network, subject.network, batches)
        return network
    for norm in after.values():  # channels were pruned: from nothing, the mean over all batches
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    return network.eval()
