"""Ions and pore water of one trajectory, in a single streaming pass.

Every frame is decoded once, into a small reused buffer; what is kept per frame is the
charge transferred by each ion species, the ions in the pore, and the directions of the
pore water's dipoles. Memory does not grow with the trajectory beyond that.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from MDAnalysis.lib.formats.libmdaxdr import XTCFile

from ..errors import MeasureError
from ..spec import RunSpec

FloatArray = npt.NDArray[np.float64]

SPECIES = ("K", "Cl")
ESTIMATORS = ("box", "pore", "crossings")
ION_CHARGES_E = {"K": 1.0, "Cl": -1.0}
HYDROGEN_CHARGE_E = 0.4238
"""SPC/E (Berendsen, Grigera and Straatsma 1987); the oxygen carries minus twice this."""
DEBYE_PER_E_NM = 48.03204
"""One elementary charge times one nanometre, in debye."""
BOX_TOLERANCE_NM = 0.01
FRAMES_AT_ONCE = 16
"""Frames decoded before they are reduced together: enough to make the cost of calling
numpy small, few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class _Layout:
    """Where things are in a frame, from the system's manifest."""

    box_nm: FloatArray
    pore_nm: FloatArray
    water: slice
    ions: tuple[slice, ...]
    n_atoms: int
    ion_charges_e: tuple[float, ...]
    hydrogen_charge_e: float


