"""razor_pipeline: make a trained vision model forget, precisely, and show that it did."""

__version__ = "0.1.0"
