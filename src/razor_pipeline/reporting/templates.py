"""The pages' templates, which lie beside this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

from razor_pipeline.reporting.figures import data_uri, drawn_width


def template(name: str, **filters: Callable[..., Any]) -> Template:
    """A page's template; values are escaped, and one that is missing is an error."""
    pages = Environment(
        loader=PackageLoader("razor_pipeline", "reporting"),
        autoescape=select_autoescape(["j2", "html"]),
        undefined=StrictUndefined,
    )
    pages.filters |= {"data_uri": data_uri, "drawn_width": drawn_width} | filters
    return pages.get_template(name)
