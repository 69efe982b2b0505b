"""The science: pure torch and numpy, no I/O, no Kedro, no transformers."""
