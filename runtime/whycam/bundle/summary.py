"""What a bundle says of itself, on one screen; it need not be trusted for that."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from whycam.bundle.archive import read_archive_head, read_directory
from whycam.bundle.signature import Signatures
from whycam.printable import printable

_LONGEST = 100
"""Characters of a value of the provenance that are shown."""


def summary(path: Path) -> dict[str, Any]:
    """What the bundle or the archive at `path` says of itself, as JSON has it; only its head is read.

    Raises BundleError where there is none, or its manifest or its signature cannot be read.
    """
    head = read_directory(path) if path.is_dir() else read_archive_head(path)
    signed = () if head.signature is None else Signatures.read(head.signature).signatures
    manifest = head.manifest.model_dump(mode="json", by_alias=True)
    digest = hashlib.sha256(head.manifest_bytes).hexdigest()
    return {
        "bundle": str(path),
        "kind": "directory" if path.is_dir() else "archive",
        "id": digest[:16],
        "manifest_sha256": digest,
        "signed_by": [each.key for each in signed],
        "bytes": sum(entry.bytes for entry in head.manifest.files.values()),
        "manifest": manifest,
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print what `summary` found on `console`."""
    manifest = found["manifest"]
    keys = ", ".join(found["signed_by"])
    console.print(Text(printable(f"{manifest['name']} {manifest['version']}"), "bold"))
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    window, size = manifest["window"], manifest["input"]
    rows = [
        ("bundle", f"{found['bundle']} ({found['kind']}), {found['bytes'] / 1e6:.1f} MB"),
        ("id", found["id"]),
        ("signed by", f"key {keys}: `whycam bundle verify` tells whether that holds" if keys else "nobody"),
        (
            "looks at",
            f"{window['frames']} frames, one each {window['frame_interval']:g} s, "
            f"of {size['width']} x {size['height']} pixels",
        ),
        ("explains", ", ".join(cam["name"] for cam in manifest["cams"])),
        ("sliding window", "a step for each frame" if manifest["step"]["available"] else "run anew for each frame"),
        ("drift", "noticed" if manifest["drift"] else "not calibrated"),
        ("error against Keras", _parity(manifest["parity"])),
    ]
    for name, value in (*rows, *_provenance(manifest["provenance"])):
        facts.add_row(Text(name), Text(printable(value)))
    console.print(facts)
    console.print(_classes(manifest))
    console.print(_precisions(manifest))


def _provenance(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in provenance.items():
        if isinstance(value, dict):
            told = ", ".join(f"{key} {inner}" for key, inner in value.items())
        else:
            told = value if isinstance(value, str) else json.dumps(value)
        if value not in (None, {}, [], ""):
            rows.append((printable(name)[:_LONGEST], told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"))
    return rows[:20]


def _classes(manifest: dict[str, Any]) -> Table:
    table = _table("class", "alerts from", "clears below", "held for")
    for name in manifest["classes"]:
        rule = manifest["alert_rules"].get(name)
        cells = [f"{manifest['thresholds'][name]:g}" if name in manifest["thresholds"] else "normal"]
        cells += [f"{rule['clear']:g}", f"{rule['minimum_seconds']:g} s"] if rule else ["", ""]
        table.add_row(Text(printable(name)), *cells)
    return table


def _precisions(manifest: dict[str, Any]) -> Table:
    costs = ("same label", "score drift", "heat map correlation") if manifest["calibrated"] else ()
    table = _table("precision", "MB", *costs)
    for name, file in manifest["precisions"].items():
        cost = manifest["calibrated"].get(name)
        cells = [f"{manifest['files'][file]['bytes'] / 1e6:.1f}"]
        if cost:
            map_cell = "" if cost["heatmap_correlation"] is None else f"{cost['heatmap_correlation']:.3f}"
            cells += [f"{cost['agreement']:.1%}", f"{cost['score_drift']:.4f}", map_cell]
        table.add_row(Text(printable(name)), *cells)
    return table


def _parity(parity: dict[str, Any]) -> str:
    figures = {name: value for name, value in parity.items() if value is not None and name != "frames"}
    told = ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in figures.items())
    return f"{told}; on {parity['frames']} frames"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table
