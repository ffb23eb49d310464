"""Trains an encoder that looks again, beside the shipped visual encoder.

No weights of it are shipped. After 150 steps persons were 0.016 nearer at full size, and nothing
else was better; four steps of in-domain inversion bring them 0.17 nearer in three times the time.

What it writes is an encoder for `tedi invert photo.jpg --method restyle --encoder FILE`.

For StyleGAN2 or 3 of one's own, the network and settings of ReStyle-e4e are in another config:

    python train/train.py configs/restyle-file.yaml --set options.generator=mine.safetensors

Its `options.photos` and `options.photo_cache` are the photos; what it writes is an encoder for
`tedi invert photo.jpg --generator mine.safetensors --encoder restyle.safetensors`.
"""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/restyle.yaml", *sys.argv[1:]]))