def reduce_trajectory(
    xtc: Path,
    system_manifest: Mapping[str, Any],
    *,
    run: RunSpec,
    field: Callable[[FloatArray], FloatArray],
    start_ps: float,
    duration_ps: float | None = None,
) -> xr.Dataset:
    """Reduce one segment's trajectory to its labelled series.

    Parameters
    ----------
    xtc
        Trajectory of all atoms, in the order of the manifest, in an orthorhombic box.
    system_manifest
        The system's ``manifest.json``: ``atoms``, ``box_nm``, ``pore`` and, where the
        model differs from full ions in SPC/E water, ``charges_e``.
    run
        Gives the pore region: ``pore_half_length_nm`` and ``pore_radius_nm``.
    field
        Applied field in V/nm at an array of times in ps since the replica's root state.
    start_ps
        Time of the segment's beginning since the replica's root state. Earlier frames
        are ignored; a frame at this very time may or may not have been written.
    duration_ps
        If given, the last frame must lie within one frame of ``start_ps + duration_ps``.

    Returns
    -------
    xarray.Dataset
        Dimensions ``time`` (ps), ``species`` (K, Cl), ``estimator`` (box, pore,
        crossings), ``slot`` (pore-water molecules of a frame, in no order that lasts),
        ``boundary`` (first, last) and ``ion``. Variables, each with its unit:

        - ``field`` (time), V/nm;
        - ``charge`` (estimator, species, time), e: transferred along +x since the
          segment's first frame;
        - ``ions_in_pore`` (species, time) and ``pore_water_count`` (time);
        - ``theta`` (time, slot), degrees in (-180, 180], NaN where there is no molecule:
          angle between the +x axis and the dipole's projection on the x-y plane;
        - ``dipole_x`` (time), debye: sum over the pore water;
        - ``ion_x`` (boundary, ion), nm from the membrane: lets the next segment's series
          be joined without losing the displacement between the two.

    Raises
    ------
    MeasureError
        If the file is damaged, cut short, or does not belong to this system.

    Notes
    -----
    With x measured from the membrane's middle plane, Lx the box length and N the net
    number of times that an ion has left the box through its far boundary, one ion of
    charge q has transferred

    .. math:: Q_w = q \\left[\\frac{c_w(x)}{w} + N\\right]_0^t, \\qquad
        c_w(x) = \\min(\\max(x, -w/2), w/2).

    This is q/w times the length of the ion's path inside a slab of width w about the
    membrane, exact for straight paths between frames, also for ions that enter or leave
    the slab. The three estimators are three widths:

    - ``box``, w = Lx: q Δx/Lx with the displacement unwrapped by the minimum image from
      frame to frame. Its derivative is the current of Aksimentiev and Schulten, Biophys.
      J. 88, 3745 (2005), and, by the Shockley-Ramo theorem (Shockley, J. Appl. Phys. 9,
      635 (1938)) the current in the circuit that holds the box's voltage. It includes
      the charging of the membrane by the reservoirs.
    - ``pore``, w twice ``pore_half_length_nm``: the same sum restricted to the membrane's slab.
      The default, 0.6 nm, is the longest region in which only ions inside the pore are
      found: the surfaces keep ions more than 0.35 nm from the middle plane.
    - ``crossings``, w → 0: net passages of the middle plane. A jump to the periodic
      image at the far boundary is none.

    All three grow alike over long times; they differ by bounded amounts, which are
    charge stored between the membrane and the boundaries.

    A water molecule is made whole by the minimum image to its oxygen, whose position
    decides whether it is in the pore: |x| < ``pore_half_length_nm`` and distance from
    the axis < ``pore_radius_nm``. Ions are counted in the same region.
    """
    layout = _layout(system_manifest)
    length = float(layout.box_nm[0])
    half_length, radius = run.pore_half_length_nm, run.pore_radius_nm
    width = 2 * half_length
    widths = (length, width, 0.0)

    times: list[FloatArray] = []
    transferred: list[FloatArray] = []
    ion_counts: list[npt.NDArray[np.int64]] = []
    water_frames: list[npt.NDArray[np.intp]] = []
    thetas: list[FloatArray] = []
    dipoles: list[FloatArray] = []
    n_frames = 0
    previous: FloatArray | None = None
    winding: FloatArray | None = None
    first_x: FloatArray | None = None

    for t, positions in _frames(xtc, layout, start_ps):
        x, counts = _ions(positions, layout, half_length, radius)
        winding, laps = _wind(x, previous, winding, length)
        previous = x[-1]
        if first_x is None:
            first_x = x[0]
        times.append(t)
        ion_counts.append(counts)
        transferred.append(_transferred(x, laps, layout, widths))
        frame, theta, dipole = _pore_water(positions, layout, half_length, radius)
        water_frames.append(frame + n_frames)
        thetas.append(theta)
        dipoles.append(dipole)
        n_frames += len(t)
    if first_x is None or previous is None:
        raise MeasureError(
            f"{xtc} holds no frame at or after {start_ps:g} ps; run the segment again"
        )

    time = _regular(np.concatenate(times), start_ps)
    _check_times(xtc, time, start_ps, duration_ps)
    charge = np.concatenate(transferred, axis=-1)
    charge -= charge[..., :1]
    theta_table, water_count = _pad(np.concatenate(water_frames), np.concatenate(thetas), n_frames)
    return xr.Dataset(
        {
            "field": (
                "time",
                np.asarray(field(time), dtype=float),
                _about("V/nm", "applied field"),
            ),
            "charge": (
                ("estimator", "species", "time"),
                charge,
                _about("e", "charge transferred along +x since the origin"),
            ),
            "ions_in_pore": (
                ("species", "time"),
                np.concatenate(ion_counts, axis=-1),
                _about("1", "ions in the pore"),
            ),
            "pore_water_count": ("time", water_count, _about("1", "water molecules in the pore")),
            "theta": (
                ("time", "slot"),
                theta_table,
                _about("degree", "angle of the projected dipole from +x"),
            ),
            "dipole_x": (
                "time",
                np.concatenate(dipoles),
                _about("debye", "dipole of the pore water along x"),
            ),
            "ion_x": (
                ("boundary", "ion"),
                np.stack([first_x, previous]),
                _about("nm", "ions' x from the membrane at the first and last frame"),
            ),
        },
        coords={
            "time": ("time", time, _about("ps", "time since the replica's root state")),
            "species": ("species", list(SPECIES)),
            "estimator": ("estimator", list(ESTIMATORS)),
            "boundary": ("boundary", ["first", "last"]),
        },
        attrs={
            "system_key": str(system_manifest.get("key", "")),
            "start_ps": float(start_ps),
            "origin_ps": float(time[0]),
            "length_x_nm": length,
            "slab_width_nm": float(width),
            "pore_half_length_nm": float(half_length),
            "pore_radius_nm": float(radius),
            "current_window_ps": float(run.current_window_ps),
            "n_ions": [s.stop - s.start for s in layout.ions],
            "ion_charges_e": list(layout.ion_charges_e),
        },
    )


def _about(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}


