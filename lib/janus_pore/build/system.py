"""Solvent and ions around the membrane, written as a system that GROMACS can read."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.spatial import cKDTree

from .. import __version__, paths
from ..errors import BuildError, MissingInputError
from ..spec import PAIR_LIST_ROOM_nm, SystemSpec, key
from .forcefield import decimal_charge, digest, load_forcefield, topology
from .membrane import Membrane, build_membrane, edge_diameters

Array = NDArray[np.float64]

BULK_DISTANCE_nm = 1.0
"""The bulk begins this far from the plane of the metals."""

LEAST_BULK_nm = 0.5
"""Less of the box than this, beyond what lies too near the membrane, is no bulk to measure."""

DENSITY_TOLERANCE_g_per_cm3 = 0.010
"""How far the bulk density may be from the specification's after equilibration."""

DALTON_PER_NM3 = 1.66053907e-3
"""1 u/nm3 in g/cm3."""

PER_MOLAR_NM3 = 0.602214076
"""Particles per nm3 in 1 mol/L."""

_WALL_DISTANCE_nm = 0.29  # placed oxygens to membrane atoms: inside the first peak's foot
_ION_DISTANCE_nm = 0.40  # between placed ions: never neighbours on the solvent's lattice
_ION_WALL_nm = 0.80  # placed ions to the plane of the metals: in the reservoirs
_FILES = ("conf.gro", "topol.top", "index.ndx")


@dataclass(frozen=True)
class BuiltSystem:
    """A finished system on disk."""

    dir: Path
    manifest: dict[str, Any]
    spec: SystemSpec

    @property
    def atoms(self) -> int:
        """How many."""
        return int(max(stop for _, stop in self.manifest["atoms"].values()))

    @property
    def gro(self) -> Path:
        """Coordinates; also the reference of position restraints."""
        return self.dir / "conf.gro"

    @property
    def top(self) -> Path:
        """Self-contained topology."""
        return self.dir / "topol.top"

    @property
    def ndx(self) -> Path:
        """Index groups System, Membrane, Water, K, Cl, Ions, Mobile."""
        return self.dir / "index.ndx"


@dataclass(frozen=True)
class BulkDensity:
    """Mean densities of the bulk, g/cm3, with standard errors from blocks of frames.

    ``solvent_equivalent`` counts each ion as the water it was exchanged for; ``water`` is
    the water alone and ``total`` the mass of everything.
    """

    solvent_equivalent_g_per_cm3: float
    water_g_per_cm3: float
    total_g_per_cm3: float
    solvent_equivalent_error_g_per_cm3: float
    water_error_g_per_cm3: float
    total_error_g_per_cm3: float
    frames: int


def system_key(system: SystemSpec) -> str:
    """Hash of the specification and the force field."""
    return key(system, digest())


def system_dir(system: SystemSpec) -> Path:
    """Where a system lies, built or not: ``runs/<charge set>-<pore>-<key>/system``."""
    name = f"{system.charge_set}-{system.pore}-{system_key(system)[:8]}"
    return paths.runs_dir() / name / "system"


def open_system(system: SystemSpec) -> BuiltSystem:
    """A system built before, its files checked.

    Raises
    ------
    MissingInputError
        If it has not been built.
    BuildError
        If a file is damaged.
    """
    directory = system_dir(system)
    if not directory.is_dir():
        raise MissingInputError(
            f"system {directory} has not been built; run notebook 01_build with the same "
            "parameters, or build_system(spec) from janus_pore.build.system"
        )
    return _verified(directory, system)


def build_system(system: SystemSpec) -> BuiltSystem:
    """Build a system, or return the one already there.

    The same specification gives the same bytes. Files are written under a temporary name
    and renamed when whole; a lock keeps two processes from building the same system.

    Raises
    ------
    SpecError
        If the charge set, its charges or the Lennard-Jones variant is wrong.
    BuildError
        If the pore or the box is impossible, the ions do not fit, the directory cannot be
        written, or a system found there is damaged.
    """
    directory = system_dir(system)
    if directory.is_dir():
        return _verified(directory, system)
    contents = system_files(system)
    parent = directory.parent
    made_parent = not parent.exists()
    lock = parent / "system.lock"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            for abandoned in parent.glob(".system-*"):  # by a process that was killed
                shutil.rmtree(abandoned)
            if not directory.is_dir():  # another process may have built it meanwhile
                _write(contents, directory)
    except OSError as error:
        if made_parent:
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)
                parent.rmdir()
        raise BuildError(
            f"system {directory} cannot be written: {error.strerror or error}; free space or "
            "choose a writable place with JANUS_PORE_RUNS"
        ) from error
    return _verified(directory, system)


