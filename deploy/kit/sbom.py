"""What a kit is made of, as a CycloneDX document: each wheel with its package URL, hash and licence."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.metadata import RawMetadata

from deploy.kit.platforms import Platform
from deploy.kit.wheels import Wheel

# A name for documents of kits, from which the serial number of each is derived: the same kit has the same number.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/whycam-kit")


def document(platform: Platform, version: str, wheels: Sequence[Wheel], when: datetime.datetime) -> str:
    """The document as JSON; it depends on nothing but the arguments."""
    hashes = "".join(wheel.sha256 for wheel in wheels)
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, f"{platform.name} {version} {hashes}"),
        components=[_component(wheel) for wheel in wheels],
    )
    bom.metadata.timestamp = when
    bom.metadata.component = Component(
        name=f"whycam-kit-{platform.name}", version=version, type=ComponentType.APPLICATION, bom_ref="kit"
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(wheel: Wheel) -> Component:
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        purl=PackageURL("pypi", name=wheel.name, version=wheel.version, qualifiers={"file_name": wheel.path.name}),
        bom_ref=wheel.path.name,
        description=wheel.metadata.get("summary"),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
        licenses=[licence] if (licence := _licence(wheel.metadata)) else (),
    )


def _licence(metadata: RawMetadata) -> License | None:
    """The licence that a wheel names: an SPDX expression, or else a name from its fields of old.

    Some wheels give the whole text in the old field: then the classifiers tell.
    """
    factory = LicenseFactory()
    if expression := metadata.get("license_expression"):
        return factory.make_with_expression(expression)
    named = (metadata.get("license") or "").strip()
    classifiers = [line for line in metadata.get("classifiers", []) if line.startswith("License :: ")]
    if not named or "\n" in named:
        named = "; ".join(line.rpartition(" :: ")[2] for line in classifiers)
    return factory.make_from_string(named) if named else None
