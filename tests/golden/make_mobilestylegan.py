"""Writes mobilestylegan.npz: what OpenVINO computes from the released files, in float32.

    pip install openvino
    python tests/golden/make_mobilestylegan.py FOLDER

FOLDER is `random_face/data` of the wheel random-face 2021.7.21.1, which holds the two IR models.
"""

import sys
from pathlib import Path

import numpy as np
import openvino

HERE = Path(__file__).parent
FACES = [0, 1, 2]  # of data/tedifaces
PSI = 0.7
SIDE = 8  # pixels that a picture is reduced to


def compiled(xml):
    """The model as a function of one array, computing in float32."""
    core = openvino.Core()
    model = core.compile_model(core.read_model(xml), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda array: next(iter(model([array]).values()))


def main(folder):
    mapping = compiled(folder / "MappingNetwork.xml")
    synthesis = compiled(folder / "SynthesisNetwork.xml")
    z = np.random.default_rng(20261121).standard_normal((4096, 512)).astype("float32")[FACES]
    w_avg = np.load(HERE.parents[1] / "data" / "tedifaces" / "w_avg.npy")
    w = np.concatenate([mapping(row[None]) for row in z])
    images = np.concatenate([synthesis((w_avg + PSI * (row - w_avg))[None]) for row in w])
    reduced = images.reshape(len(w), 3, SIDE, 1024 // SIDE, SIDE, 1024 // SIDE).mean(axis=(3, 5))
    np.savez(
        HERE / "mobilestylegan.npz",
        maker=f"OpenVINO {openvino.__version__}, CPU, float32",
        faces=FACES,
        psi=PSI,
        w=w[:, :16],
        reduced=reduced,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
