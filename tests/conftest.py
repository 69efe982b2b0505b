"""What every test shares: one thread, so that results and times do not depend on the machine's load."""

import pytest
import torch
from hypothesis import settings

# Files that take more than a minute; a file is one worker's, and a long one that begins last keeps all others waiting.
LONGEST = (
    "test_end_to_end.py",
    "test_razor.py",
    "test_drawing.py",
    "test_kills.py",
    "test_redirection.py",
    "test_hardening.py",
    "test_outage.py",
    "test_drawings.py",
    "test_airflow.py",
    "test_slips.py",
    "test_assistants.py",
)

torch.set_num_threads(1)
settings.register_profile("project", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; all others as they came."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
