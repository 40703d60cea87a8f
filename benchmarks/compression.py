"""How much accuracy does compression cost? Networks trained here, beside AIMET and others.

Everything that is finished is kept in the cache folder: run the same command again to go on.
Networks that are not trained yet are left out, unless --train is given; the U-Net's are model
folders of ``benchmarks/camvid.py``'s segmenter, one per training. At most 1024 images of the
training part are used, without their labels, which only AIMET and Torch-Pruning's Taylor are given;
scores are on all test images.

    python benchmarks/compression.py [--parts oneshot tried peers latency cost budget recovery]
        [--networks lenet nin resnet20 vgg unet resnet18] [--seeds 3] [--train] [--unet FOLDER ...]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

import compression_parts as parts
from compression_jobs import Job
from compression_subjects import RESNET18, TITLES, subjects
from pointwise.studies.cells import CellCache

CACHE = Path(tempfile.gettempdir()) / "pointwise-compression"

PARTS: dict[str, Callable[[Sequence[Job]], None]] = {
    "oneshot": parts.oneshot,
    "tried": parts.tried,
    "peers": parts.peers,
    "latency": parts.latency,
    "cost": parts.cost,
    "budget": parts.budget,
    "recovery": parts.recovery,
}


def tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--networks", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", action="store_true", help="train what is not trained yet")
    parser.add_argument(
        "--unet", type=Path, nargs="+", default=[], help="model folders of segmenters of CamVid"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"default: {CACHE}")
    asked = parser.parse_args()
    cache = CellCache(asked.cache, say=tell)
    cache.make_folder()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    jobs = []
    for key in asked.networks:
        found = subjects(key, asked.seeds, cache, unets=asked.unet, start=asked.train, say=tell)
        job = Job(key, tuple(found), cache, tell)
        if job.subjects:
            jobs.append(job)
    for part in asked.parts:
        PARTS[part]([job for job in jobs if part == "cost" or job.key != RESNET18])


if __name__ == "__main__":
    main()
