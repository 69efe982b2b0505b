"""Quantize the edited model and see which edited weights survive the rounding."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from razor_pipeline.core.quantize import Scheme, packed, quantized
from razor_pipeline.core.weight_edit import WeightEdit, applied
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.report import survival_row
from razor_pipeline.params.evaluation import QuantizationParams


def quantize_model(
    base_model: ModelFamily, weight_edit: WeightEdit, quantization: QuantizationParams
) -> tuple[dict[Scheme, dict[str, Tensor]], pd.DataFrame]:
    """Scheme -> packed edited weights, and a row per scheme on what the rounding did to the edit."""
    states: dict[Scheme, dict[str, Tensor]] = {}
    rows = []
    for scheme in quantization.schemes:
        base = quantized(base_model.module, scheme)
        with applied(dict(base_model.module.named_parameters()), weight_edit):
            edited = quantized(base_model.module, scheme)
        states[scheme] = packed(edited)
        rows.append(survival_row(scheme, base, edited, weight_edit))
    return states, pd.DataFrame(rows)
