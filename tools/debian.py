"""Packages and sources from a Debian-like distribution, its own apt settings untouched.

Packages are installed as root or through a sudo that asks for no password. Sources are
fetched with a private apt configuration: the machine's package sources with ``deb``
turned into ``deb-src``, lists and caches in a directory of their own. Proxies, keys and
credentials stay where the machine keeps them, because every other setting is inherited.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from common import CONDA_ROUTE, SetupError, run_logged, say

COMPONENTS = {"main", "universe"}
"""Where Debian and Ubuntu keep GROMACS; a third party's components have other names."""


def privilege() -> list[str] | None:
    """What to put before a command to run it as root, or None where that is impossible."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is not None:
        asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if asked.returncode == 0:
            return ["sudo", "-n"]
    return None


def cannot_install(packages: Sequence[str], why: str) -> str | None:
    """The one message for a machine where ``packages`` are missing and cannot be added.

    None where they can be installed.
    """
    if shutil.which("apt-get") is None:
        obstacle, remedy = "there is no apt-get", "Install their equivalents"
    elif privilege() is None:
        obstacle = "this is not root, and there is no sudo that asks for no password"
        remedy = f"Have them installed (apt-get install {' '.join(packages)})"
    else:
        return None
    return (
        f"missing on this machine: {', '.join(packages)} ({why}), and {obstacle}.\n"
        f"  {remedy}, or {CONDA_ROUTE}"
    )


def install(packages: Sequence[str], why: str, log: Path) -> None:
    """Install the distribution's packages, refreshing apt's lists only if that helps.

    Raises
    ------
    SetupError
        Naming the packages and the conda route where they cannot be installed.
    """
    obstacle = cannot_install(packages, why)
    if obstacle is not None:
        raise SetupError(obstacle)
    prefix = privilege() or []
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    command = [*apt, "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "install"]
    command += ["--no-install-recommends", *packages]
    what = f"installing {' '.join(packages)} ({why})"
    try:
        run_logged(command, log, what)
    except SetupError:
        # New machines have no lists yet and old ones stale lists; a source that fails to
        # refresh need not be the one that is wanted.
        say("  apt has no usable lists of packages yet: refreshing them")
        with log.open("a", encoding="utf-8") as out:
            subprocess.run(
                [*apt, "-q", "update"],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        run_logged(command, log, what)


def distribution_suites() -> set[str]:
    """Code names of this machine's distribution, e.g. ``{"bookworm"}``."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return set()
    names = ("VERSION_CODENAME", "UBUNTU_CODENAME", "DEBIAN_CODENAME")
    return {release[name] for name in names if release.get(name)}


def _kept_suite(suite: str, codenames: set[str]) -> bool:
    """Whether a suite is the distribution's own release, its updates or its security."""
    base, _, pocket = suite.replace("/", "-").partition("-")
    return base in codenames and pocket in {"", "updates", "security"}


def source_lines(text: str, codenames: set[str], kind: str = "deb-src") -> str:
    """Lines of a kind for the distribution's own entries of a one-line ``.list`` file."""
    kept = []
    for line in text.splitlines():
        entry = re.fullmatch(
            r"deb(?:-src)?\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line.partition("#")[0].strip()
        )
        if entry is None:
            continue
        options, uri, suite, components = entry.groups()
        wanted = [name for name in components.split() if name in COMPONENTS]
        if wanted and _kept_suite(suite, codenames) and not uri.startswith("cdrom:"):
            kept.append(f"{kind} {options or ''}{uri} {suite} {' '.join(wanted)}")
    return "".join(f"{line}\n" for line in dict.fromkeys(kept))


