"""Measure what many rows cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline.params.studies import MemoryParams
from razor_pipeline.studies.memory import memory_rows, memory_table, memory_text


def measure_memory(memory: MemoryParams) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """A row per pass and per step of a manifest, the table, and the rows as text."""
    rows = memory_rows(memory)
    return rows, memory_table(rows), memory_text(rows)
