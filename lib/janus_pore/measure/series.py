"""The labelled series of a segment: its file, its joining, and a protocol's whole set.

Files are netCDF-4. Values are stored as integers in a fixed small unit, compressed and
checksummed. The unit is near what the rounding of coordinates to 0.0001 nm in the
trajectory leaves uncertain anyhow, and far below the fluctuations that are measured:

================== ============ =================================== ========================
variable           unit stored  rounding of coordinates, r.m.s.     fluctuates by
================== ============ =================================== ========================
time               5e-4 ps      (integration steps: 0.5 fs or more)
field              1e-4 V/nm    (prescribed)
charge             1e-4 e       5e-5 e per ion in a slab of 0.6 nm  0.1 e and more
theta              0.1 degree   0.04 degree                         20 degree and more
dipole_x           0.001 debye  0.0015 debye per molecule           1 debye and more
ion_x              1e-4 nm      3e-5 nm                             the box
total, parts       0.01 kJ/mol/nm  1 kJ/mol/nm                      100 kJ/mol/nm and more
position           1e-4 nm      3e-5 nm                             0.01 nm and more
================== ============ =================================== ========================
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
import xarray as xr

from .. import paths
from ..drive import ensemble, windows
from ..drive.manifests import sha256
from ..errors import MeasureError, MissingInputError
from ..spec import Profile, validated
from .trajectory import ESTIMATORS, SPECIES

CONVENTION = "janus-pore series 1"
WINDOWS = "windows"
"""What the windows of a profile are called where they ship."""
_DIMENSIONS = {
    "time": ("time",),
    "field": ("time",),
    "charge": ("estimator", "species", "time"),
    "ions_in_pore": ("species", "time"),
    "pore_water_count": ("time",),
    "theta": ("time", "slot"),
    "dipole_x": ("time",),
    "ion_x": ("boundary", "ion"),
}
_TIME_UNIT_PS = 5e-4
_UNIT_STORED = {
    "time": _TIME_UNIT_PS,
    "field": 1e-4,
    "charge": 1e-4,
    "theta": 0.1,
    "dipole_x": 0.001,
    "ion_x": 1e-4,
    "total": 0.01,
    "parts": 0.01,
    "position": 1e-4,
}
_SAME_EVERYWHERE = (
    "system_key",
    "length_x_nm",
    "slab_width_nm",
    "pore_half_length_nm",
    "pore_radius_nm",
)
_NEEDED = (*_SAME_EVERYWHERE, "start_ps", "origin_ps", "n_ions", "ion_charges_e")
_FRAMES_PER_CHUNK = 65536
_SMALLEST_COMPRESSED_BYTES = 4096
"""Below this the index that a compressed variable needs outweighs what compression saves."""


def write(dataset: xr.Dataset, path: Path) -> Path:
    """Write a series so that the file is either whole or not there.

    Parameters
    ----------
    dataset
        As returned by :func:`janus_pore.measure.trajectory.reduce_trajectory`, with any
        further attributes (strings and numbers) that say where it came from.
    path
        File to write; an older one is replaced.

    Raises
    ------
    MeasureError
        If the dataset is not a series, or the file cannot be written.
    """
    _validate(dataset, f"the series for {path}")
    stored = dataset.assign_attrs(Conventions=CONVENTION, sha256=_digest(dataset, _UNIT_STORED))
    encoding = {name: _encoding(name, stored[name]) for name in _DIMENSIONS}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            stored.to_netcdf(temporary, engine="netcdf4", format="NETCDF4", encoding=encoding)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except (OSError, RuntimeError) as error:
        raise MeasureError(
            f"the series {path} cannot be written: {error}; make room or make the directory "
            "writable, then run again"
        ) from error
    return path


def read(path: Path) -> xr.Dataset:
    """Read and check a series, wholly into memory.

    Raises
    ------
    MeasureError
        If the file is missing, damaged, or not a series of this version.
    """
    if not path.is_file():
        raise MeasureError(f"there is no series {path}; run its segment again")
    with _reading(path, "delete it and run its segment again"), _in_memory(path) as file:
        dataset = _load(path, file)
    _validate(dataset, f"the series {path}")
    units = {name: dataset[name].encoding.get("scale_factor", 1.0) for name in _DIMENSIONS}
    if dataset.attrs.pop("sha256", None) != _digest(dataset, units):
        raise MeasureError(
            f"the series {path} does not match its own checksum; it is damaged or was edited: "
            "delete it and run its segment again"
        )
    return dataset


@contextlib.contextmanager
def _reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn what the netCDF library says of a bad file into a :class:`MeasureError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, AttributeError, KeyError) as error:
        raise MeasureError(
            f"the series {path} is damaged or not netCDF-4: {error}; {remedy}"
        ) from error


@contextlib.contextmanager
def _in_memory(path: Path) -> Iterator[netCDF4.Dataset]:
    """A netCDF file apart from the one on disk.

    Some builds of HDF5 end the process where a file is opened that the user has open too.
    """
    with netCDF4.Dataset("memory", memory=path.read_bytes()) as file:
        yield file


def _loaded(file: netCDF4.Dataset) -> xr.Dataset:
    """A file or group as a dataset."""
    store = xr.backends.NetCDF4DataStore(file)  # type: ignore[no-untyped-call]
    return xr.open_dataset(store, decode_times=False).load()


def _load(path: Path, file: netCDF4.Dataset) -> xr.Dataset:
    """A dataset of this version, wholly in memory, from a file or a group of one."""
    dataset = _loaded(file)
    for name in ("ions_in_pore", "pore_water_count"):
        if name in dataset:
            dataset[name] = dataset[name].astype(np.int64)  # int8 would overflow in arithmetic
    found = dataset.attrs.get("Conventions")
    if found != CONVENTION:
        raise MeasureError(
            f"the series {path} says Conventions = {found!r}, not {CONVENTION!r}; it was not "
            "written by this version: reduce its trajectory again"
        )
    return dataset


def concatenate(parts: Sequence[xr.Dataset | Path]) -> xr.Dataset:
    """Join the series of consecutive segments into one.

    Parameters
    ----------
    parts
        Series or their files, in the order of time. Where the first frame of a part is
        the last of the one before, one of the two is kept. Where the frame between was
        not written, the charge transferred in between follows from the ions' positions
        on either side.

    Returns
    -------
    xarray.Dataset
        ``charge`` counts from the first part's origin; attributes are the first part's,
        where all agree.

    Raises
    ------
    MeasureError
        If parts belong to different systems, or do not follow one another in time.
    """
    if not parts:
        raise MeasureError("no series to concatenate; give at least one")
    names = [str(p) if isinstance(p, Path) else f"series {i}" for i, p in enumerate(parts)]
    loaded = [read(p) if isinstance(p, Path) else p for p in parts]
    first = loaded[0]
    joined = [first]
    offset = first["charge"].isel(time=-1)
    for before, after, name in zip(loaded[:-1], loaded[1:], names[1:], strict=True):
        for attribute in _SAME_EVERYWHERE:
            if before.attrs[attribute] != after.attrs[attribute]:
                raise MeasureError(
                    f"{name} has {attribute} = {after.attrs[attribute]!r} and the one before it "
                    f"{before.attrs[attribute]!r}; only series of one system and one reduction "
                    "can be joined"
                )
        end, origin = float(before["time"][-1]), float(after.attrs["origin_ps"])
        spacing = max(_spacing(before), _spacing(after))
        if not -1e-3 <= origin - end <= 1.5 * spacing:
            raise MeasureError(
                f"{name} begins at {origin:g} ps but the one before it ends at {end:g} ps; give "
                "consecutive segments in the order of time"
            )
        bridge = _bridge(before, after) if origin - end > 1e-3 else 0.0
        keep = after.isel(time=np.flatnonzero(after["time"].values > end + 1e-3))
        keep["charge"] = keep["charge"] + (offset + bridge)
        keep["charge"].attrs = dict(first["charge"].attrs)
        joined.append(keep)
        offset = offset + bridge + after["charge"].isel(time=-1)
    last = loaded[-1]
    attrs = {
        name: value
        for name, value in first.attrs.items()
        if name in _NEEDED
        or all(name in p.attrs and np.array_equal(p.attrs[name], value) for p in loaded)
    }
    out = xr.concat(
        [_padded(part.drop_vars("ion_x"), max(p.sizes["slot"] for p in joined)) for part in joined],
        dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    ).assign_attrs(attrs)
    out.attrs = attrs
    out["ion_x"] = xr.concat(
        [first["ion_x"].isel(boundary=[0]), last["ion_x"].isel(boundary=[1])], dim="boundary"
    )
    return out


def open_protocol(
    profile: Profile, protocol: str, *, only: Collection[int] | None = None
) -> dict[str, xr.Dataset]:
    """Every run of a protocol, by waveform label, with its replicas side by side.

    Parameters
    ----------
    profile, protocol
        As for :func:`janus_pore.drive.ensemble.open_runs`, which finds the runs; or, where
        the profile's ``source`` is ``campaign``, what ships (:func:`open_shipped`).
    only
        Numbers of the runs' replicas; by default all of the protocol's, and of what ships all.

    Returns
    -------
    dict of str to xarray.Dataset
        One series per waveform with an extra first dimension ``replica``.

    Raises
    ------
    MissingInputError
        If the runs are not there; the message names what makes them.
    MeasureError
        If a series is damaged or the replicas do not match.
    """
    if profile.source == "campaign":
        return open_shipped(profile, protocol)
    by_label: dict[str, dict[int, xr.Dataset]] = {}
    for record in ensemble.open_runs(profile, protocol, only=only):
        whole = concatenate(record.series)
        by_label.setdefault(record.label, {})[record.replica] = whole
    return {label: stack_replicas(replicas) for label, replicas in by_label.items()}


def open_windows(profile: Profile) -> xr.Dataset:
    """Forces on the held ion in every window of a profile, side by side.

    Parameters
    ----------
    profile
        As for :func:`janus_pore.drive.windows.open_windows`, which finds the windows; or,
        where the profile's ``source`` is ``campaign``, what ships.

    Returns
    -------
    xarray.Dataset
        The windows' variables with a further first dimension ``window``, along which lie the
        coordinates ``ion``, ``field_V_per_nm``, ``applied_V_per_nm``, ``x_nm`` and ``replica``;
        ``parts`` is not a number where the force was not told apart.

    Raises
    ------
    SpecError
        If the profile has no windows, or no pore.
    MissingInputError
        If they are not there; the message names what makes them.
    MeasureError
        If what is there is damaged, or the windows that ship are not those of the profile.
    """
    wanted = windows.asked_for(profile)
    if profile.source == "campaign":
        found = open_shipped(profile, WINDOWS)[WINDOWS]
        manifest = shipped_folder(profile) / f"{WINDOWS}.json"
        recorded = shipped_manifest(manifest).get("profile")
        made_with = windows.asked_for(validated(Profile, recorded or {}, str(manifest)))
        # blocks are for reading them
        if made_with.model_copy(update={"blocks": wanted.blocks}) != wanted:
            raise MeasureError(
                f"the windows that ship are not those of profile {profile.name!r} as it is now; "
                "use the profile they were made with"
            )
        return found
    records = windows.open_windows(profile)
    each = []
    for record in records:
        with (
            _reading(record.series, "delete its folder and run the windows again"),
            _in_memory(record.series) as file,
        ):
            each.append(_loaded(file))
    if apart := [one["parts"] for one in each if "parts" in one]:
        unknown = xr.full_like(apart[0], np.nan)
        each = [one if "parts" in one else one.assign(parts=unknown) for one in each]
    places = [f"{r.ion} at {r.x_nm:g} nm, replica {r.replica}" for r in records]
    joined = xr.concat(
        _in_common_frames(each, places),
        dim="window", data_vars="all", coords="minimal", compat="override", join="exact",
        combine_attrs="drop_conflicts",
    )  # fmt: skip
    return joined.assign_coords(
        {
            name: ("window", [getattr(record, name) for record in records])
            for name in ("ion", "field_V_per_nm", "x_nm", "applied_V_per_nm", "replica")
        }
    )


def shipped_folder(profile: Profile) -> Path:
    """Where the results that ship for a profile's system lie."""
    system = profile.system
    further = {k: v for k, v in profile.changed.items() if k not in ("charge_set", "pore")}
    parts = (f"{system.charge_set}-{system.pore}", *(f"{k}-{v}" for k, v in further.items()))
    return paths.data_dir() / "campaigns" / profile.name / "_".join(parts)