def _layout(manifest: Mapping[str, Any]) -> _Layout:
    try:
        ranges = {name: slice(*map(int, manifest["atoms"][name])) for name in ("water", *SPECIES)}
        n_atoms = max(int(stop) for _, stop in manifest["atoms"].values())
        box = np.asarray(manifest["box_nm"], dtype=float)
        pore = np.array([manifest["pore"]["x_nm"], *manifest["pore"]["centre_yz_nm"]], dtype=float)
    except (KeyError, TypeError, ValueError) as error:
        raise MeasureError(
            f"the system's manifest cannot be used, {type(error).__name__}: {error}; it must "
            "hold atoms (water, K, Cl), box_nm and pore (x_nm, centre_yz_nm): build the system "
            "again"
        ) from error
    water = ranges["water"]
    if (water.stop - water.start) % 3:
        raise MeasureError(
            f"the system's manifest gives {water.stop - water.start} water atoms, which is not "
            "a multiple of three: build the system again"
        )
    charges = manifest.get("charges_e") or {}
    return _Layout(
        box_nm=box,
        pore_nm=pore,
        water=water,
        ions=tuple(ranges[name] for name in SPECIES),
        n_atoms=n_atoms,
        ion_charges_e=tuple(float(charges.get(s, ION_CHARGES_E[s])) for s in SPECIES),
        hydrogen_charge_e=float(charges.get("HW", HYDROGEN_CHARGE_E)),
    )


def _frames(
    xtc: Path, layout: _Layout, from_ps: float
) -> Iterator[tuple[FloatArray, npt.NDArray[np.float32]]]:
    """Times (n,) and positions (n, atoms, 3), a few frames at a time; the buffer is reused."""
    if not xtc.is_file():
        raise MeasureError(f"there is no trajectory {xtc}; run the segment again")
    buffer = np.empty((FRAMES_AT_ONCE, layout.n_atoms, 3), dtype=np.float32)
    times = np.empty(FRAMES_AT_ONCE)
    boxes = np.empty((FRAMES_AT_ONCE, 3, 3))
    # Times are stored in single precision.
    earliest = from_ps - max(1e-3, float(np.spacing(np.float32(abs(from_ps)))))
    n_read = 0
    try:
        with XTCFile(str(xtc)) as file:
            if file.n_atoms != layout.n_atoms:
                raise MeasureError(
                    f"{xtc} holds {file.n_atoms} atoms and the system {layout.n_atoms}; it "
                    "belongs to another system, or not all atoms were written"
                )
            n = FRAMES_AT_ONCE
            while n == FRAMES_AT_ONCE:
                n = 0
                with contextlib.suppress(StopIteration):
                    for row in buffer:
                        frame = file.read_direct_x(row)
                        times[n], boxes[n] = frame.time, frame.box
                        n += 1
                        n_read += 1
                _check_boxes(xtc, times[:n], boxes[:n], layout.box_nm)
                keep = int(np.searchsorted(times[:n] >= earliest, True))
                if keep < n:
                    yield times[keep:n].copy(), buffer[keep:n]
    except OSError as error:
        raise MeasureError(
            f"{xtc} is damaged or cut short after frame {n_read}: {error}; run the segment again"
        ) from error


def _check_boxes(xtc: Path, times: FloatArray, boxes: FloatArray, box_nm: FloatArray) -> None:
    wrong = np.abs(boxes - np.diag(box_nm)).max(axis=(1, 2)) > BOX_TOLERANCE_NM
    if wrong.any():
        at = int(np.argmax(wrong))
        raise MeasureError(
            f"{xtc}: the box at {times[at]:g} ps is {boxes[at].round(4).tolist()} nm, but the "
            f"system's is orthorhombic, {box_nm.tolist()} nm; it belongs to another system"
        )


def _wrapped(x: npt.NDArray[Any], length: float) -> npt.NDArray[Any]:
    """Minimum image: into [-length/2, length/2]."""
    return x - length * np.rint(x / length)


def _in_pore(
    x: npt.NDArray[Any], yz: npt.NDArray[Any], layout: _Layout, half_length: float, radius: float
) -> npt.NDArray[np.bool_]:
    y = _wrapped(yz[..., 0] - layout.pore_nm[1], float(layout.box_nm[1]))
    z = _wrapped(yz[..., 1] - layout.pore_nm[2], float(layout.box_nm[2]))
    inside: npt.NDArray[np.bool_] = (np.abs(x) < half_length) & (y * y + z * z < radius * radius)
    return inside


