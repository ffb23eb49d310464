"""The command line: parses, prints, and turns errors into one line; a command is one file."""

import os
import sys

import click

import tedi
from tedi.cli.options import TableGroup
from tedi.errors import TediError

# Name -> where the command is, and its line in the list of commands, which imports none of them.
COMMANDS = {
    "generate": ("tedi.cli.generate:generate", "Faces that fit a text, at 1024 px."),
    "edit": ("tedi.cli.edit:edit", "A face changed by texts, step by step."),
    "draw": ("tedi.cli.draw:draw", "The drawing of a face, upright or as a photo has it."),
    "morph": ("tedi.cli.morph:morph", "Faces between two faces."),
    "mix": ("tedi.cli.mix:mix", "One face with some layers of others."),
    "diffuse": ("tedi.cli.diffuse:diffuse", "The inner face of one grown into another."),
    "video": ("tedi.cli.video:video", "A video with its face changed by texts."),
    "run": ("tedi.cli.redo:redo", "Pictures made again from a recipe or a picture."),
    "invert": ("tedi.cli.invert:invert", "Codes of the faces in photos."),
    "parse": ("tedi.cli.parse:parse", "Which part of a face each pixel shows."),
    "sketch": ("tedi.cli.sketch:sketch", "A line drawing of a face."),
    "compare": ("tedi.cli.compare:compare", "Whether pictures show one person."),
    "evaluate": ("tedi.cli.evaluate:evaluate", "How well pictures follow what they are asked."),
    "layers": ("tedi.cli.layers:layers", "Which slots of W+ carry which attribute."),
    "directions": ("tedi.cli.directions:directions", "Directions that change one thing."),
    "export": ("tedi.cli.export:export", "The generator as a file for other programs."),
    "weights": ("tedi.cli.weights:weights", "Weights by name: list, show, pull, path."),
}


@click.group(
    cls=TableGroup,
    table=COMMANDS,
    kind="command",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(tedi.__version__, message="tedi %(version)s")
def cli() -> None:
    """Faces from words, on your own machine.

    \b
    tedi generate "a smiling woman with bangs"
    tedi generate "an old man with a full beard" -n 8 --grid --out men.png
    tedi weights list
    """  # noqa: D301  "\b" is the character that keeps click from wrapping


def main() -> None:
    """Entry point: runs a command and exits with its status.

    0 done, 1 failed, 2 called wrongly, 130 stopped from the keyboard.
    """
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Exit status of the command line with these arguments; errors go to stderr as one line."""
    try:
        cli.main(arguments, prog_name="tedi", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2; its message is the help
            error.show()
            return error.exit_code
        return _fail(error.format_message(), error.exit_code)
    except TediError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped; what is finished stays", 130)
    except BrokenPipeError:  # the reader of stdout has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _fail(message: str, status: int) -> int:
    click.echo(f"tedi: {' '.join(message.split())}", err=True)
    return status