def open_shipped(profile: Profile, protocol: str) -> dict[str, xr.Dataset]:
    """The shipped series of a protocol, as :func:`open_protocol` returns them, or the windows
    under their one name :data:`WINDOWS`.

    Raises
    ------
    MissingInputError
        If this protocol does not ship for this system.
    MeasureError
        If the file does not match its checksum, or was made with another system, integration
        or waveforms than the profile names now.
    """
    path = shipped_folder(profile) / f"{protocol}.nc"
    if not path.is_file():
        there = ", ".join(p.stem for p in sorted(path.parent.glob("*.nc"))) or "nothing"
        raise MissingInputError(
            f"no results of {protocol!r} ship for {path.parent.name} of profile "
            f"{profile.name!r} (there is: {there}); run notebook 02_simulate and "
            "then this one without source = 'campaign'"
        )
    manifest = path.with_suffix(".json")
    record = shipped_manifest(manifest)
    if sha256(path) != record["sha256"]:
        raise MeasureError(f"{path} does not match its checksum; restore it with git checkout")
    made_with = validated(Profile, record.get("profile") or {}, str(manifest))
    _of_one_physics(made_with, profile, path)
    out = read_protocol(path)
    if protocol == WINDOWS:
        return out
    theirs, wanted = (one.protocol(protocol).waveforms() for one in (made_with, profile))
    if theirs != wanted or set(out) != set(wanted):
        raise MeasureError(
            f"{path} holds {', '.join(out)}, which are not the waveforms of protocol "
            f"{protocol!r} in profile {profile.name!r}; use the profile it was made with"
        )
    return out


