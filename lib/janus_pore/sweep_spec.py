"""Sweeps over parameters of a profile, or all of a profile, in one YAML file.

.. code-block:: yaml

    name: amplitudes
    profile: tiny
    protocols: [sine]
    vary:
      charge_set: [mosse, uncharged]
      amplitude_V_per_nm: [0.6, 1.2]
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from . import paths
from .errors import SpecError
from .spec import (
    ALONE,
    Profile,
    Sine,
    Waveform,
    key,
    load_profile,
    read_yaml,
    validated,
    with_its_own_charges,
)

OF_THE_WAVE = ("amplitude_V_per_nm", "frequency_GHz")
"""Axes that change every sine of the protocols chosen; the others change the system."""

_OF_WAVEFORMS = {name for kind in get_args(get_args(Waveform)[0]) for name in kind.model_fields}

Names = tuple[Annotated[str, Field(pattern=r"^[\w.+-]+$")], ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Vary(_Strict):
    """Values of the parameters that a sweep goes through, in every combination."""

    charge_set: Names = ()
    pore: Names = ()
    length_x_nm: tuple[float, ...] = ()
    concentration_M: tuple[float, ...] = ()
    seed: tuple[int, ...] = ()
    amplitude_V_per_nm: tuple[float, ...] = ()
    frequency_GHz: tuple[float, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_waveforms(cls, given: Any) -> Any:
        unknown = set(given) - set(cls.model_fields) if isinstance(given, dict) else set()
        for name in sorted(unknown & _OF_WAVEFORMS):
            raise ValueError(
                f"{name} is a waveform's own parameter; vary it by the scan of a protocol, such as "
                f"fixed: {{protocols.ppd.scan: {{{name}: [1, 2]}}}}, a column of the table"
            )
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, values in self:
            written = [as_text(value) for value in values]
            if twice := {text for text in written if written.count(text) > 1}:
                raise ValueError(
                    f"vary.{name} holds {', '.join(sorted(twice))} more than once, as written in "
                    "a directory's name (six digits); leave one of them out"
                )
        return self

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Those that are varied, by name."""
        return {name: values for name, values in self if values}


class Sweep(_Strict):
    """What to run, of which profile, and which notebooks to draw for each point.

    Attributes
    ----------
    name
        Of the directory ``results/sweeps/<name>``.
    profile
        A shipped profile, or a YAML file, relative to the sweep's own file.
    fixed
        Overrides for all points by dotted name, such as ``{run.settle_ps: 1.0}``.
    vary
        The axes of a sweep. Without any the profile itself is the only point.
    protocols
        Names of those to run; by default all, with the profile's windows and further systems.
    notebooks
        Executed for each point once its runs are there.
    threads
        OpenMP threads of each replica. They decide the order of sums, so that the same
        number gives the same bits wherever a sweep runs.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.+-]*$")]
    description: str = ""
    profile: str
    fixed: dict[str, Any] = {}
    vary: Vary = Vary()
    protocols: Names = ()
    notebooks: Names = ("03_iv_ndr",)
    threads: Annotated[int, Field(ge=1, le=256)] = 1

    @field_validator("fixed")
    @classmethod
    def _changes(cls, fixed: dict[str, Any]) -> dict[str, Any]:
        if idle := [name for name, value in fixed.items() if value is None]:
            raise ValueError(
                f"{idle[0]} = null changes nothing; leave it out, and name the protocols to run "
                "if windows and further systems should not"
            )
        return fixed

    @property
    def whole(self) -> bool:
        """Whether it is a profile as it is, whose results lie and are reported as its own."""
        return not (self.vary.axes or self.fixed or self.protocols)

    @property
    def home(self) -> Path:
        """Where the directories of its points are."""
        results = paths.results_dir()
        return results if self.whole else results / "sweeps" / self.name

    def receipt(self, label: str, what: str) -> Path:
        """File that says that a point's series or one of its notebooks is made.

        A scheduler's names of jobs hold no commas, which a point's directory does.
        """
        return self.home / ".made" / f"{key(self.name, label)}-{what}.json"


def write_receipt(receipt: Path, root: Path, made: Iterable[Path], **about: Any) -> Path:
    """Say what was made, by its place below ``root``; the file is whole or not there."""
    names = sorted({path.relative_to(root).as_posix() for path in made})
    receipt.parent.mkdir(parents=True, exist_ok=True)
    return paths.write_whole(receipt, json.dumps({**about, "made": names}, indent=1) + "\n")


def void(receipts: Iterable[Path], root: Path) -> list[Path]:
    """Withdraw the receipts of what is no longer there, and name them."""
    gone = []
    for receipt in receipts:
        try:
            made = json.loads(receipt.read_text(encoding="utf-8"))["made"]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError):
            made = [""]
        if not all(name and (root / name).is_file() for name in made):
            receipt.unlink()
            gone.append(receipt)
    return gone


def load_sweep(file: str | Path) -> Sweep:
    """Read and validate a sweep.

    Raises
    ------
    SpecError
        Naming each wrong parameter, its value, and what is allowed.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise SpecError(f"sweep file {path} is not there; workflow/sweeps/ holds examples")
    data = read_yaml(path, "sweep file")
    data.setdefault("name", path.stem)
    chosen = validated(Sweep, data, f"sweep {path}")
    beside = path.parent / chosen.profile
    if chosen.profile.endswith((".yaml", ".yml")) and beside.is_file():
        chosen = chosen.model_copy(update={"profile": str(beside)})
    for name in chosen.notebooks:
        if not (paths.project_root() / "notebooks" / f"{name}.ipynb").is_file():
            raise SpecError(f"sweep {path}: notebooks names {name!r}, which is not there")
    points(chosen)  # every combination must be valid in itself
    return chosen


