"""What software made an edit: a CycloneDX bill of materials of the running environment."""

from __future__ import annotations

from importlib.metadata import distributions

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from razor_pipeline import __version__


def bill_of_materials() -> str:
    """CycloneDX 1.6 as JSON: this project and every installed distribution with its exact version."""
    bom = Bom()
    bom.metadata.component = Component(
        name="razor_pipeline", version=__version__, type=ComponentType.APPLICATION
    )
    used = []
    for name, version in sorted({(d.name.lower(), d.version) for d in distributions() if d.name}):
        purl = PackageURL("pypi", name=name, version=version)
        used.append(Component(name=name, version=version, type=ComponentType.LIBRARY, purl=purl))
    bom.components.update(used)
    bom.register_dependency(bom.metadata.component, used)
    return JsonV1Dot6(bom).output_as_string(indent=1)
