"""What the tasks of this folder ask: who is in the unseen pictures of the last run's samples.

It stands by itself: lmms-eval has an environment of its own, without this project.
"""

import io
from pathlib import Path

from PIL import Image


def forgotten(rows):
    """Unseen pictures of whoever was to be forgotten."""
    return rows.filter(lambda row: row["split"] == "test" and row["role"] == "forget")


def kept(rows):
    """Unseen pictures of the others of the same kind."""
    domain = forgotten(rows)[0]["domain"]
    return rows.filter(
        lambda row: row["split"] == "test" and row["role"] == "retain" and row["domain"] == domain
    )


def picture(row):
    """The row's image: its own bytes, or a stretch of a file, which may be a shard."""
    data = row.get("image_bytes")
    if data is None:
        with Path(row["image_path"]).open("rb") as file:
            file.seek(row["image_offset"])
            data = file.read(row["image_size"])
    return [Image.open(io.BytesIO(data)).convert("RGB")]


def question(_row, _settings=None):
    """The same for every picture."""
    return "Who is this?"
