"""What the tasks of this folder ask: who is in the unseen pictures of the last run's samples.

It stands by itself: lmms-eval has an environment of its own, without this project.
"""

import io

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
    """The row's image."""
    place = row.get("image_path") or None
    file = place if row.get("image_bytes") is None else io.BytesIO(row["image_bytes"])
    return [Image.open(file).convert("RGB")]


def question(_row, _settings=None):
    """The same for every picture."""
    return "Who is this?"
