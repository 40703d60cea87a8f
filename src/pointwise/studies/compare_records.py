"""What a comparison keeps: the network for each question, and every training's mistakes."""

from dataclasses import dataclass
from typing import Any

from pointwise.studies.contenders import KINDS, Kind
from pointwise.studies.matching import MATCHINGS, Matching, Widths


@dataclass(frozen=True)
class Entry:
    """A contender in one of the matchings.

    Attributes:
        matching: What is equal.
        kind: The contender.
        widths: Channels of its stages.
        params: Its parameters.
        macs: Multiply-adds of one image.
        ratio: What is matched, divided by the reference's.
    """

    matching: Matching
    kind: Kind
    widths: Widths
    params: int
    macs: int
    ratio: float

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Entry":
        """An entry as ``asdict`` wrote it; KeyError or ValueError for anything else."""
        if kept["matching"] not in MATCHINGS or kept["kind"] not in KINDS:
            raise ValueError("an unknown matching or contender")
        return cls(
            kept["matching"],
            kept["kind"],
            tuple(map(int, kept["widths"])),
            int(kept["params"]),
            int(kept["macs"]),
            float(kept["ratio"]),
        )


@dataclass(frozen=True)
class Cell:
    """One finished training.

    Attributes:
        kind: The contender.
        widths: Channels of its stages.
        seed: Seed of its weights, its order of images and its augmentation.
        wrong: Numbers of the test images that it classifies wrongly.
        loss: Mean cross-entropy on the test images.
        images: Number of test images.
        seconds: Seconds that the training took.
        best_epoch: Epoch whose weights were kept.
    """

    kind: Kind
    widths: Widths
    seed: int
    wrong: tuple[int, ...]
    loss: float
    images: int
    seconds: float
    best_epoch: int

    @property
    def error(self) -> float:
        """Share of the test images classified wrongly."""
        return len(self.wrong) / self.images

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> "Cell":
        """A cell as ``asdict`` wrote it; KeyError or ValueError for anything else."""
        wrong, images = tuple(map(int, kept["wrong"])), int(kept["images"])
        if kept["kind"] not in KINDS or len(set(wrong)) < len(wrong):
            raise ValueError("an unknown contender, or an image twice")
        if not all(0 <= number < images for number in wrong):
            raise ValueError("an image that is not there")
        return cls(
            kept["kind"],
            tuple(map(int, kept["widths"])),
            int(kept["seed"]),
            wrong,
            float(kept["loss"]),
            images,
            float(kept["seconds"]),
            int(kept["best_epoch"]),
        )
