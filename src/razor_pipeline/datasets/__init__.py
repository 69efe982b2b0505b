"""The only input and output: Kedro datasets that write atomically."""