def system_files(system: SystemSpec) -> dict[str, str]:
    """Everything that makes a system, by file name, without touching the disk.

    Raises
    ------
    SpecError, BuildError
        As :func:`build_system`.
    """
    membrane = build_membrane(system)
    _check_box(system, membrane)
    forcefield = load_forcefield()
    box = np.array([system.length_x_nm, *membrane.box_yz_nm])
    walls = membrane.positions_nm + np.array([box[0] / 2, 0, 0])
    radius = forcefield.charge_set(system.charge_set).exclusion_radius_nm
    volume = accessible_volume_nm3(walls, box, radius)
    solvent = round(
        volume * system.bulk_density_g_per_cm3 / (forcefield.water.mass_u * DALTON_PER_NM3)
    )
    pairs = round(system.concentration_M * PER_MOLAR_NM3 * volume / 2)  # in each reservoir
    if system.concentration_M > 0 and not pairs:
        raise BuildError(
            f"concentration_M = {system.concentration_M:g} mol/L is less than half an ion pair in "
            "either reservoir; one pair in each is "
            f"{2 / (PER_MOLAR_NM3 * volume):.3g} mol/L here: raise it, lengthen length_x_nm, or "
            "choose 0 for pure water"
        )
    rng = np.random.default_rng(system.seed)
    sites = _solvent_sites(walls, box, membrane, solvent, rng)
    potassium, chloride, oxygens = _exchange(sites, box, pairs, rng)
    water = _molecules(oxygens, rng)
    positions = np.vstack([walls, water, potassium, chloride])
    ends = np.cumsum([0, len(walls), len(water), len(potassium), len(chloride)])
    atoms = {
        name: [int(start), int(stop)]
        for name, (start, stop) in zip(
            ("membrane", "water", "K", "Cl"), itertools.pairwise(ends), strict=True
        )
    }
    counts = {"SOL": len(oxygens), "K": len(potassium), "CL": len(chloride)}
    texts = {
        "conf.gro": _gro(positions, box, membrane, counts, system),
        "topol.top": topology(membrane, system, counts),
        "index.ndx": _index(atoms),
    }
    charges = forcefield.charges_e(system)
    net = (
        sum((decimal_charge(q) for q in membrane.charges_e), Decimal(0))
        + counts["K"] * decimal_charge(forcefield.ions["K"].charge_e)
        + counts["CL"] * decimal_charge(forcefield.ions["Cl"].charge_e)
    )
    if net:
        raise BuildError(f"the system would carry {net:+} e; this is a defect of the builder")
    manifest = {
        "kind": "system",
        "key": system_key(system),
        "spec": system.model_dump(mode="json"),
        "box_nm": [round(float(edge), 6) for edge in box],
        "pore": _pore_entry(membrane, float(box[0])),
        "atoms": atoms,
        "charges_e": {
            **{str(site): charge for site, charge in charges.items()},
            "OW": forcefield.water.oxygen.charge_e,
            "HW": forcefield.water.hydrogen.charge_e,
            "K": forcefield.ions["K"].charge_e,
            "Cl": forcefield.ions["Cl"].charge_e,
        },
        "net_charge_e": float(net),
        "density": {
            "target_g_per_cm3": system.bulk_density_g_per_cm3,
            "tolerance_g_per_cm3": DENSITY_TOLERANCE_g_per_cm3,
            "bulk_distance_nm": BULK_DISTANCE_nm,
            "accessible_volume_nm3": round(volume, 4),
            "exclusion_radius_nm": radius,
            "n_water": counts["SOL"],
            "n_ions": counts["K"] + counts["CL"],
            "concentration_M": round(2 * pairs / (PER_MOLAR_NM3 * volume), 4),
        },
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()},
        "provenance": {
            "janus_pore": __version__,
            "numpy": np.__version__,
            "forcefield_digest": digest(),
            "seed": system.seed,
        },
    }
    manifest["checksum"] = key(manifest)
    return {**texts, "manifest.json": json.dumps(manifest, indent=1) + "\n"}


