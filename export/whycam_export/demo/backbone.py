"""Train the demo's backbone: a thin VGG19, from scratch, on frames of generated scenes.

    python -m whycam_export.demo.backbone -o backbone.npz

wrote `backbone.npz` beside this file. ImageNet's weights cannot be had offline and weigh 80 MB, so the demo brings its
own, a quarter as wide. Batch normalisation makes 16 layers trainable within minutes; it is folded into the convolutions
at the end, so that what is written is a plain VGG19. Not only the frame is asked for its class but every cell after
blocks 3, 4 and 5: else the last layers alone know what they look at. The seeds of its scenes start at `FIRST_SEED`, far
from those of the demo's own clips.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whycam_export.demo.stills import Stills, take_stills

FIRST_SEED = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate the frames, train, write the asset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=500, help="scenes of each class")
    parser.add_argument("--crop-steps", type=int, default=600)
    parser.add_argument("--whole-steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=Path, help="keep the generated frames in this .npz, or read them from it")
    options = parser.parse_args(arguments)
    held_out = take_stills(range(FIRST_SEED + 900_000, FIRST_SEED + 900_020))
    if options.frames is not None and options.frames.is_file():
        with np.load(options.frames) as kept:
            stills = Stills(kept["frames"], kept["labels"], kept["masks"])
    else:
        stills = take_stills(range(FIRST_SEED, FIRST_SEED + options.scenes))
        if options.frames is not None:
            np.savez(options.frames, frames=stills.frames, labels=stills.labels, masks=stills.masks)
    print(f"{len(stills.labels)} frames, {np.bincount(stills.labels).tolist()} per class", file=sys.stderr, flush=True)
    # Here, lest the workers that draw frames load TensorFlow too.
    from whycam_export.demo.backbone_fit import Course, train

    train(stills, held_out, options.output, Course(options.crop_steps, options.whole_steps), options.seed)


if __name__ == "__main__":
    main()
