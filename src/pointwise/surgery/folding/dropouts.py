"""Modules that do something in training only."""

from torch import nn

from pointwise.nn.dropout import Dropout
from pointwise.surgery.folding.network import Findings, Network, Step

DROPOUTS = (
    Dropout,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)

OTHER_DROPOUTS = {
    ("torchvision.ops.stochastic_depth", "StochasticDepth"),
    ("timm.layers.drop", "DropPath"),
    ("timm.layers.drop", "DropBlock2d"),
    ("transformers.models.convnext.modeling_convnext", "ConvNextDropPath"),
    ("transformers.models.dinov2.modeling_dinov2", "Dinov2DropPath"),
    ("transformers.models.swin.modeling_swin", "SwinDropPath"),
}
"""Classes of other libraries, which are not imported for it."""


def remove_dropouts(network: Network) -> Findings:
    """Find the dropouts, stochastic depth among them: in evaluation they do nothing.

    Args:
        network: The network.

    Returns:
        A step for each of them, and the reasons for those that must stay.
    """
    findings = Findings()
    for path, module in network.modules.items():
        name = (type(module).__module__, type(module).__name__)
        if type(module) not in DROPOUTS and name not in OTHER_DROPOUTS:
            continue
        reason = network.refusal(path)
        if reason is None:
            findings.add(Step({path: nn.Identity()}, {path: "does nothing in evaluation"}))
        else:
            findings.reasons[path] = reason
    return findings