def accessible_volume_nm3(walls_nm: Array, box_nm: Array, radius_nm: float) -> float:
    """Volume of the box outside spheres around the membrane's atoms.

    Parameters
    ----------
    walls_nm
        (n, 3) membrane atoms.
    box_nm
        (3,) edges.
    radius_nm
        Radius of every sphere. With the calibrated radius this volume times the bulk's
        number density is the number of waters: the spheres' surface is the solvent's Gibbs
        surface, and a pore counts with the room that it really has.
    """
    low, high = walls_nm[:, 0].min() - radius_nm, walls_nm[:, 0].max() + radius_nm
    tree = cKDTree(np.mod(walls_nm, box_nm), boxsize=box_nm)
    edges = np.array([high - low, box_nm[1], box_nm[2]])
    counts = np.ceil(edges / 0.04).astype(int)
    grid = [(np.arange(n) + 0.5) * edge / n for n, edge in zip(counts, edges, strict=True)]
    free = 0
    for x in low + grid[0]:
        plane = np.stack(np.meshgrid([x % box_nm[0]], grid[1], grid[2], indexing="ij"), axis=-1)
        distance, _ = tree.query(plane.reshape(-1, 3), distance_upper_bound=radius_nm)
        free += int(np.isinf(distance).sum())
    slab = edges.prod()
    return float(box_nm.prod() - slab * (1 - free / counts.prod()))


def bulk_density(
    frames_nm: Iterable[Array], box_nm: Array, manifest: Mapping[str, Any]
) -> BulkDensity:
    """Density of the bulk, more than :data:`BULK_DISTANCE_nm` from the membrane.

    Parameters
    ----------
    frames_nm
        Frames of (n_atoms, 3) positions in the system's order, wrapped or not, in order
        of time.
    box_nm
        (3,) edges.
    manifest
        The system's manifest.

    Raises
    ------
    BuildError
        If the box is too short to have a bulk, or there is no frame.

    Notes
    -----
    The specification's density is that of the solvent before ions took the place of
    waters, so it is compared with ``solvent_equivalent``: (n_water + n_ions) m_water / V.
    For real 1 M KCl at 25 °C, 1.043 g/cm3 with 0.968 g/cm3 of water, this measure is
    1.004 g/cm3, so exchanging ions one for one against waters keeps the solution's density
    within 1 % of the experimental one. Waters count by their oxygen. Standard errors are
    those of five consecutive blocks of frames, or of the frames if there are fewer.
    """
    forcefield = load_forcefield()
    atoms = manifest["atoms"]
    centre, length = float(manifest["pore"]["x_nm"]), float(box_nm[0])
    if length < 2 * BULK_DISTANCE_nm + LEAST_BULK_nm:
        raise BuildError(
            f"length_x_nm = {length:g} nm leaves no bulk: {BULK_DISTANCE_nm:g} nm on either side "
            f"of the membrane do not count, and {LEAST_BULK_nm:g} nm are needed beyond them"
        )
    bulk_volume = float(np.prod(box_nm)) * (1 - 2 * BULK_DISTANCE_nm / length)
    masses = {
        "water": forcefield.water.mass_u,
        "K": forcefield.ions["K"].mass_u,
        "Cl": forcefield.ions["Cl"].mass_u,
    }
    rows = []
    for frame in frames_nm:
        inside = {}
        for name in masses:
            start, stop = atoms[name]
            x = np.asarray(frame)[start : stop : 3 if name == "water" else 1, 0] - centre
            inside[name] = int((np.abs(x - length * np.round(x / length)) > BULK_DISTANCE_nm).sum())
        rows.append(
            [
                sum(inside.values()) * masses["water"],
                inside["water"] * masses["water"],
                sum(n * masses[name] for name, n in inside.items()),
            ]
        )
    if not rows:
        raise BuildError("bulk_density needs at least one frame; the trajectory is empty")
    values = np.array(rows) * DALTON_PER_NM3 / bulk_volume
    blocks = np.array([b.mean(axis=0) for b in np.array_split(values, min(5, len(values)))])
    error = (
        blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks)) if len(blocks) > 1 else np.full(3, np.nan)
    )
    mean = values.mean(axis=0)
    return BulkDensity(
        solvent_equivalent_g_per_cm3=float(mean[0]),
        water_g_per_cm3=float(mean[1]),
        total_g_per_cm3=float(mean[2]),
        solvent_equivalent_error_g_per_cm3=float(error[0]),
        water_error_g_per_cm3=float(error[1]),
        total_error_g_per_cm3=float(error[2]),
        frames=len(values),
    )


