"""Published networks, each named by its paper."""

from pointwise.networks.googlenet import GoogLeNet, googlenet
from pointwise.networks.mask_rcnn import MaskRCNN, mask_rcnn
from pointwise.networks.mobilenet_v1 import MobileNetV1, mobilenet_v1
from pointwise.networks.mobilenet_v2 import MobileNetV2, mobilenet_v2
from pointwise.networks.network_in_network import NetworkInNetwork, nin_cifar, nin_mnist
from pointwise.networks.registry import NETWORKS, build
from pointwise.networks.resnet import ResNet, resnet50, resnet101
from pointwise.networks.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from pointwise.networks.unet import UNet, attention_unet, unet

__all__ = [
    "NETWORKS",
    "GoogLeNet",
    "MaskRCNN",
    "MobileNetV1",
    "MobileNetV2",
    "NetworkInNetwork",
    "ResNet",
    "SqueezeNet",
    "UNet",
    "attention_unet",
    "build",
    "googlenet",
    "mask_rcnn",
    "mobilenet_v1",
    "mobilenet_v2",
    "nin_cifar",
    "nin_mnist",
    "resnet50",
    "resnet101",
    "squeezenet1_0",
    "squeezenet1_1",
    "unet",
]
