"""The metadata of a Zarr store: names of folders, and descriptions with a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sursum.io.files import check_regular, write_atomically

CHECKSUM = "sursum_checksum"


def description(folder: Path) -> dict[str, Any]:
    """The contents of the `zarr.json` of a folder.

    Raises:
        ValueError: it has been changed since it was written, or is not valid metadata.
    """
    file = folder / "zarr.json"
    check_regular(file, "the description of an array or a group")
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("attributes", {}), dict):
        raise ValueError(f"{str(file)!r} is not the description of an array or a group")
    # Files written before metadata had a checksum have none.
    if content.get("attributes", {}).get(CHECKSUM, checksum(content)) != checksum(content):
        raise ValueError(f"{str(file)!r} has changed since it was written: its checksum does not match")
    return content


def describe(folder: Path, content: dict[str, Any]) -> None:
    """Write the `zarr.json` of a folder with its checksum, all or nothing."""
    content["attributes"] = content.get("attributes", {}) | {CHECKSUM: checksum(content)}
    write_atomically(folder / "zarr.json", json.dumps(content).encode())


def seal(folder: Path) -> None:
    """Add a checksum to the metadata that Zarr wrote for a folder: Zarr has checksums for numbers only."""
    describe(folder, json.loads((folder / "zarr.json").read_text(encoding="utf-8")))


def checksum(content: Mapping[str, Any]) -> str:
    """The checksum of metadata, excluding the checksum itself and copies of other metadata."""
    attributes = {name: value for name, value in content.get("attributes", {}).items() if name != CHECKSUM}
    said = {name: value for name, value in content.items() if name != "consolidated_metadata"} | {"attributes": attributes}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def safe_names(names: Iterable[str]) -> Iterator[str]:
    """Folder names, one for each name: the same where possible, and distinct even on case-insensitive file systems.

    Example:
        >>> list(safe_names(["net.0.weight", "a/b", "..", "A/B"]))
        ['net.0.weight', 'a%2Fb', '%..', 'A%2FB%3']
    """
    taken: set[str] = set()
    for i, name in enumerate(names):
        safe = quote(name, safe="[] ")
        if safe.startswith((".", "__", "zarr.json")) or safe in ("", "c"):
            safe = f"%{safe}"
        if safe.casefold() in taken or len(safe) > 150:
            safe = f"{safe[:150]}%{i}"
        taken.add(safe.casefold())
        yield safe
