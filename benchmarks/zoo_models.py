"""Networks for ``surgery_zoo.py``: torchvision's, timm's and transformers', on small inputs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchvision_models import torchvision


@dataclass(frozen=True)
class Entry:
    """One network: where it is from, its name, and how it and its input are made."""

    family: str
    name: str
    build: Callable[[], nn.Module]
    example: Callable[[], Any]


def images(size: int, samples: int = 2, frames: int = 0) -> Callable[[], Tensor]:
    shape = (samples, 3, frames, size, size) if frames else (samples, 3, size, size)
    return lambda: torch.randn(shape)


SIZES = {"inception_v3": 96, "maxvit_t": 224, "s3d": 224}
SIZES |= dict.fromkeys(["swin_t", "swin_s", "swin_b"], 224)
SIZES |= dict.fromkeys(["swin_v2_t", "swin_v2_s", "swin_v2_b"], 256)
"""Of torchvision's networks that need more than 64 positions along an axis, or pad less to windows
with them."""

BUILD_SIZES: dict[str, dict[str, Any]] = {
    "vit_": {"image_size": 64},
    "vit_h_14": {"image_size": 56},
}
"""Networks that are built for one size of input."""


def torchvision_entries() -> Iterator[Entry]:
    models = torchvision.models
    for part in (models, models.segmentation, models.video):
        for name in models.list_models(module=part):
            yield _torchvision(name, part.__name__.rsplit(".", 1)[1])


def _torchvision(name: str, part: str) -> Entry:
    options: dict[str, Any] = {"num_classes": 10} if part != "segmentation" else {}
    for start, more in BUILD_SIZES.items():
        if name.startswith(start):
            options |= more
    if part == "segmentation":
        options = {"weights_backbone": None, "num_classes": 5}
    if name in {"googlenet", "inception_v3"}:
        options["init_weights"] = False
    size = options.get("image_size", SIZES.get(name, 64))
    frames = (16 if name == "s3d" else 8) if part == "video" else 0
    return Entry(
        "torchvision",
        name,
        lambda: (_small_mvit if "mvit" in name else _build)(name, options),
        images(size, 1 if frames or size > 200 else 2, frames),
    )


def _build(name: str, options: dict[str, Any]) -> nn.Module:
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model


def known_parameters(name: str) -> int:
    """How many parameters torchvision says that a network has with a head of 1,000 classes."""
    try:
        weights = list(torchvision.models.get_model_weights(name))
    except ValueError:  # it is none of torchvision's
        return 0
    return max((weight.meta["num_params"] for weight in weights), default=0)


def _small_mvit(name: str, options: dict[str, Any]) -> nn.Module:
    """For small clips, which its public function does not let one choose."""
    module = torchvision.models.video.mvit
    make = module._mvit
    small = {"spatial_size": (64, 64), "temporal_size": 8}
    module._mvit = lambda **given: make(**{**given, **small})
    try:
        return _build(name, options)
    finally:
        module._mvit = make


TIMM: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "resnet26d": {},
    "resnet50": {},
    "resnext50_32x4d": {},
    "seresnet50": {},
    "ecaresnet26t": {},
    "wide_resnet50_2": {},
    "resnetv2_50": {},
    "res2net50_26w_4s": {},
    "regnetx_004": {},
    "regnety_004": {},
    "densenet121": {},
    "dpn68": {},
    "dla34": {},
    "hrnet_w18_small": {},
    "vovnet39a": {},
    "cspresnet50": {},
    "cspdarknet53": {},
    "darknet53": {},
    "xception41": {},
    "inception_v4": {"size": 192},
    "mobilenetv2_100": {},
    "mobilenetv3_small_100": {},
    "mobilenetv4_conv_small": {},
    "efficientnet_b0": {},
    "efficientnet_lite0": {},
    "tf_efficientnet_b0": {},
    "mixnet_s": {},
    "mnasnet_100": {},
    "ghostnet_100": {},
    "ghostnetv2_100": {},
    "fbnetc_100": {},
    "lcnet_050": {},
    "hardcorenas_a": {},
    "rexnet_100": {},
    "repvgg_a0": {},
    "mobileone_s0": {},
    "repghostnet_050": {},
    "fastvit_t8": {},
    "repvit_m0_9": {},
    "starnet_s1": {},
    "convnext_atto": {},
    "convnextv2_atto": {},
    "convmixer_768_32": {"blocks": 8},
    "poolformer_s12": {},
    "caformer_s18": {},
    "edgenext_xx_small": {},
    "efficientvit_b0": {},
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_patch16_224": {"img_size": 64},
    "deit3_small_patch16_224": {"img_size": 64},
    "beit_base_patch16_224": {"img_size": 64},
    "eva02_tiny_patch14_224": {"img_size": 56},
    "cait_xxs24_224": {"img_size": 64},
    "xcit_nano_12_p16_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"size": 224},
    "twins_pcpvt_small": {"size": 64},
    "pvt_v2_b0": {},
    "mixer_s16_224": {"img_size": 64},
    "resmlp_12_224": {"img_size": 64},
    "gmlp_s16_224": {"img_size": 64},
    "levit_128s": {"size": 224},
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "coatnet_nano_rw_224": {"size": 224},
    "tiny_vit_5m_224": {"size": 224},
    "davit_tiny": {"size": 64},
    "focalnet_tiny_srf": {"size": 64},
    "crossvit_tiny_240": {"size": 240},
    "nest_tiny": {"size": 224},
    "hgnetv2_b0": {},
    "tresnet_m": {},
}
"""Networks of timm: ``size`` is that of the input, ``img_size`` also that it is built for. Of
``blocks`` the first are taken: all 32 of a ConvMixer are chaotic with random weights, however they
are drawn."""


def timm_entries() -> Iterator[Entry]:
    for name, options in TIMM.items():
        yield _timm(name, dict(options))


def _timm(name: str, options: dict[str, Any]) -> Entry:
    size = options.pop("size", options.get("img_size", 64))
    blocks = options.pop("blocks", None)

    def build() -> nn.Module:
        import timm

        model: Any = timm.create_model(name, pretrained=False, num_classes=10, **options)
        if blocks is not None:
            model.blocks = model.blocks[:blocks]
        return model  # type: ignore[no-any-return]

    return Entry("timm", name, build, images(size))


TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
PICTURE = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
PAIR = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
TRANSFORMERS: dict[str, tuple[Mapping[str, Any], str]] = {
    "bert": (TEXT, "text"),
    "roberta": (TEXT, "text"),
    "electra": (TEXT, "text"),
    "albert": (TEXT | {"embedding_size": 16}, "text"),
    "mpnet": (TEXT, "text"),
    "distilbert": ({"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": 4}, "text"),
    "deberta-v2": (TEXT, "text"),
    "gpt2": ({"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4}, "text"),
    "gpt_neox": (TEXT, "text"),
    "opt": (
        {
            "vocab_size": 99,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "word_embed_proj_dim": 32,
        },
        "text",
    ),
    "llama": (TEXT, "text"),
    "mistral": (TEXT | {"num_key_value_heads": 2}, "text"),
    "qwen2": (TEXT | {"num_key_value_heads": 2}, "text"),
    "phi": (TEXT, "text"),
    "bart": (PAIR, "pair"),
    "t5": (
        {
            "vocab_size": 99,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
        },
        "pair",
    ),
    "vit": (PICTURE, "picture"),
    "deit": (PICTURE, "picture"),
    "dinov2": (PICTURE, "picture"),
    "convnext": ({"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}, "picture"),
    "segformer": (
        {
            "hidden_sizes": [8, 16, 24, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
        },
        "picture",
    ),
}
"""Tiny configurations of transformers, and what each takes."""


def transformers_entries() -> Iterator[Entry]:
    for name, (options, takes) in TRANSFORMERS.items():
        yield _transformers(name, dict(options), takes)


def _transformers(name: str, options: dict[str, Any], takes: str) -> Entry:
    def build() -> nn.Module:
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.for_model(name, **options)
        config.use_cache = False
        model: nn.Module = AutoModel.from_config(config)
        return model

    def example() -> dict[str, Tensor]:
        if takes == "picture":
            return {"pixel_values": torch.randn(2, 3, 32, 32)}
        ids = torch.randint(5, 90, (2, 9))
        return {"input_ids": ids} | ({"decoder_input_ids": ids} if takes == "pair" else {})

    return Entry("transformers", name, build, example)


FAMILIES: dict[str, Callable[[], Iterator[Entry]]] = {
    "torchvision": torchvision_entries,
    "timm": timm_entries,
    "transformers": transformers_entries,
}