def _ions(
    positions: npt.NDArray[np.float32], layout: _Layout, half_length: float, radius: float
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """x (n, ions) from the membrane in the box, and counts in the pore (species, n)."""
    ions = np.concatenate([positions[:, s] for s in layout.ions], axis=1).astype(float)
    x = _wrapped(ions[..., 0] - layout.pore_nm[0], float(layout.box_nm[0]))
    inside = _in_pore(x, ions[..., 1:], layout, half_length, radius)
    counts = [inside[:, s].sum(axis=1, dtype=np.int64) for s in _species_slices(layout)]
    return x, np.stack(counts)


def _species_slices(layout: _Layout) -> list[slice]:
    stops = itertools.accumulate((s.stop - s.start for s in layout.ions), initial=0)
    return [slice(a, b) for a, b in itertools.pairwise(stops)]


def _wind(
    x: FloatArray, previous: FloatArray | None, winding: FloatArray | None, length: float
) -> tuple[FloatArray, FloatArray]:
    """Net exits through the +x boundary: after the last frame (ions,), and at each (n, ions)."""
    steps = np.diff(x, axis=0, prepend=x[:1] if previous is None else previous[None])
    laps = np.cumsum(-np.rint(steps / length), axis=0)
    if winding is not None:
        laps += winding
    return laps[-1], laps


def _transferred(
    x: FloatArray, laps: FloatArray, layout: _Layout, widths: tuple[float, ...]
) -> FloatArray:
    """Charge (estimator, species, n) of ions at ``x`` (n, ions) after ``laps`` windings."""
    out = np.empty((len(widths), len(layout.ions), len(x)))
    for i, width in enumerate(widths):
        inside = np.clip(x, -width / 2, width / 2) / width if width else (x >= 0).astype(float)
        passed = inside + laps
        for j, ions in enumerate(_species_slices(layout)):
            out[i, j] = layout.ion_charges_e[j] * passed[:, ions].sum(axis=1)
    return out


def _pore_water(
    positions: npt.NDArray[np.float32], layout: _Layout, half_length: float, radius: float
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """Frame number and angle (degrees) of each pore water, and dipole along x (debye, n)."""
    water = positions[:, layout.water]
    x = _wrapped(water[:, ::3, 0] - np.float32(layout.pore_nm[0]), float(layout.box_nm[0]))
    frame, molecule = np.nonzero(np.abs(x) < half_length)
    oxygen = water[frame, 3 * molecule]
    inside = _in_pore(x[frame, molecule], oxygen[:, 1:], layout, half_length, radius)
    frame, molecule, oxygen = frame[inside], molecule[inside], oxygen[inside]
    arms = np.zeros((len(frame), 3))
    for hydrogen in (1, 2):
        arm = water[frame, 3 * molecule + hydrogen].astype(float) - oxygen
        arms += arm - layout.box_nm * np.rint(arm / layout.box_nm)
    theta = np.degrees(np.arctan2(arms[:, 1], arms[:, 0]))
    dipole = DEBYE_PER_E_NM * layout.hydrogen_charge_e * arms[:, 0]
    total = np.zeros(len(positions))
    np.add.at(total, frame, dipole)
    return frame.astype(np.intp, copy=False), theta, total


def _pad(
    frame: npt.NDArray[np.intp], values: FloatArray, n_frames: int
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Values listed by frame as a table (n_frames, slots) filled up with NaN, and the counts."""
    counts = np.bincount(frame, minlength=n_frames)
    table = np.full((n_frames, max(1, int(counts.max()))), np.nan)
    table[frame, np.arange(len(frame)) - (np.cumsum(counts) - counts)[frame]] = values
    return table, counts.astype(np.int64)


def _regular(time: FloatArray, start_ps: float) -> FloatArray:
    """Undo the single precision of stored times where frames are evenly spaced.

    The grid starts at the segment's beginning or at the first frame.
    """
    if len(time) < 2:
        return np.round(time, 4)
    precision = max(5e-5, float(np.spacing(np.float32(np.abs(time).max()))))
    tolerance = 2 * precision
    raw = float(time[-1] - time[0]) / (len(time) - 1)
    roundest = (round(raw, digits) for digits in range(1, 5))
    spacing = next((s for s in roundest if abs(s - raw) <= precision / (len(time) - 1)), raw)
    first = start_ps if abs(time[0] - start_ps) <= tolerance else round(float(time[0]), 4)
    grid = np.round(first + spacing * np.arange(len(time)), 4)
    return grid if np.abs(time - grid).max() <= tolerance else time


def _check_times(xtc: Path, time: FloatArray, start_ps: float, duration_ps: float | None) -> None:
    steps = np.diff(time)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise MeasureError(
            f"{xtc}: time does not increase from frame {at} ({time[at]:g} ps) to the next "
            f"({time[at + 1]:g} ps); it was joined or restarted wrongly: run the segment again"
        )
    if duration_ps is None:
        return
    end = start_ps + duration_ps
    spacing = float(np.median(steps)) if len(steps) else duration_ps
    if not end - spacing - 1e-3 < time[-1] < end + 1e-3 + float(np.spacing(np.float32(end))):
        raise MeasureError(
            f"{xtc} ends at {time[-1]:g} ps, but the segment at {end:g} ps; it is cut short or "
            "belongs to another segment: run the segment again"
        )