def calibrated_radius_nm(system: BuiltSystem, density: BulkDensity) -> float:
    """Exclusion radius with which the system would have reached a measured density.

    This is how ``exclusion_radius_nm`` of each charge set was found: equilibrate a system
    at constant volume, measure its :func:`bulk_density`, and ask which accessible volume
    holds all of its waters and ions at the density measured.

    Parameters
    ----------
    system
        The system that was run.
    density
        What was measured in its bulk.

    Raises
    ------
    BuildError
        If no radius from 0.1 to 0.5 nm explains the density.
    """
    membrane = build_membrane(system.spec)
    box = np.array(system.manifest["box_nm"])
    walls = membrane.positions_nm + np.array([box[0] / 2, 0, 0])
    counts = system.manifest["density"]
    mass = float(counts["n_water"] + counts["n_ions"]) * load_forcefield().water.mass_u
    volume = mass * DALTON_PER_NM3 / density.solvent_equivalent_g_per_cm3

    def missing(radius_nm: float) -> float:
        return accessible_volume_nm3(walls, box, radius_nm) - volume

    low, high = 0.1, 0.5
    if missing(low) * missing(high) > 0:
        raise BuildError(
            f"no exclusion radius from {low:g} to {high:g} nm explains a bulk density of "
            f"{density.solvent_equivalent_g_per_cm3:.3f} g/cm3; check the trajectory"
        )
    return float(brentq(missing, low, high, xtol=1e-5))


def _pore_entry(membrane: Membrane, length_x_nm: float) -> dict[str, Any]:
    sizes = edge_diameters(membrane)
    return {
        "centre_yz_nm": [round(c, 6) for c in membrane.centre_yz_nm],
        "x_nm": round(length_x_nm / 2, 6),
        "edge_columns": sizes.edge_columns if sizes else 0,
        "edge_diameters_nm": {
            name: round(getattr(sizes, name), 6) for name in ("min", "mean", "max")
        }
        if sizes
        else None,
        "removed_units": membrane.removed_units,
    }


def _check_box(system: SystemSpec, membrane: Membrane) -> None:
    least = 2 * system.cutoff_nm + PAIR_LIST_ROOM_nm
    for name, edge, cells in (
        ("y", membrane.box_yz_nm[0], system.cells_y),
        ("z", membrane.box_yz_nm[1], system.cells_z),
    ):
        if edge < least - 1e-9:
            needed = int(np.ceil(least / (edge / cells) - 1e-9))
            raise BuildError(
                f"cells_{name} = {cells} makes the box {edge:.3f} nm along {name}, shorter than "
                f"twice the cut-off plus {PAIR_LIST_ROOM_nm:g} nm for the pair list "
                f"({least:g} nm); use cells_{name} >= {needed} or lower cutoff_nm"
            )


def _solvent_sites(
    walls: Array, box: Array, membrane: Membrane, count: int, rng: np.random.Generator
) -> Array:
    """Places for oxygens: a face-centred lattice outside the membrane, thinned at random.

    Of the lattices that fit the periodic box the one with the widest spacing that still
    has enough sites is used; a site lies on the pore's axis in the membrane's plane.
    """
    tree = cKDTree(np.mod(walls, box), boxsize=box)
    basis = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    ideal = box / (4 * box.prod() / count) ** (1 / 3)
    options = sorted(
        itertools.product(*(range(max(1, int(n) - 1), int(n) + 4) for n in ideal)),
        key=lambda cells: (-_spacing(box / cells), cells),
    )
    for cells in options:
        if 4 * int(np.prod(cells)) < count:
            continue
        corners = np.array(list(itertools.product(*map(range, cells))))
        sites = (corners[:, None, :] + basis[None, :, :]).reshape(-1, 3) * (box / cells)
        sites = np.mod(sites + np.array([box[0] / 2, *membrane.centre_yz_nm]), box)
        distance, _ = tree.query(sites)
        sites = sites[distance > _WALL_DISTANCE_nm]
        if len(sites) >= count:
            chosen = np.sort(rng.permutation(len(sites))[:count])
            return np.asarray(sites[chosen])
    raise BuildError(
        f"no lattice holds {count} waters in a {box[0]:.3f} x {box[1]:.3f} x {box[2]:.3f} nm3 "
        "box; lower bulk_density_g_per_cm3 or lengthen length_x_nm"
    )


def _spacing(cell: Array) -> float:
    """Distance between nearest sites of a face-centred lattice."""
    return float(np.sqrt(np.sort(cell)[0] ** 2 + np.sort(cell)[1] ** 2) / 2)


