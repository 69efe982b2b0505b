"""Resumable cells: a study survives being stopped, and repeats nothing that is done."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from razor_pipeline.datasets.atomic import replace_file
from razor_pipeline.fingerprint import digest

logger = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One unit of a study.

    Attributes:
        name: for the progress bar, e.g. ``Ada Moreau, seed 0``.
        key: everything that decides its result (code and libraries are added by the study).
        run: computes its row.
        names: what a row that failed still says of itself.
    """

    name: str
    key: Any
    run: Callable[[], Row]
    names: Row = field(default_factory=dict)


def run_cells(
    cells: Iterable[Cell], folder: Path, what: str, context: Any, keep_going: bool = False
) -> list[Row]:
    """The rows of all cells; those in ``folder`` under their fingerprint are read, the rest computed.

    Args:
        cells: the units, in the order of the rows.
        folder: where finished cells are kept.
        what: name of the study, for the progress bar.
        context: what decides the results of all cells alike: code, libraries, data, base model.
        keep_going: a cell that raises gives a row with its reason under ``failed``, and is tried again next time.
    """
    todo = list(cells)
    rows = []
    with tqdm(todo, desc=what, unit="cell", disable=None) as bar:
        for cell in bar:
            bar.set_postfix_str(cell.name)
            path = folder / f"{digest([context, cell.key])[:24]}.json"
            if not path.exists():
                try:
                    row = cell.run()
                except Exception as error:
                    if not keep_going:
                        raise
                    logger.exception("%s: %s failed", what, cell.name)
                    rows.append(cell.names | {"failed": f"{type(error).__name__}: {error}"})
                    continue
                with replace_file(path) as beside:
                    beside.write_text(json.dumps(row, indent=1))
                logger.info("%s: %s done", what, cell.name)
            rows.append(json.loads(path.read_text()))
    return rows
