"""Measurements kept as JSON, and the page made of them: ``bench/RESULTS.md``."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from janus_pore.drive import gromacs
from janus_pore.drive.manifests import git_commit

HERE = Path(__file__).parent
KEPT = HERE / "results"

BUSY = 10.0
"""Percent of the processors in use between two measurements that make times unreliable."""

CLOCKED = ("throughput", "ensembles", "analysis", "overhead", "newcomer")
"""Parts measured by the clock, which depend on a quiet machine."""


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    gpus = gromacs.machine_gpus()
    return {
        "processor": f"{gromacs.processor()}, {gromacs.cores()} cores usable",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "GPU": ", ".join(gpus) or "none",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "other work": f"{psutil.cpu_percent(interval=0.5):.0f} %",
    }


def keep(name: str, data: Mapping[str, Any]) -> None:
    """Write a measurement with date, machine and commit, and the page anew."""
    KEPT.mkdir(exist_ok=True)
    stamped = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "commit": git_commit() or "unknown",
        "machine": machine(),
        **data,
    }
    text = json.dumps(stamped, indent=1, allow_nan=False) + "\n"
    (KEPT / f"{name}.json").write_text(text, encoding="utf-8")
    (HERE / "RESULTS.md").write_text(page(), encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that can be read as plain text too."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [" | ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)) for row in
             (head, ["-" * n for n in widths], *rows)]  # fmt: skip
    return "\n".join(f"| {line} |" for line in lines)


def page() -> str:
    """All that is kept, as Markdown."""
    parts = [
        "# Results\n\nWritten by `make bench`, `make faults` and `make newcomer`. Each ratio is "
        "of two measurements of one run, in turns; numbers of different sections may come from "
        "different days and machines."
    ]
    for name, show in SECTIONS.items():
        file = KEPT / f"{name}.json"
        if file.is_file():
            data = json.loads(file.read_text(encoding="utf-8"))
            about = ", ".join(f"{k}: {v}" for k, v in data["machine"].items())
            parts.append(show(data))
            if name in CLOCKED and float(data["machine"]["other work"].split()[0]) > BUSY:
                parts.append(
                    "**The machine had other work to do: times and their ratios are unreliable.**"
                )
            parts.append(f"*{data['date']}, commit {data['commit'][:12]}. {about}*")
    return "\n\n".join(parts) + "\n"


def _measured(data: Mapping[str, Any]) -> str:
    parts = []
    for group in data["groups"]:
        quick = " (quick: short runs)" if data["quick"] else ""
        parts += [f"## {group['title']}{quick}", group["text"], table(group["head"], group["rows"])]
    return "\n\n".join(parts)


def _faults(title: str) -> Callable[[Mapping[str, Any]], str]:
    def show(data: Mapping[str, Any]) -> str:
        kinds = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in data["by_kind"].items())
        rows = [
            ("faults", f"{data['faults']} ({kinds})"),
            ("ensembles, starts of the command", f"{data['ensembles']}, {data['starts']}"),
            ("series compared", f"{data['series_compared']}, bit for bit"),
            ("series wrong", str(len(data["series_wrong"]))),
            ("ensembles that did not finish", str(len(data["unfinished"]))),
            ("drivers that broke down", str(len(data["breakdowns"]))),
            ("systems named as damaged and built again", str(data["remedies"])),
            (
                "killed mdruns: time since their last checkpoint, or start",
                f"{data['lost_s_mean']:.2f} s on average, {data['lost_s_largest']:.2f} s at most; "
                f"a checkpoint every {data['checkpoint_every_s']:.2g} s",
            ),
            ("took", f"{data['wall_s']:.0f} s, seed {data['seed']}"),
        ]
        return f"## {title}\n\n{table(('', 'found'), rows)}"

    return show


def _haul(data: Mapping[str, Any]) -> str:
    first, last = data["first_quarter"], data["last_quarter"]
    rows = [
        (name.replace("_MB", ", MB").replace("_", " "), f"{first[name]:.1f}", f"{last[name]:.1f}",
         f"{slope:+.3f}")
        for name, slope in data["growth_per_100_segments"].items()
    ]  # fmt: skip
    head = ("held", "first quarter", "last quarter", "per 100 segments")
    about = (
        f"{data['ensembles']} ensembles, {data['segments']} segments in one process; means after "
        "warming up. The driver remembers the checksums of 65,536 files at most, some 0.7 kB each."
    )
    return f"## The long haul\n\n{about}\n\n{table(head, rows)}"


def _disk(data: Mapping[str, Any]) -> str:
    rows = [
        (f"peak while the first {data['first_ns']:g} ns was run", data["peak_first_bytes"]),
        ("peak of the whole run", data["peak_bytes"]),
        ("trajectory that was reduced and deleted", data["trajectory_bytes"]),
        ("series that is kept", data["series_bytes"]),
    ]
    about = (
        f"One replica of the {data['system']} system, {data['ns']:g} ns at a constant field, "
        f"frames every {data['frame_ps']:g} ps, reduced every {data['chunk_ps']:g} ps. The peak of "
        f"the whole is {data['peak_over_first']:.2f} times that of the beginning; the series takes "
        f"1/{data['trajectory_over_series']:.0f} of the trajectory."
    )
    sizes = table(("", "MB"), [(name, f"{size / 1e6:.1f}") for name, size in rows])
    title = f"Disk in use during {data['ns']:g} ns of the {data['system']} system"
    return f"## {title}\n\n{about}\n\n{sizes}"


def _newcomer(data: Mapping[str, Any]) -> str:
    took = data["stages_s"] | {"together": sum(data["stages_s"].values())}
    rows = [(name, f"{round(s) // 60}:{round(s) % 60:02d}") for name, s in took.items()]
    about = (
        "From a clone, without GROMACS or any package in a cache, to the end of `make report`, "
        f"profile `{data['profile']}`."
    )
    return f"## A newcomer's way\n\n{about}\n\n{table(('stage', 'min:s'), rows)}"


SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    **dict.fromkeys(
        ("throughput", "accuracy", "ensembles", "analysis", "overhead", "tree"), _measured
    ),
    "kills": _faults("Kills at random moments of an ensemble"),
    "faults": _faults("Faults of every kind"),
    "haul": _haul,
    **dict.fromkeys(("disk", "disk_larger"), _disk),
    "newcomer": _newcomer,
}