def source_stanzas(text: str, codenames: set[str], kind: str = "deb-src") -> str:
    """Stanzas of a kind for the distribution's own entries of a deb822 ``.sources`` file."""
    kept = []
    for stanza in re.split(r"\n\s*\n", "\n".join(_without_comments(text))):
        fields = _fields(stanza)
        value = {name.lower(): " ".join(body.split()) for name, body in fields}
        if value.get("enabled", "yes").lower() in {"no", "false", "without", "off", "disable", "0"}:
            continue
        if not {"deb", "deb-src"} & set(value.get("types", "").split()):
            continue
        if value.get("uris", "").startswith("cdrom:"):
            continue
        suites = [s for s in value.get("suites", "").split() if _kept_suite(s, codenames)]
        components = [c for c in value.get("components", "").split() if c in COMPONENTS]
        if suites and components:
            replaced = {
                "types": f" {kind}",
                "suites": " " + " ".join(suites),
                "components": " " + " ".join(components),
            }
            kept.append("\n".join(f"{n}:{replaced.get(n.lower(), b)}" for n, b in fields) + "\n")
    return "\n".join(dict.fromkeys(kept))


def _without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def _fields(stanza: str) -> list[tuple[str, str]]:
    """Names and values of one deb822 stanza, continuation lines kept as they are."""
    fields: list[tuple[str, str]] = []
    for line in stanza.splitlines():
        if line[:1].isspace() and fields:
            name, value = fields[-1]
            fields[-1] = (name, f"{value}\n{line}")
        elif ":" in line:
            name, _, value = line.partition(":")
            fields.append((name.strip(), value))
    return fields


