"""The bench pipeline."""

from razor_pipeline.pipelines.bench.pipeline import create_pipeline

__all__ = ["create_pipeline"]
