"""The memory pipeline."""

from razor_pipeline.pipelines.memory.pipeline import create_pipeline

__all__ = ["create_pipeline"]
