"""``python -m janus_pore.drive``: plan and run protocols, or any field from a file."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..build.membrane import build_membrane
from ..build.system import build_system
from ..errors import JanusPoreError, SpecError
from ..spec import Profile, Protocol, key, load_profile, validated
from . import ensemble, field, windows
from .workers import time_left

MOST_LOST = 0.1
"""Most of a wave's largest field that pieces as long as between its times may lose."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 1 if it fails, with the reason on stderr."""
    options = _parser().parse_args(arguments)
    try:
        profile = load_profile(
            options.profile,
            {
                "system.pore": options.pore,
                "system.charge_set": options.charge_set,
                "system.seed": options.seed,
            },
        )
        if getattr(options, "variant", None) is not None:
            profile = profile.only(options.variant)
        options.do(profile, options)
    except JanusPoreError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _plan(profile: Profile, options: argparse.Namespace) -> None:
    print(ensemble.plan_table(ensemble.plan(profile, options.protocol or None)))


def _run(profile: Profile, options: argparse.Namespace) -> None:
    left_h = time_left(options.walltime_h)
    if options.only is not None and not options.protocol:
        raise SpecError("--only is about the replicas of a protocol; name it")
    systems = (profile, *(() if options.protocol else profile.siblings()))
    for one in systems:  # what cannot be run is said before anything is
        build_membrane(one.system)
        for name in options.protocol or one.protocols:
            try:
                ensemble.histories(one, one.protocol(name))
            except SpecError as error:
                raise SpecError(f"protocol {name!r}: {error}") from None
            last = one.protocol(name).replicas - 1
            if options.only is not None and max(options.only) > last:
                raise SpecError(
                    f"--only {min(options.only)}-{max(options.only)}: the last replica of protocol "
                    f"{name!r} is {last}; raise its replicas in the profile"
                )
    for one in systems:
        build_system(one.system)
        for name in options.protocol or one.protocols:
            ensemble.run_protocol(
                one, name, workers=options.workers, walltime_h=left_h(),
                keep_trajectory=options.keep_trajectory, only=options.only,
            )  # fmt: skip


def _windows(profile: Profile, options: argparse.Namespace) -> None:
    windows.asked_for(profile)
    left_h = time_left(options.walltime_h)
    for one in (profile, *profile.siblings()):
        if one.windows:
            build_system(one.system)
            windows.run_windows(one, workers=options.workers, walltime_h=left_h())


def _wave(profile: Profile, options: argparse.Namespace) -> None:
    wave = field.read_sampled(options.file, options.step_ps)
    name = options.file.stem
    asked = {"waveform": wave, "replicas": options.replicas, "frame_ps": options.frame_ps}
    protocol = validated(Protocol, asked, name)
    profile = validated(
        Profile, {**profile.model_dump(), "protocols": {name: protocol.model_dump()}}, name
    )
    print(
        f"{options.file}: {field.duration_ps(wave):g} ps in steps of {wave.step_ps:g} ps, "
        f"{len(field.segments(wave))} constant pieces, at most "
        f"{field.sampling_error(wave):.3g} V/nm from the file; fields are applied times "
        f"{profile.field_scale:g} for the voltage of a {profile.reference_length_x_nm:g} nm box"
    )
    lost = field.sampling_error(wave) / (max(map(abs, wave.fields_V_per_nm)) or 1.0)
    if options.step_ps is None and lost > MOST_LOST:
        raise SpecError(
            f"{options.file}: constant pieces of {wave.step_ps:g} ps, as between its times, lose "
            f"{lost:.0%} of its largest field; give shorter ones with --step-ps, or --step-ps "
            f"{wave.step_ps:g} to take them so"
        )
    if options.plan:
        print(ensemble.plan_table(ensemble.plan(profile, [name])))
        return
    build_system(profile.system)
    left_h = time_left(options.walltime_h)
    records = ensemble.run_protocol(profile, name, workers=options.workers, walltime_h=left_h())
    # What was run is handed down to the next storey.
    from ..measure import series

    folder = options.output or profile.results_dir
    for record in records:
        whole = series.concatenate(list(record.series))
        # two waves of one name stay apart, and one wave on two systems
        made = key(wave, profile.system, profile.run, digits=6)
        file = f"{name}-{made}-r{record.replica:03d}.nc"
        print(series.write(whole, folder / file))


def _numbers(text: str) -> range:
    """``2-4``, or one number."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    numbers = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
    if not numbers:
        raise argparse.ArgumentTypeError(f"{text!r} names no replicas; give one, or such as 2-4")
    return numbers


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m janus_pore.drive", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("profile", help="tiny, demo, reduced, paper, campaign or a YAML file")
    shared.add_argument("--pore", help="another pore than the profile's")
    shared.add_argument("--charge-set", help="another charge set than the profile's")
    shared.add_argument("--seed", type=int, help="another seed of the system")
    several = argparse.ArgumentParser(add_help=False)
    several.add_argument(
        "--variant", help="one of the profile's systems: own, or a further one, e.g. no-pore"
    )
    running = argparse.ArgumentParser(add_help=False)
    running.add_argument("--workers", type=int, help="replicas at once; default: as calibrated")
    running.add_argument("--walltime-h", type=float, help="stop cleanly after this time")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("plan", parents=[shared, several], help="ns, hours and storage")
    command.add_argument("protocol", nargs="*", help="default: all")
    command.set_defaults(do=_plan)

    command = commands.add_parser("run", parents=[shared, several, running], help="run protocols")
    command.add_argument("protocol", nargs="*", help="default: all")
    command.add_argument("--keep-trajectory", action="store_true", help="to play it later")
    command.add_argument(
        "--only", type=_numbers, metavar="FIRST-LAST", help="replicas to run, from 0; default: all"
    )
    command.set_defaults(do=_run)

    command = commands.add_parser(
        "windows", parents=[shared, several, running], help="run the windows"
    )
    command.set_defaults(do=_windows)

    command = commands.add_parser("wave", parents=[shared, running], help="run a field from a file")
    command.add_argument("file", type=Path, help="two columns: time in ps, field in V/nm")
    command.add_argument("--step-ps", type=float, help="constant pieces; default: as in the file")
    command.add_argument("--plan", action="store_true", help="only ns, hours and storage")
    command.add_argument("--replicas", type=int, default=1)
    command.add_argument("--frame-ps", type=float, default=0.1)
    command.add_argument("--output", type=Path, help="folder of the series; default: results/")
    command.set_defaults(do=_wave)
    return parser


if __name__ == "__main__":
    sys.exit(main())
