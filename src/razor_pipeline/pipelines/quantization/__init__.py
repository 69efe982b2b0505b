"""The quantization pipeline."""

from razor_pipeline.pipelines.quantization.pipeline import create_pipeline

__all__ = ["create_pipeline"]
