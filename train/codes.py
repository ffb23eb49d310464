"""Rebuilds the code reader from nothing, in five stages of judged codes."""

import sys

from train import stages

STAGES = (
    *(
        [
            "configs/codes.yaml",
            f"--folder=runs/codes-{stage}",
            f"--set=out=runs/codes-{stage}.safetensors",
            f"--set=options.stage={stage}",
            f"--set=options.start={start}",
        ]
        for stage, start in enumerate(["''", *(f"runs/codes-{i}.safetensors" for i in range(3))])
    ),
    ["configs/codes.yaml"],
)

if __name__ == "__main__":
    sys.exit(stages(STAGES, sys.argv[1:]))