def points(chosen: Sweep) -> dict[str, Profile]:
    """A profile for every point, by its label, such as ``pore=hollow6,seed=2``.

    The profile's name is the label, and that of its directory in :attr:`Sweep.home`.

    Raises
    ------
    SpecError
        If a point's parameters are wrong; the message names the point.
    """
    base = load_profile(chosen.profile, chosen.fixed)
    if chosen.whole:
        return {base.name: base}
    data = base.model_dump(mode="json", exclude={"own_system"})
    if chosen.protocols:
        kept = {name: base.protocol(name) for name in chosen.protocols}
        data["protocols"] = {name: p.model_dump(mode="json") for name, p in kept.items()}
        data |= {"windows": None, **ALONE}
    axes = chosen.vary.axes
    # what the sweep sets has no other choice beside it
    settled = {*axes, *(name.removeprefix("system.") for name in chosen.fixed)}
    data["alternatives"] = [a for a in data["alternatives"] if not settled & set(a["system"])]
    sines = [name for name, p in base.protocols.items() if isinstance(p.waveform, Sine)]
    sines = [name for name in sines if name in data["protocols"]]
    if not sines and (of_the_wave := [name for name in axes if name in OF_THE_WAVE]):
        raise SpecError(
            f"sweep {chosen.name!r} varies {', '.join(of_the_wave)}, and none of its protocols "
            f"is a sine; its protocols are {', '.join(sorted(data['protocols']))}"
        )
    out = {}
    for values in itertools.product(*axes.values()):
        at = dict(zip(axes, values, strict=True))
        label = label_of(at) or "all"
        system = {name: value for name, value in at.items() if name not in OF_THE_WAVE}
        wave = {name: value for name, value in at.items() if name in OF_THE_WAVE}
        point = {
            **data,
            "name": label,
            "system": data["system"] | with_its_own_charges(system),
            "protocols": data["protocols"]
            | {s: _with_wave(data["protocols"][s], wave) for s in sines if wave},
        }
        if point["system"]["pore"] == "none":  # the control has no further systems, nor windows
            point |= {"windows": None, **ALONE}
        if "charge_set" in system:  # the further systems of Fig. 4 are this axis
            point["charge_sets"] = []
        out[label] = validated(Profile, point, f"sweep {chosen.name!r}, point {label}")
    return out


def _with_wave(protocol: Mapping[str, Any], wave: Mapping[str, Any]) -> dict[str, Any]:
    scan = {name: values for name, values in protocol["scan"].items() if name not in wave}
    return {**protocol, "scan": scan, "waveform": protocol["waveform"] | wave}


def label_of(values: Mapping[str, Any]) -> str:
    """Parameters as the name of a directory."""
    return ",".join(f"{name}={as_text(value)}" for name, value in values.items())


def as_text(value: object) -> str:
    """A value as it stands in a label."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameters(chosen: Sweep) -> dict[str, dict[str, Any]]:
    """The varied parameters of every point, by its label."""
    axes = chosen.vary.axes
    combinations = [dict(zip(axes, v, strict=True)) for v in itertools.product(*axes.values())]
    return dict(zip(points(chosen), combinations, strict=True))
