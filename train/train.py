"""Trains what a config says: python train/train.py configs/text.yaml.

The run resumes from its folder if it was stopped. `--set` changes single settings: with
`--set device=cuda` it trains on a GPU, and with `--set device=auto` where there is one. What is
shipped was trained on CPUs, the default.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tedi import config
from tedi.errors import TediError, UsageError
from tedi.training import TASKS
from tedi.training.loop import Settings, run

log = logging.getLogger("train")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a YAML of configs/")
    parser.add_argument("--folder", type=Path, help="for checkpoints; default runs/NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dry-run", action="store_true", help="print the settings and stop")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 trained, 1 failed, 2 called wrongly."""
    options = parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for noisy in ("httpx", "accelerate"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = read(options.config, options.set)
        if options.dry_run:
            print(yaml.safe_dump(vars(settings), sort_keys=False))
            return 0
        log.info("training on %s", settings.place)  # or it is said that there is no such device
        folder = options.folder or Path("runs") / options.config.stem
        run(TASKS[settings.task](settings), settings, folder=folder)
    except TediError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def stages(every: Sequence[Sequence[str]], arguments: Sequence[str]) -> int:
    """Exit status of runs one after the other; the first that fails is the last.

    Args:
        every: arguments of each stage.
        arguments: of the caller, for the last stage; all stages get the device, and `--dry-run`.
    """
    *first, last = ([*stage] for stage in every)
    asked = parsed([*last, *arguments])
    shared = [f"--set={change}" for change in asked.set if change.startswith("device=")]
    shared += ["--dry-run"] * asked.dry_run
    for stage in first:
        if status := main([*stage, *shared]):
            return status
    return main([*last, *arguments])


def read(path: Path, changes: list[str]) -> Settings:
    """Settings of a YAML with single values changed; "options.NAME" is a task's own."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TediError(f"{path}: cannot be read as YAML ({error})") from error
    for change in changes:
        form = "NAME=VALUE or options.NAME=VALUE"
        name, value = config.assigned(change, where="--set", form=form)
        group, dot, option = name.partition(".")
        if dot and group != "options":
            raise UsageError(f"--set: expected {form}, got {change!r}")
        values |= {"options": values.get("options", {}) | {option: value}} if dot else {name: value}
    return config.build(Settings, values, where=str(path))


if __name__ == "__main__":
    sys.exit(main())
