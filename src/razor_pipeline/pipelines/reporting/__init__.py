"""Figures, summary, page and closing table of a run."""

from razor_pipeline.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