def _exchange(
    sites: Array, box: Array, pairs: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Turn waters into ions: as many K as Cl in both reservoirs, apart from each other."""
    taken: list[int] = []
    species: dict[str, list[int]] = {"K": [], "Cl": []}
    from_plane = sites[:, 0] - box[0] / 2
    for side in (-1, 1):
        free = np.flatnonzero(side * from_plane > _ION_WALL_nm)
        wanted = itertools.cycle(species)
        placed = 0
        for site in rng.permutation(free):
            if placed == 2 * pairs:
                break
            apart = sites[taken] - sites[site]
            apart -= box * np.round(apart / box)
            if taken and ((apart**2).sum(axis=1) < _ION_DISTANCE_nm**2).any():
                continue
            taken.append(int(site))
            species[next(wanted)].append(int(site))
            placed += 1
        if placed < 2 * pairs:
            raise BuildError(
                f"only {placed} of {2 * pairs} ions fit one reservoir of length "
                f"{box[0] / 2:.3f} nm at least {_ION_DISTANCE_nm:g} nm apart; lower "
                "concentration_M or lengthen length_x_nm"
            )
    return (
        sites[species["K"]],
        sites[species["Cl"]],
        np.delete(sites, taken, axis=0),
    )


def _molecules(oxygens: Array, rng: np.random.Generator) -> Array:
    """Rigid waters in random orientations, (3 n, 3)."""
    water = load_forcefield().water
    half = water.distance_HH_nm / 2
    along = np.sqrt(water.bond_OH_nm**2 - half**2)
    axis = _unit(rng.normal(size=(len(oxygens), 3)))
    across = _unit(np.cross(axis, rng.normal(size=(len(oxygens), 3))))
    return np.stack(
        [oxygens, oxygens + along * axis + half * across, oxygens + along * axis - half * across],
        axis=1,
    ).reshape(-1, 3)


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _gro(
    positions: Array, box: Array, membrane: Membrane, counts: dict[str, int], system: SystemSpec
) -> str:
    """Coordinates with six decimals; numbers above 99999 wrap, as the format asks."""

    def names() -> Iterator[tuple[int, str, str]]:
        for element in membrane.elements:
            yield 1, "MEM", element.upper()
        residue = 1
        for _ in range(counts["SOL"]):
            residue += 1
            for atom in ("OW", "HW1", "HW2"):
                yield residue, "SOL", atom
        for name in ("K", "CL"):
            for _ in range(counts[name]):
                residue += 1
                yield residue, name, name

    lines = [f"{system.charge_set} {system.pore}", str(len(positions))]
    lines += [
        f"{residue % 100000:5d}{molecule:<5s}{atom:>5s}{i % 100000:5d}{x:11.6f}{y:11.6f}{z:11.6f}"
        for i, ((residue, molecule, atom), (x, y, z)) in enumerate(
            zip(names(), positions, strict=True), start=1
        )
    ]
    lines.append("".join(f"{edge:11.6f}" for edge in box))
    return "\n".join(lines) + "\n"


def _index(atoms: dict[str, list[int]]) -> str:
    """Index groups, fifteen numbers to a line: GROMACS cuts lines of 4096 characters."""
    total = atoms["Cl"][1]
    groups = {
        "System": (0, total),
        "Membrane": atoms["membrane"],
        "Water": atoms["water"],
        "K": atoms["K"],
        "Cl": atoms["Cl"],
        "Ions": (atoms["K"][0], total),
        "Mobile": (atoms["water"][0], total),
    }
    lines = []
    for name, (start, stop) in groups.items():
        lines.append(f"[ {name} ]")
        lines += [
            " ".join(str(i + 1) for i in range(first, min(first + 15, stop)))
            for first in range(start, stop, 15)
        ]
    return "\n".join(lines) + "\n"


def _write(contents: Mapping[str, str], directory: Path) -> None:
    """Write files under a temporary name beside a directory, then give them its name."""
    temporary = Path(tempfile.mkdtemp(prefix=".system-", dir=directory.parent))
    try:
        temporary.chmod(0o755)
        for name, text in contents.items():
            (temporary / name).write_text(text, encoding="utf-8")
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _verified(directory: Path, system: SystemSpec) -> BuiltSystem:
    """Open a system after checking that it is the one asked for and that it is whole."""
    remedy = f"remove the directory {directory} and build the system again"
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        checksum = manifest.pop("checksum")
        expected = {name: manifest["files"][name] for name in _FILES}
        same = manifest["key"] == system_key(system)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"system {directory} has no readable manifest: {remedy}") from error
    if checksum != key(manifest):
        raise BuildError(f"system {directory} is damaged: manifest.json was changed; {remedy}")
    if not same:
        raise BuildError(f"system {directory} belongs to another specification: {remedy}")
    for name, sha256 in expected.items():
        try:
            found = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        except OSError as error:
            raise BuildError(f"system {directory} lacks {name}: {remedy}") from error
        if found != sha256:
            raise BuildError(f"system {directory} is damaged: {name} was changed; {remedy}")
    return BuiltSystem(dir=directory, manifest=manifest, spec=system)