def _of_one_physics(made_with: Profile, profile: Profile, path: Path) -> None:
    """Refuse results of another box, system or integration than the profile's."""
    theirs, ours = (
        {
            "reference_length_x_nm": one.reference_length_x_nm,
            **one.system.model_dump(exclude={"seed"}),
            # how long a segment is, and what a current is averaged over, is no part of them
            **one.run.model_dump(exclude={"chunk_ps", "current_window_ps"}),
        }
        for one in (made_with, profile)
    )
    for name, value in theirs.items():
        if ours[name] != value:
            raise MeasureError(
                f"{path} was made with {name} = {value}, and profile {profile.name!r} has "
                f"{ours[name]}; use the profile it was made with, or run yours without "
                "source = 'campaign'"
            )


def shipped_manifest(path: Path) -> dict[str, Any]:
    """The record of a shipped item.

    Raises
    ------
    MissingInputError, MeasureError
        If it is not there, or is no such record.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(f"the manifest {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise MeasureError(f"the manifest {path} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != "campaign item":
        raise MeasureError(f"{path} is not the manifest of a campaign item")
    return content


def write_protocol(by_label: Mapping[str, xr.Dataset], path: Path) -> Path:
    """Write what :func:`open_protocol` returned into one file, a group for each waveform.

    Raises
    ------
    MeasureError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    mode: Literal["w", "a"] = "w"
    try:
        for label, dataset in by_label.items():
            encoding = {
                str(name): _encoding(str(name), dataset[name])
                for name in dataset.variables
                if name in _DIMENSIONS or name in _UNIT_STORED
            }
            dataset.assign_attrs(Conventions=CONVENTION).to_netcdf(
                temporary, mode=mode, group=label, engine="netcdf4", format="NETCDF4",
                encoding=encoding,
            )  # fmt: skip
            mode = "a"
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        raise MeasureError(f"the series {path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_protocol(path: Path) -> dict[str, xr.Dataset]:
    """Read a file of :func:`write_protocol`.

    Raises
    ------
    MeasureError
        If it is damaged or not of this version.
    """
    with _reading(path, "restore it with git checkout"), _in_memory(path) as file:
        return {label: _load(path, group) for label, group in file.groups.items()}


def stack_replicas(replicas: Mapping[int, xr.Dataset]) -> xr.Dataset:
    """Series of replicas, by number, as one dataset with a first dimension ``replica``.

    Raises
    ------
    MeasureError
        If they do not cover the same time with common frames.
    """
    if not replicas:
        raise MeasureError("no replicas to put side by side; give at least one series")
    numbers = sorted(replicas)
    slots = max(r.sizes["slot"] for r in replicas.values())
    out = xr.concat(
        _in_common_frames([_padded(replicas[n], slots) for n in numbers],
                          [f"replica {n}" for n in numbers]),
        dim="replica", data_vars="all", coords="minimal", compat="override",
        join="exact", combine_attrs="drop_conflicts",
    )  # fmt: skip
    return out.assign_coords(replica=("replica", numbers))


def _in_common_frames(each: Sequence[xr.Dataset], names: Sequence[str]) -> list[xr.Dataset]:
    """Series at the times that all of them hold; an error if they do not cover the same time.

    Frames may be spaced otherwise where a segment is shared with another protocol, or was run
    when more of them were asked for.
    """
    stamps = [np.rint(one["time"].values / _TIME_UNIT_PS) for one in each]
    shared = functools.reduce(np.intersect1d, stamps)
    if len(shared) < 2 or any((stamp[[0, -1]] != shared[[0, -1]]).any() for stamp in stamps):
        kinds: dict[str, str] = {}
        for name, one in zip(names, each, strict=True):
            time = one["time"].values
            kinds.setdefault(f"{len(time)} frames from {time[0]:g} to {time[-1]:g} ps", name)
        found = ", ".join(f"{kind} ({name})" for kind, name in kinds.items())
        raise MeasureError(
            f"the series do not cover the same time with common frames: {found}; finish the "
            "runs, or run them with the same frame_ps"
        )
    return [
        one.isel(time=np.flatnonzero(np.isin(stamp, shared))).assign_coords(
            time=("time", shared * _TIME_UNIT_PS, one["time"].attrs)
        )
        for one, stamp in zip(each, stamps, strict=True)
    ]


def _encoding(name: str, variable: xr.DataArray) -> dict[str, Any]:
    """How a variable is stored: as small integers, compressed where that pays for itself."""
    unit = _UNIT_STORED.get(name, 1.0)
    largest = float(np.nanmax(np.abs(variable.values), initial=0.0)) / unit
    dtype = next((t for t in ("int8", "int16", "int32") if largest < np.iinfo(t).max), None)
    if dtype is None:
        raise MeasureError(
            f"{name} reaches {largest * unit:g} {variable.attrs.get('units', '')}, more than a "
            f"series' file can hold ({np.iinfo('int32').max * unit:g}); check its unit"
        )
    encoding: dict[str, Any] = {"dtype": dtype}
    if name in _UNIT_STORED:
        encoding |= {"scale_factor": unit, "_FillValue": np.iinfo(dtype).min}
    if not variable.size:  # no ions; for netCDF a dimension that may grow
        return encoding
    if variable.size * np.dtype(dtype).itemsize < _SMALLEST_COMPRESSED_BYTES:
        return encoding | {"contiguous": True}
    chunks = [min(n, _FRAMES_PER_CHUNK) for n in variable.shape]
    return encoding | {"zlib": True, "complevel": 6, "shuffle": True, "chunksizes": chunks}


def checksum(dataset: xr.Dataset) -> str:
    """SHA-256 of a series' numbers as they are stored, whatever its attributes say."""
    return _digest(dataset, _UNIT_STORED)


def _digest(dataset: xr.Dataset, units: Mapping[str, float]) -> str:
    """SHA-256 of the integers that are stored, the same before writing and after reading."""
    sha = hashlib.sha256()
    for name in _DIMENSIONS:
        unit = units.get(name, 1.0)
        values = np.nan_to_num(dataset[name].values / unit, nan=np.iinfo(np.int64).min)
        sha.update(name.encode() + np.rint(values).astype("<i8").tobytes())
    return sha.hexdigest()


def _spacing(dataset: xr.Dataset) -> float:
    time = dataset["time"].values
    return float(np.median(np.diff(time))) if len(time) > 1 else 0.0


def _padded(dataset: xr.Dataset, slots: int) -> xr.Dataset:
    return dataset.pad(slot=(0, slots - dataset.sizes["slot"]), constant_values=np.nan)


def _bridge(before: xr.Dataset, after: xr.Dataset) -> xr.DataArray:
    """Charge (estimator, species) transferred between two parts by the straightest path."""
    length, slab = float(before.attrs["length_x_nm"]), float(before.attrs["slab_width_nm"])
    start = before["ion_x"].sel(boundary="last").values
    end = after["ion_x"].sel(boundary="first").values
    if len(start) != len(end):
        raise MeasureError(
            f"consecutive series hold {len(start)} and {len(end)} ions; they belong to "
            "different systems"
        )
    laps = -np.rint((end - start) / length)
    species = np.repeat(np.arange(len(SPECIES)), np.asarray(before.attrs["n_ions"], dtype=int))
    charges = np.atleast_1d(np.asarray(before.attrs["ion_charges_e"], dtype=float))
    out = np.zeros((len(ESTIMATORS), len(SPECIES)))
    for i, width in enumerate((length, slab, 0.0)):
        moved = laps + (
            (np.clip(end, -width / 2, width / 2) - np.clip(start, -width / 2, width / 2)) / width
            if width
            else (end >= 0).astype(float) - (start >= 0)
        )
        np.add.at(out[i], species, charges[species] * moved)
    return xr.DataArray(out, dims=("estimator", "species"))


def _validate(dataset: xr.Dataset, what: str) -> None:
    """Raise :class:`MeasureError` unless this is a whole and sensible series."""
    missing = [name for name in _DIMENSIONS if name not in dataset.variables]
    missing += [name for name in _NEEDED if name not in dataset.attrs]
    if missing:
        raise MeasureError(f"{what} lacks {', '.join(missing)}; reduce its trajectory again")
    for name, dimensions in _DIMENSIONS.items():
        if dataset[name].dims != dimensions:
            raise MeasureError(
                f"{what}: {name} has dimensions {dataset[name].dims}, not {dimensions}; reduce "
                "its trajectory again"
            )
        values = dataset[name].values
        if name != "theta" and not np.isfinite(values).all():
            raise MeasureError(f"{what}: {name} holds values that are not finite; it is damaged")
    time, theta = dataset["time"].values, dataset["theta"].values
    if not len(time) or (np.diff(time) <= 0).any():
        raise MeasureError(f"{what}: its times are empty or do not increase; it is damaged")
    counted = np.isfinite(theta).sum(axis=1)
    if (counted != dataset["pore_water_count"].values).any() or (np.abs(theta) > 180.001).any():
        raise MeasureError(f"{what}: theta and pore_water_count do not agree; it is damaged")
    for dimension, labels in (("estimator", ESTIMATORS), ("species", SPECIES)):
        if tuple(dataset[dimension].values) != labels:
            raise MeasureError(
                f"{what}: {dimension} is {tuple(dataset[dimension].values)}, not {labels}; reduce "
                "its trajectory again"
            )
