"""Training: tasks by name, all run by the one loop of `tedi.training.loop`.

An entry is a function that makes the task from the run's `Settings`.
"""

from tedi.registry import Table

TASKS = Table(
    "training task",
    {
        "attributes": "tedi.training.attributes:make_task",
        "base": "tedi.training.base:make_task",
        "codes": "tedi.training.codes:make_task",
        "mapper": "tedi.training.mapper:make_task",
        "parser": "tedi.training.parser:make_task",
        "preview": "tedi.training.preview:make_task",
        "restyle": "tedi.training.restyle:make_task",
        "structure": "tedi.training.structure:make_task",
        "stylegan3": "tedi.training.stylegan3:make_task",
        "tedigan": "tedi.training.tedigan:make_task",
        "text": "tedi.training.text:make_task",
        "visual": "tedi.training.visual:make_task",
    },
)
