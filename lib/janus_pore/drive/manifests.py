"""What is on disk of a segment, and whether it is whole and serves the purpose."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import subprocess
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import __version__, paths
from ..build.system import BuiltSystem
from ..errors import JanusPoreError, RunError
from ..spec import RunSpec, key
from . import gromacs
from .trees import UNREDUCED, Kind, Segment

log = logging.getLogger("janus_pore")


class _File(BaseModel):
    """A kept file in a manifest; ``sha256`` where its content is compared with it."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: str | None = None


class _Manifest(BaseModel):
    """What is read in a segment's manifest without looking whether it is there."""

    model_config = ConfigDict(strict=True)

    key: str
    kind_of_run: Kind
    root: str
    parent: str | None
    state: str
    began: str | None = None
    stamp: str
    start_step: int
    end_step: int
    frame_steps: int
    frame_ps: float
    duration_ps: float
    field: dict[str, float]
    files: dict[Annotated[str, Field(pattern=r"^\w[\w.-]*$")], _File]


def known_segments(directory: Path, *, frame_steps: int, stamp: str) -> dict[str, dict[str, Any]]:
    """Manifests, by key, of the whole segments in a directory that serve the purpose.

    Segments that do not are named in the log and left out: those damaged, those kept with
    coarser frames than ``frame_steps``, and those reduced for another pore region or made
    from other system files (``stamp``, see :func:`reduction_stamp`).
    """
    out: dict[str, dict[str, Any]] = {}
    try:
        paths_there = sorted(directory.iterdir()) if directory.is_dir() else []
    except OSError as error:
        raise RunError(f"{directory} cannot be read: {error.strerror or error}") from error
    for path in paths_there:
        if path.name.startswith(".") or not path.is_dir():
            continue
        try:
            manifest = read_manifest(path)
        except RunError as error:
            log.warning("%s; it will be computed again where it is needed", error)
            continue
        why = unfit(manifest, frame_steps, stamp)
        if why:
            log.info("%s %s", path, why)
        else:
            out[path.name] = manifest
    return out


def drop_stale(whole: dict[Path, dict[str, Any]]) -> None:
    """Take out the segments that began in another state than their parent now ends in.

    A parent that was lost and made again may end elsewhere, on other hardware or with another
    number of threads. Manifests of the first version do not say in which state they began.
    """
    by_key = {manifest.get("key"): manifest for manifest in whole.values()}
    for directory, manifest in list(whole.items()):
        if why := _stale(manifest, by_key.get(manifest.get("parent"))):
            log.warning("segment %s %s and will be made again where needed", directory, why)
            del whole[directory]


def _stale(manifest: Mapping[str, Any], parent: Mapping[str, Any] | None) -> str | None:
    now, began = (parent or {}).get("state"), manifest.get("began")
    if None in (now, began) or began == now:
        return None
    return (
        f"continued an earlier version of {manifest['parent']}, which was made again and ended in "
        "another state; it is stale"
    )


def unfit(manifest: Mapping[str, Any], frame_steps: int, stamp: str) -> str | None:
    """Why a whole segment does not serve the purpose, if it does not."""
    if manifest["kind_of_run"] in UNREDUCED:
        return None
    if manifest["frame_steps"] > frame_steps:
        return (
            f"kept frames every {manifest['frame_ps']:g} ps, coarser than is asked for now; "
            "it has to be run again for finer ones"
        )
    if manifest["stamp"] != stamp:
        return (
            "was reduced for another pore region or made from other system files; it has to be "
            "run again"
        )
    return None


def unfitness(system: BuiltSystem, run: RunSpec, segment: Segment) -> str | None:
    """Why a segment that is on disk has to be made again, if it has to."""
    try:
        manifest = read_manifest(segment.dir)
        check_state(segment.dir, manifest)
    except RunError as error:
        return str(error)
    parent = read_json(segment.parent.dir / "manifest.json") if segment.parent else None
    return unfit(manifest, segment.frame_steps, reduction_stamp(system, run)) or _stale(
        manifest, parent
    )


def read_manifest(directory: Path) -> dict[str, Any]:
    """A segment's manifest, after checking that its files are there and whole.

    The checkpoint is compared in size alone; see :func:`check_state`.

    Raises
    ------
    RunError
        If the segment is damaged.
    """
    try:
        manifest = json.loads((directory / "manifest.json").read_text("utf-8"))
        if not _unchanged(manifest):
            raise RunError(f"segment {directory} is damaged: manifest.json was changed")
        checked = _Manifest.model_validate(manifest)
        for name, about in checked.files.items():
            found = (directory / name).stat().st_size
            if found != about.bytes:
                raise RunError(
                    f"segment {directory} is damaged: {name} has {found} bytes and its manifest "
                    f"says {about.bytes}"
                )
            if about.sha256 and name != "state.cpt" and sha256(directory / name) != about.sha256:
                raise RunError(
                    f"segment {directory} is damaged: {name} does not match its checksum"
                )
        if checked.key != directory.name:
            raise RunError(f"segment {directory} holds the manifest of {checked.key}")
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) or "all of it" for e in error.errors()[:5])
        raise RunError(f"segment {directory} is damaged: manifest.json, {wrong}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"segment {directory} is damaged: {str(error)[:200]}") from error
    return dict(manifest)


def check_state(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Compare a segment's checkpoint with its checksum, before continuing from it.

    Raises
    ------
    RunError
        If it is damaged.
    """
    about = manifest["files"].get("state.cpt", {})
    if sha256(directory / "state.cpt") != about.get("sha256"):
        raise RunError(f"segment {directory} is damaged: state.cpt does not match its checksum")


def reduction_stamp(system: BuiltSystem, run: RunSpec) -> str:
    """Hash of what a series depends on besides its molecular dynamics' key."""
    return key(system.manifest["files"], run.pore_half_length_nm, run.pore_radius_nm)


def sha256(path: Path) -> str:
    """Checksum of a file, taken once as long as the file is the same."""
    about = path.stat()
    return _sha256_of(path, about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _sha256_of(path: Path, *_: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def provenance(gmx: gromacs.Gmx) -> dict[str, Any]:
    """Software that made a result."""
    return {**_software(), "gmx_version": gmx.report}


@cache
def _software() -> dict[str, Any]:
    def version(name: str) -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    names = ("numpy", "scipy", "xarray", "netCDF4", "MDAnalysis", "pydantic", "gmxapi")
    return {
        "janus_pore": __version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in names},
        "platform": platform.platform(),
    }


def git_commit() -> str | None:
    """Commit of the clone, with ``+`` if tracked files were changed."""
    try:
        root = paths.project_root()
        commands = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(root), *c], capture_output=True, text=True, check=True, timeout=30
            ).stdout.strip()
            for c in commands
        )
    except (OSError, subprocess.SubprocessError, JanusPoreError):
        return None
    return commit + ("+" if changed else "")


def read_json(path: Path) -> dict[str, Any] | None:
    """What :func:`write_json` wrote; None if it is not there or was changed."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if _unchanged(data) else None


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    checked = {**data, "checksum": key(data)}
    paths.write_whole(path, json.dumps(checked, indent=1) + "\n")


def _unchanged(data: Any) -> bool:
    """Whether data is a mapping that matches its checksum, which is taken out of it.

    Manifests of the first version have none.
    """
    if not isinstance(data, dict):
        return False
    try:
        return bool(data.pop("checksum", None) in (None, key(data)))
    except (ValueError, RecursionError):
        return False
