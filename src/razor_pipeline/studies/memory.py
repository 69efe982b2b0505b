"""What passes over many rows, and a manifest of very many, cost in memory; each measured in a process of its own.

The model is tiny and has random weights, and the rows point to the same few members of a shard again and again: it is
the growth with the rows that is looked for.
"""

from __future__ import annotations

import hashlib
import io
import resource
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

from razor_pipeline.datasets.files import ParquetDataset
from razor_pipeline.datasets.sources import image_captions
from razor_pipeline.families.clip_pretraining import new_clip
from razor_pipeline.methods.scoring import retain_pass
from razor_pipeline.params.data import AtelierParams, DataParams, SplittingParams
from razor_pipeline.params.pretraining import ClipArchitecture, PretrainingParams
from razor_pipeline.params.razor import ScoringParams
from razor_pipeline.params.studies import MemoryParams
from razor_pipeline.splitting import split_samples

SIZE, CLASSES, EACH = 32, 8, 8
TINY = ClipArchitecture(
    width=32, heads=2, vision_layers=1, text_layers=1, patch_size=16, projection=16, vocabulary=300
)
MIB = 1024.0
Row = dict[str, Any]


def memory_rows(params: MemoryParams) -> pd.DataFrame:
    """``what, rows, seconds, peak_mib, added_mib``: a row for each pass and each step of a long manifest's life.

    ``peak_mib`` is the highest resident memory of the process, ``added_mib`` by how much that is more than before,
    with the model loaded and a first batch done.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # the libraries are opened once, for all processes
    with TemporaryDirectory() as folder:
        shard, table = Path(folder) / "pictures.tar", Path(folder) / "manifest.parquet"
        write_shard(shard)
        steps: list[tuple[Callable[[Path, int], Row], Path, int]] = [
            (gradient_pass, shard, count) for count in params.passes
        ]
        steps += [(step, table, params.manifest) for step in (written, loaded, split)]
        found = []
        for step, path, count in tqdm(steps, desc="memory", disable=None):
            with ProcessPoolExecutor(1, mp_context=context) as own:
                found.append({"what": step.__name__, "rows": count} | own.submit(step, path, count).result())
        return pd.DataFrame(found)


def write_shard(path: Path) -> None:
    """A few small pictures of a few classes."""
    with tarfile.open(path, "w") as shard:
        for number in range(CLASSES * EACH):
            values = np.random.default_rng(number).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
            picture = io.BytesIO()
            Image.fromarray(values).save(picture, "PNG")
            label = f"class {number % CLASSES}".encode()
            for kind, data in (("png", picture.getvalue()), ("cls", label), ("txt", b"a photo of " + label)):
                entry = tarfile.TarInfo(f"{number:04d}.{kind}")
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))


def many_rows(shard: Path, count: int) -> pd.DataFrame:
    """A manifest of ``count`` rows, each with a name of its own, over the few pictures of a shard."""
    few, _ = image_captions(DataParams(source="folder", path=str(shard)), AtelierParams())
    rows = few.iloc[np.arange(count) % len(few)].reset_index(drop=True)
    return rows.assign(sample_id=[f"{place:09d}" for place in range(count)])


def gradient_pass(shard: Path, count: int) -> Row:
    """The retain pass of scoring."""
    sizes = PretrainingParams(image_size=SIZE, clip=TINY)
    rows = many_rows(shard, count)
    model = new_clip(sorted(set(rows["caption"])), sizes)
    generator, params = torch.Generator(), ScoringParams()
    retain_pass(model, rows.head(params.batch_size), params, generator)
    return _measured(lambda: retain_pass(model, rows, params, generator))


def written(table: Path, count: int) -> Row:
    """A manifest whose every row has a path and a hash of its own, written."""
    shard = table.with_name("pictures.tar")
    rows = many_rows(shard, count)
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in rows["sample_id"]]
    rows = rows.assign(sha256=hashes, image_path="shards/" + rows["sample_id"] + ".tar")
    found = _measured(lambda: ParquetDataset(filepath=str(table)).save(rows))
    return found | {"file_mib": table.stat().st_size / MIB**2}


def loaded(table: Path, count: int) -> Row:  # noqa: ARG001
    """The same manifest, read."""
    return _measured(lambda: ParquetDataset(filepath=str(table)).load())


def split(table: Path, count: int) -> Row:
    """Its rows with their roles, every one that can be retained among them."""
    rows = ParquetDataset(filepath=str(table)).load()
    params = SplittingParams(max_retain_samples=count)
    return _measured(lambda: split_samples(rows, ["class 0"], params, 0))


def _measured(work: Callable[[], Any]) -> Row:
    before, start = _peak_mib(), time.perf_counter()
    work()
    seconds, peak = time.perf_counter() - start, _peak_mib()
    return {"seconds": seconds, "peak_mib": peak, "added_mib": peak - before}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def memory_table(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The figures in the form of all tables, and how flat the passes are: the highest peak over the lowest."""
    figures = {
        f"{row['what']}_{row['rows']}_{name}": float(row[name])
        for row in rows.to_dict("records")
        for name in ("seconds", "peak_mib", "added_mib", "file_mib")
        if row[name] == row[name]
    }
    peaks = rows.loc[rows["what"] == gradient_pass.__name__, "peak_mib"]
    figures["pass_peak_largest_over_smallest"] = float(peaks.max() / peaks.min())
    return {
        name: dict.fromkeys(("mean", "worst", "low", "high"), value) | {"n": 1}
        for name, value in figures.items()
    }


def memory_text(rows: pd.DataFrame) -> str:
    """The rows for a terminal."""
    return "\n".join(_lines(rows))


def _lines(rows: pd.DataFrame) -> Iterator[str]:
    yield "Memory of passes and manifests, one process each"
    yield f"{'':16}{'rows':>10}{'seconds':>10}{'peak, MiB':>12}{'added, MiB':>12}"
    for row in rows.itertuples():
        yield f"{row.what:16}{row.rows:10,}{row.seconds:10.1f}{row.peak_mib:12.0f}{row.added_mib:12.0f}"
