"""Write down which files were refused also where they are too many, and the step ends without outputs."""

from __future__ import annotations

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, DatasetError

from razor_pipeline.manifest import QuarantineError
from razor_pipeline.runner import dataset_path

logger = logging.getLogger(__name__)
QUARANTINE = "quarantine"


class QuarantineHooks:
    """Whoever has to repair files needs all of their names."""

    @hook_impl
    def on_node_error(self, error: Exception, catalog: CatalogProtocol[Any, Any]) -> None:
        """Save the list where the catalog has it, and let the error name the place."""
        if not isinstance(error, QuarantineError):
            return
        try:
            catalog.save(QUARANTINE, error.quarantine)
        except DatasetError as lost:  # it must not hide the error itself
            logger.warning("the list of refused files was not written (%s)", lost)
        else:
            error.written = dataset_path(catalog, QUARANTINE)
