"""From measured ratios to what a run costs at scale, each figure with its calculation.

The unit of time is the forward and backward pass of one sample, all candidates' gradients included. A forward pass of
one costs ``v`` of the unit: of ``I`` retain samples at most to record inputs, and of ``V`` validation samples in every
evaluation. A corrective step goes forward and backward over ``S`` samples to keep, ``F`` to forget and ``M`` of these
under misspelt names, and the attacker that it resists takes ``A`` passes of one sample::

    units = (F + N) + v (min(N, I) + E V) + R (S + F + M + A)
    bytes = max(4 W + 2 * 4 C + a B, 4 * 4 W + a H)

with ``N`` retain samples, ``E`` evaluations, ``R`` corrective steps, ``W`` weights, ``C`` those of them that get a
gradient, of which there are two copies, and ``a`` bytes that one sample of a batch of ``B`` keeps for its backward
pass. The second sum is the attacker's: the weights, the copy that is put back, Adam's two moments, and what the ``H``
images that he is shown keep.

On ``D`` devices only the scoring pass is shared out, at the efficiency that two processes had. With ``t`` seconds for
the unit and a price per device and hour, which are assumed and not measured::

    seconds = ((F + N + v min(N, I)) / (0.8 D) + v E V + R (S + F + M + A)) t
    price = D * seconds / 3600 * price of an hour
    rows = m N
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from razor_pipeline.params.razor import RepairParams, ResistParams, ScoringParams
from razor_pipeline.params.studies import AssumedParams
from razor_pipeline.studies.measurement import FLOAT
from razor_pipeline.studies.tables import as_text, summarise

GIB = 2.0**30
RATIOS = (
    "score_edit_over_limit",
    "score_edit_over_pass",
    "score_over_pass",
    "edit_over_pass",
    "score_edit_over_slug",
    "search_share",
    "finetune_over_score_edit",
    "finetune_all_over_score_edit",
    "evaluate_over_pass",
    "peak_memory_over_floor",
)
RETAIN = tuple(10**power for power in range(3, 10))
# Two processes score 1.6 times as fast as one; more than two were not measured (docs/scaling.md).
EFFICIENCY = 0.8
ROW_BYTES = 1505 * 2**20 / 1e6  # of a manifest loaded and split, as `make memory` measures it
# Of a run with default parameters on the generated data. Of the images to keep, 256 and some 43 of the nearest classes,
# a corrective step looks at those whose turn it is.
FORGET, VALIDATION, EVALUATIONS, BATCH = 60, 604, 15, ScoringParams().batch_size
REPAIR, RESIST, RECORDED = RepairParams(), ResistParams(), ScoringParams().whitening_samples
STEPS, KEPT = REPAIR.steps, (REPAIR.samples + 43) // REPAIR.turns
MISNAMED = FORGET // -(-FORGET // REPAIR.slips)
ATTACK = (RESIST.steps + 1) * RESIST.images // RESIST.every  # his steps, and the gradient where he ends up
COPIES = 4  # of all weights while he is at it: they, the copy that is put back, Adam's two moments


@dataclass(frozen=True)
class AtScale:
    """One line of the table: a size, its retain samples, devices, and each figure with its calculation (``_by``).

    Attributes:
        size: name of the measured size.
        retain: retain samples of the scoring pass.
        units: forward and backward passes of one sample.
        gib: of one device, while it scores or while the attacker is at it, whichever holds more.
        rows_gib: of the host, for the manifest; pictures are decoded while the pass runs.
        devices: that the scoring pass is shared among.
        seconds: at the assumed seconds of a pass.
        price: of all devices for that long, at the assumed price.
    """

    size: str
    retain: int
    units: float
    units_by: str
    gib: float
    gib_by: str
    rows_gib: float
    devices: int
    seconds: float
    seconds_by: str
    price: float
    price_by: str


def bench_table(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """``<ratio>_<size>`` -> mean, worst, interval and count over the size's cells."""
    table: dict[str, dict[str, float]] = {}
    for size, part in rows[rows["axis"] == "size"].groupby("size", sort=False):
        table |= {f"{name}_{size}": value for name, value in summarise(part, RATIOS).items()}
    return table


