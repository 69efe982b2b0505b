"""Batches that are made when asked for: the same bits as all at once, and never more than a few in memory."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from families.cases import portraits, tiny_clip
from razor_pipeline.core.cached import CachedBatches
from razor_pipeline.families.batches import RowBatch, Streamed
from razor_pipeline.families.images import AT_ONCE, decoded, preprocessed
from razor_pipeline.pictures import READERS

CPU = torch.device("cpu")


@dataclass(frozen=True)
class NumberBatch(RowBatch):
    number_B: Tensor

    def __len__(self):
        return len(self.number_B)


class Maker:
    """Makes batches of numbers, and knows which of them are still alive."""

    def __init__(self):
        self.alive = weakref.WeakSet()
        self.most, self.made = 0, 0

    def read(self, rows):
        return torch.tensor(rows["number"].to_numpy())

    def batch(self, _, number_B):
        batch = NumberBatch(number_B)
        self.alive.add(batch.number_B)
        self.made += 1
        self.most = max(self.most, len(self.alive))
        return batch


def numbers(count, size=3):
    maker = Maker()
    rows = pd.DataFrame({"number": range(count)})
    return Streamed(rows, np.arange(count), size, maker.read, maker.batch, CPU), maker


def values(batches):
    return [batch.number_B.tolist() for batch in batches]


@pytest.mark.parametrize("count", [0, 1, 3, 10, 40])
def test_every_row_comes_once_and_in_order(count):
    batches, _ = numbers(count)
    assert values(batches) == [list(range(i, min(i + 3, count))) for i in range(0, count, 3)]
    assert values(batches) == values(batches[i] for i in range(len(batches)))


def test_a_cut_has_the_batches_of_the_whole():
    batches, _ = numbers(40)
    whole = values(batches)
    for cut in (slice(2, 5), slice(1, None, 4), slice(20, None)):
        assert values(batches[cut]) == whole[cut]
    assert batches[-1].number_B.tolist() == whole[-1]


def test_a_pass_holds_a_few_batches_whatever_the_rows():
    for count in (300, 3000):
        batches, maker = numbers(count)
        for batch in batches:
            gc.collect(0)
            assert len(batch) == 3
        assert maker.most <= READERS + 2
    _, maker = numbers(300)
    rows = pd.DataFrame({"number": range(300)})
    held = list(Streamed(rows, np.arange(300), 3, maker.read, maker.batch, CPU))  # control
    assert len(held) == maker.most == 100


def test_what_is_cached_is_made_once_and_the_rest_again():
    for limit, made in ((0, 20), (3 * 24, 17), (1 << 20, 10)):
        batches, maker = numbers(30)
        cached = CachedBatches(batches, limit)
        assert values(cached) == values(cached) == values(numbers(30)[0])
        assert maker.made == made


def test_an_error_while_reading_reaches_who_asked():
    batches, _ = numbers(30)

    def broken(rows):
        if 12 in rows["number"].to_numpy():
            raise ValueError("row 12")
        return torch.tensor(rows["number"].to_numpy())

    seen = []
    with pytest.raises(ValueError, match="row 12"):
        seen.extend(
            len(batch) for batch in Streamed(batches.rows, batches.order, 3, broken, batches.made, CPU)
        )
    with pytest.raises(ValueError, match="row 12"):
        Streamed(batches.rows, batches.order, 3, broken, batches.made, CPU)[4]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def test_lazily_read_is_bit_for_bit_what_was_read_at_once(clip, tmp_path):
    rows = portraits().head(23).reset_index(drop=True)
    at_once = clip.image_processor(images=decoded(rows), return_tensors="pt")["pixel_values"]
    shard = tmp_path / "pictures"
    shard.write_bytes(b"".join(rows["image_bytes"]))
    sizes = rows["image_bytes"].map(len)
    pointing = rows.assign(
        image_bytes=None,
        image_path=str(shard),
        image_offset=sizes.cumsum() - sizes,
        image_size=sizes,
    )
    for source in (rows, pointing):
        found = torch.cat([batch.pixel_values_B3HW for batch in clip.batches(source, 5)])
        assert torch.equal(found, at_once)
    groups = torch.cat([batch.group_B for batch in clip.batches(pointing, 5)])
    assert torch.equal(groups, clip.batches(rows, 23)[0].group_B)


def test_photographs_are_made_small_a_few_at_a_time(clip):
    """The same bits as all at once; control: more than a few were asked for."""
    manifest, processor = portraits().head(20), clip.image_processor
    seen = []

    def spy(images, return_tensors):
        seen.append(len(images))
        return processor(images=images, return_tensors=return_tensors)

    found = preprocessed(manifest, spy)
    assert max(seen) <= AT_ONCE < sum(seen) == len(manifest)
    assert torch.equal(found, processor(images=decoded(manifest), return_tensors="pt")["pixel_values"])
