"""The benchmark pipeline."""

from razor_pipeline.pipelines.benchmark.pipeline import create_pipeline

__all__ = ["create_pipeline"]
