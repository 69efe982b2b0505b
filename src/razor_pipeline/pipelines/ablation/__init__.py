"""The ablation pipeline."""

from razor_pipeline.pipelines.ablation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
