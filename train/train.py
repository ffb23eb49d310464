"""Trains what a config says: python train/train.py configs/text.yaml.

The run resumes from its folder if it was stopped. `--set` changes single settings.
"""

import argparse
import logging
import sys
from pathlib import Path

import yaml

from tedi import config
from tedi.errors import TediError, UsageError
from tedi.training import TASKS
from tedi.training.loop import Settings, run


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 trained, 1 failed, 2 called wrongly."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a YAML of configs/")
    parser.add_argument("--folder", type=Path, help="for checkpoints; default runs/NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dry-run", action="store_true", help="print the settings and stop")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for noisy in ("httpx", "accelerate"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = read(options.config, options.set)
        if options.dry_run:
            print(yaml.safe_dump(vars(settings), sort_keys=False))
            return 0
        folder = options.folder or Path("runs") / options.config.stem
        run(TASKS[settings.task](settings), settings, folder=folder)
    except TediError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read(path: Path, changes: list[str]) -> Settings:
    """Settings of a YAML with single values changed; "options.NAME" is a task's own."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TediError(f"{path}: cannot be read as YAML ({error})") from error
    for change in changes:
        name, equals, text = change.partition("=")
        group, dot, option = name.partition(".")
        if not equals or (dot and group != "options"):
            raise UsageError(f"--set: expected NAME=VALUE or options.NAME=VALUE, got {change!r}")
        value = yaml.safe_load(text)
        values |= {"options": values.get("options", {}) | {option: value}} if dot else {name: value}
    return config.build(Settings, values, where=str(path))


if __name__ == "__main__":
    sys.exit(main())