def machine_sources() -> list[Path]:
    """The files apt reads its package sources from on this machine."""
    answer = subprocess.run(
        [
            "apt-config",
            "shell",
            "LIST",
            "Dir::Etc::sourcelist/f",
            "PARTS",
            "Dir::Etc::sourceparts/d",
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    where = dict(re.findall(r"^(LIST|PARTS)='(.*)'$", answer, flags=re.MULTILINE))
    main = Path(where.get("LIST", "/etc/apt/sources.list"))
    parts = Path(where.get("PARTS", "/etc/apt/sources.list.d"))
    listed = sorted(parts.glob("*.list")) + sorted(parts.glob("*.sources"))
    return [path for path in [main, *listed] if path.is_file()]


def private_configuration(
    where: Path, sources: Iterable[Path], codenames: set[str], kind: str = "deb-src"
) -> Path:
    """Write a private apt configuration that offers the distribution's packages.

    Parameters
    ----------
    where
        Empty directory for the configuration, its lists and its caches.
    sources
        The machine's source files, one-line (``.list``) and deb822 (``.sources``).
    codenames
        The distribution's code names; entries of other suites are foreign and left out.
    kind
        ``deb-src`` for source packages, ``deb`` for binary ones.

    Returns
    -------
    Path
        File for ``apt-get -c``.

    Raises
    ------
    SetupError
        If none of the files holds an enabled entry of the distribution.
    """
    parts = where / "sources.list.d"
    for directory in (parts, where / "lists" / "partial", where / "cache" / "archives" / "partial"):
        directory.mkdir(parents=True)
    rolling = {"stable", "oldstable", "testing", "unstable", "sid"}
    read = list(sources)
    for names in (codenames, rolling):
        for number, path in enumerate(read):
            text = path.read_text(encoding="utf-8", errors="replace")
            derive = source_stanzas if path.suffix == ".sources" else source_lines
            derived = derive(text, names, kind)
            if derived:
                (parts / f"{number:02d}{path.suffix}").write_text(derived, encoding="utf-8")
        if any(parts.iterdir()):
            break
    else:
        raise SetupError(
            "apt is set up without any source of the distribution "
            f"({', '.join(sorted(codenames)) or 'unknown release'}) in "
            f"{', '.join(map(str, read)) or 'its configuration'}.\n"
            f"  Give a GROMACS source archive with GROMACS_SOURCE=FILE, or {CONDA_ROUTE}"
        )
    configuration = where / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::sourcelist "/dev/null";\n'
        f'Dir::Etc::sourceparts "{parts}";\n'
        f'Dir::State::lists "{where / "lists"}";\n'
        f'Dir::Cache "{where / "cache"}";\n'
        f'Dir::Cache::archives "{where / "cache" / "archives"}";\n'
        'Acquire::Languages "none";\n'
        # Hooks are the machine's business with its own lists.
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n",
        encoding="utf-8",
    )
    return configuration


def source_command(configuration: Path) -> list[str]:
    """``apt-get source`` under a private configuration, without its options."""
    return ["apt-get", "-c", str(configuration), "-q", "source", "--only-source"]


def source_version(configuration: Path, package: str, log: Path) -> str:
    """Refresh the private lists and name the version that ``fetch_source`` would fetch."""
    with log.open("a", encoding="utf-8") as out:
        # One unreachable source is no reason to stop if another one offers the package.
        subprocess.run(
            ["apt-get", "-c", configuration, "-q", "update"],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    offered = subprocess.run(
        [*source_command(configuration), "--print-uris", package],
        capture_output=True,
        text=True,
        check=False,
    )
    name = re.search(rf"\b{package}_(?:\d+:)?(\d[^\s_]*)\.dsc\b", offered.stdout)
    if name is None:
        with log.open("a", encoding="utf-8") as out:
            out.write(offered.stdout + offered.stderr)
        raise SetupError(
            f"apt offers no source package {package} (is the network there? see {log}).\n"
            f"  Give a GROMACS source archive with GROMACS_SOURCE=FILE, or {CONDA_ROUTE}"
        )
    return name.group(1).rpartition("-")[0] or name.group(1)


def fetch_source(configuration: Path, package: str, where: Path, log: Path) -> Path:
    """Download a source package and return its verified upstream archive.

    apt checks the files against the archive's signed lists; their SHA256 is compared with
    the package's own description once more.

    Raises
    ------
    SetupError
        If the download fails, a checksum differs, or there is no upstream archive.
    """
    run_logged(
        [
            "apt-get",
            "-c",
            configuration,
            "-q",
            "source",
            "--only-source",
            "--download-only",
            package,
        ],
        log,
        f"fetching the source package {package} with apt",
        cwd=where,
    )
    descriptions = sorted(where.glob(f"{package}_*.dsc"))
    if len(descriptions) != 1:
        raise SetupError(f"apt left no source package {package} in {where}; see {log}")
    archives = []
    for name, expected in described_checksums(descriptions[0].read_text(encoding="utf-8")).items():
        found = sha256(where / name)
        if found != expected:
            raise SetupError(
                f"{name} is damaged: SHA256 {found} instead of {expected}; repeat the command"
            )
        if re.fullmatch(rf"{package}_[^_]*\.orig\.tar\.\w+", name):
            archives.append(where / name)
    if len(archives) != 1:
        raise SetupError(f"{descriptions[0].name} names no upstream archive")
    return archives[0]


def unpack(packages: Sequence[str], target: Path, scratch: Path, log: Path) -> None:
    """Unpack packages, and what they need beyond what is installed, without being root.

    Parameters
    ----------
    packages
        The distribution's names.
    target
        Directory that takes the place of the file system's root.
    scratch
        Empty directory for lists and archives.
    log
        File that apt's output is appended to.

    Raises
    ------
    SetupError
        If apt offers no such packages.
    """
    configuration = private_configuration(
        scratch, machine_sources(), distribution_suites(), kind="deb"
    )
    # Locks are root's; these lists and archives are nobody else's.
    apt: list[str | Path] = ["apt-get", "-c", configuration, "-q", "-o", "Debug::NoLocking=true"]
    what = f"fetching {' '.join(packages)} with apt"
    run_logged([*apt, "update"], log, what)
    options = ["-y", "--download-only", "--no-install-recommends"]
    run_logged([*apt, "install", *options, *packages], log, "  and what it needs")
    target.mkdir(parents=True, exist_ok=True)
    for archive in sorted((scratch / "cache" / "archives").glob("*.deb")):
        run_logged(["dpkg-deb", "-x", archive, target], log, f"  unpacking {archive.name}")


def described_checksums(description: str) -> dict[str, str]:
    """File names and SHA256 of a ``.dsc``."""
    section = re.search(r"^Checksums-Sha256:[^\n]*\n((?:[ \t].*\n?)+)", description, re.MULTILINE)
    rows = [line.split() for line in section.group(1).splitlines()] if section else []
    return {row[2]: row[0] for row in rows if len(row) == 3}


def sha256(path: Path) -> str:
    """SHA256 of a file, in hexadecimal; empty for a file that is not there."""
    if not path.is_file():
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
