"""The splitting pipeline."""

from razor_pipeline.pipelines.splitting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