def at_scale(rows: pd.DataFrame, assumed: AssumedParams) -> list[AtScale]:
    """What a default run on each measured CLIP costs, for growing retain sets and each number of devices.

    Other families are edited by other steps than those that the calculation counts.

    Args:
        rows: from :meth:`razor_pipeline.studies.bench.Costs.rows`.
        assumed: what seconds and prices are calculated from.
    """
    measured = rows[(rows["axis"] == "size") & (rows["family"] == "clip")]
    return [
        _line(str(size), part.mean(numeric_only=True).to_dict(), retain, devices, assumed)
        for size, part in measured.groupby("size", sort=False)
        for retain in RETAIN
        for devices in assumed.devices
    ]


def _line(size: str, of: Mapping[Any, float], retain: int, devices: int, assumed: AssumedParams) -> AtScale:
    forward = of["validation_over_pass"] * of["samples"] / of["validated"]
    step = KEPT + FORGET + MISNAMED + ATTACK
    recorded = min(retain, RECORDED)
    shared = FORGET + retain + forward * recorded
    alone = forward * EVALUATIONS * VALIDATION + STEPS * step
    speedup = EFFICIENCY * devices if devices > 1 else 1.0
    seconds = (shared / speedup + alone) * assumed.pass_seconds
    weights, candidates = FLOAT * of["weights"] / GIB, FLOAT * of["candidate_weights"] / GIB
    sample = of["activation_bytes"] / of["batch"] / GIB
    return AtScale(
        size,
        retain,
        shared + alone,
        f"{FORGET} + {retain} + {forward:.2f} x ({recorded} + {EVALUATIONS} x {VALIDATION}) + "
        f"{STEPS} x ({KEPT} + {FORGET} + {MISNAMED} + {ATTACK})",
        max(weights + 2 * candidates + BATCH * sample, COPIES * weights + RESIST.images * sample),
        f"max({weights:.3f} + 2 x {candidates:.3f} + {BATCH} x {sample:.4f}, "
        f"{COPIES} x {weights:.3f} + {RESIST.images} x {sample:.4f})",
        ROW_BYTES * retain / GIB,
        devices,
        seconds,
        f"({shared:.0f} / {speedup:g} + {alone:.0f}) x {assumed.pass_seconds:g}",
        devices * seconds / 3600 * assumed.hour_price,
        f"{devices} x {seconds:.0f} / 3600 x {assumed.hour_price:g}",
    )


def as_lines(rows: pd.DataFrame, table: dict[str, dict[str, float]], assumed: AssumedParams) -> str:
    """Ratios, growth and costs at scale for a terminal."""
    parts = [as_text("Cost of score + edit", table)] if table else []
    grown = rows[rows["axis"] != "size"]
    if len(grown):
        parts.append("\n".join(_growth(grown)))
    if len(lines := at_scale(rows, assumed)):
        head = (
            f"{'At scale':12}{'retain':>14}{'passes of a sample':>20}{'GiB':>8}{'rows, GiB':>11}{'devices':>9}"
            f"{'seconds':>14}{'price':>12}  calculation"
        )
        parts.append("\n".join([assumptions(assumed), head, *(_text(line) for line in lines)]))
    return "\n\n".join(parts)


def assumptions(assumed: AssumedParams) -> str:
    """A sentence that says which figures are not measured."""
    return (
        f"With CLIP's default parameters. Assumed, not measured: a forward and backward pass of one sample takes "
        f"{assumed.pass_seconds:g} s on one device, which costs {assumed.hour_price:g} an hour (bench.assumed)."
    )


def _growth(grown: pd.DataFrame) -> Iterable[str]:
    yield f"{'Growth':12}{'value':>8}{'passes of a sample':>20}{'peak, GiB':>11}{'evaluations':>13}"
    for row in grown.to_dict("records"):
        yield (
            f"{row['axis']:12}{int(row['value']):8d}{row['score_edit_in_samples']:20.0f}"
            f"{row['peak_bytes'] / GIB:11.2f}{int(row['evaluations']):13d}"
        )


def _text(line: AtScale) -> str:
    return (
        f"{line.size:12}{line.retain:14,d}{line.units:20,.0f}{line.gib:8.2f}{line.rows_gib:11.2f}{line.devices:9d}"
        f"{line.seconds:14,.0f}{line.price:12,.2f}  "
        f"{line.units_by};  {line.gib_by};  {line.seconds_by};  {line.price_by}"
    )
