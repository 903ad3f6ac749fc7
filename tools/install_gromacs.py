"""Find GROMACS, or build it once from the distribution's own source package.

The order: ``$GMX``, ``gmx`` on PATH or in the active conda environment, the cache, a
build into the cache. ``GROMACS=apt`` takes the distribution's binary instead;
``GROMACS_SOURCE=FILE`` builds from a given archive, without network.

A build lies under ``<version>-<SIMD>-<GPU>-<hash of the flags>`` in the cache and holds
``janus-pore-build.json``, without which it counts as unfinished.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import debian
from common import CONDA_ROUTE, SetupError, cache_root, locked, run_logged, say, writable_cache

MINIMUM = (2021,)
SENTINEL = "janus-pore-build.json"
BUILD_SPACE_GB = 2.0

FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGMX_MPI=OFF",
    "-DGMX_THREAD_MPI=ON",
    "-DGMX_OPENMP=ON",
    "-DGMXAPI=ON",
    "-DGMX_FFT_LIBRARY=fftw3",
    # A BLAS of the machine's brings threads of its own and moves with upgrades.
    "-DGMX_EXTERNAL_BLAS=OFF",
    "-DGMX_EXTERNAL_LAPACK=OFF",
    "-DGMX_HWLOC=OFF",
    "-DGMX_X11=OFF",
    "-DGMX_BUILD_HELP=OFF",
    "-DGMX_INSTALL_NBLIB_API=OFF",
    "-DBUILD_TESTING=OFF",
)

SIMD_LEVELS = (
    ("AVX_512", {"avx512f", "avx512dq", "avx512bw", "avx512vl"}),
    ("AVX2_256", {"avx2", "fma"}),
    ("AVX_256", {"avx"}),
    ("SSE4.1", {"sse4_1"}),
    ("SSE2", {"sse2"}),
)


@dataclass(frozen=True)
class Gmx:
    """One working ``gmx``: where it is and what it says of itself."""

    path: Path
    version: str
    simd: str
    gpu: str

    def __str__(self) -> str:
        return f"GROMACS {self.version} ({self.simd}, GPU support {self.gpu}): {self.path}"


def inspect(path: Path) -> Gmx:
    """Ask a ``gmx`` for its version and features.

    Raises
    ------
    SetupError
        If it does not run, is not GROMACS, or is older than ``MINIMUM``.
    """
    try:
        answer = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{path} does not run ({error}); point GMX at a gmx that does") from error
    said = dict(re.findall(r"^([\w ]+?):\s+(.*?)\s*$", answer.stdout, flags=re.MULTILINE))
    version = re.search(r"\d+(?:\.\d+)*", said.get("GROMACS version", ""))
    if answer.returncode != 0 or version is None:
        said_last = (answer.stderr or answer.stdout).strip().splitlines()[-1:]
        raise SetupError(
            f"{path} does not work as GROMACS ('{path.name} --version' ends with exit status "
            f"{answer.returncode}: {''.join(said_last)[:200]}); point GMX at a gmx that does"
        )
    gmx = Gmx(
        path=path.absolute(),
        version=version.group(),
        simd=said.get("SIMD instructions", "unknown"),
        gpu=said.get("GPU support", "unknown"),
    )
    if numbers(gmx.version) < MINIMUM:
        raise SetupError(too_old(f"{path} is GROMACS {gmx.version}"))
    return gmx


def numbers(version: str) -> tuple[int, ...]:
    """``"2022.5"`` as ``(2022, 5)``."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def too_old(what: str) -> str:
    """Message for a GROMACS below ``MINIMUM``."""
    return (
        f"{what}, and this project needs {'.'.join(map(str, MINIMUM))} or newer; "
        f"point GMX at a newer gmx, unset it to have one found or built, or {CONDA_ROUTE}"
    )


def libgmxapi(gmx: Gmx) -> bool:
    """Whether this GROMACS was installed with the library that gmxapi needs."""
    prefix = gmx.path.resolve().parent.parent
    return any(any(prefix.glob(f"{lib}/libgmxapi.*")) for lib in ("lib*", "lib/*"))


def best_simd(cpuinfo: str) -> str:
    """The widest SIMD level that the processor has, in GROMACS's words.

    It is chosen here rather than by GROMACS because it is part of the cache's key, and
    because GROMACS 2022 does not pick AVX-512 on every processor that gains by it.
    ``AUTO`` leaves the choice to GROMACS: on processors other than x86.
    """
    found = re.search(r"^flags\s*:\s*(.*)$", cpuinfo, flags=re.MULTILINE)
    flags = set(found.group(1).split()) if found else set()
    return next((name for name, needed in SIMD_LEVELS if needed <= flags), "AUTO")


def processor() -> str:
    """Description of the processor by the kernel; empty where there is none."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cuda_flags(environ: Mapping[str, str]) -> list[str]:
    """CMake options for CUDA where a toolkit and a GPU are there, else for no GPU."""
    off = ["-DGMX_GPU=OFF"]
    path = environ.get("PATH", "")
    nvcc = shutil.which("nvcc", path=path + ":/usr/local/cuda/bin")
    smi = shutil.which("nvidia-smi", path=path)
    if nvcc is None or smi is None or environ.get("GROMACS_GPU", "").upper() == "OFF":
        return off
    listed = subprocess.run([smi, "-L"], capture_output=True, text=True, check=False)
    if listed.returncode != 0 or "GPU" not in listed.stdout:
        return off
    asked = subprocess.run(
        [smi, "--query-gpu=compute_cap", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    flags = ["-DGMX_GPU=CUDA", f"-DCUDAToolkit_ROOT={Path(nvcc).parent.parent}"]
    capabilities = sorted(set(re.findall(r"^(\d+)\.(\d+)$", asked.stdout, flags=re.MULTILINE)))
    if asked.returncode == 0 and capabilities:
        targets = ";".join("".join(capability) for capability in capabilities)
        # The first name is read up to 2024, the second from 2025.
        flags += [f"-DGMX_CUDA_TARGET_SM={targets}", f"-DCMAKE_CUDA_ARCHITECTURES={targets}"]
    return flags


@dataclass(frozen=True)
class Recipe:
    """How to build on this machine: what the cache's key is made of, but for the version."""

    simd: str
    gpu: str
    flags: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """``<SIMD>-<GPU>-<hash of the flags>``."""
        parts = [*self.flags]
        if self.simd == "AUTO":
            # GROMACS's own choice depends on the processor, which the flags do not name.
            features = re.search(r"^Features\s*:.*$", processor(), flags=re.MULTILINE)
            parts += [platform.machine(), features.group() if features else ""]
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"{self.simd}-{self.gpu}-{digest[:8]}"


def recipe(environ: Mapping[str, str]) -> Recipe:
    """The best build for this machine."""
    simd = best_simd(processor())
    gpu = cuda_flags(environ)
    return Recipe(
        simd=simd,
        gpu="cpu" if gpu == ["-DGMX_GPU=OFF"] else "cuda",
        flags=(*FLAGS, f"-DGMX_SIMD={simd}", *gpu),
    )


def cached(root: Path, how: Recipe, source_sha256: str | None = None) -> Gmx | None:
    """The newest finished build for this machine, of one source if that is named."""
    found: list[Gmx] = []
    for sentinel in root.glob(f"*-{how.suffix}*/{SENTINEL}"):
        try:
            record = json.loads(sentinel.read_text(encoding="utf-8"))
            if source_sha256 in (None, record["source_sha256"]):
                found.append(inspect(sentinel.parent / "bin" / "gmx"))
        except (OSError, ValueError, KeyError, TypeError, SetupError) as error:
            reason = str(error).partition(";")[0]
            say(f"  passing over the damaged build {sentinel.parent}: {reason}")
    return max(found, key=lambda gmx: numbers(gmx.version), default=None)


def locate(environ: Mapping[str, str]) -> Gmx | None:
    """The GROMACS to use, or None where it has yet to be installed.

    Raises
    ------
    SetupError
        If ``$GMX`` is wrong or too old, or the wishes contradict each other.
    """
    wish, source = environ.get("GROMACS", ""), environ.get("GROMACS_SOURCE", "")
    if wish not in ("", "apt"):
        raise SetupError(f"GROMACS = {wish!r} is not known; use GROMACS=apt or leave it unset")
    if len([name for name in ("GMX", "GROMACS", "GROMACS_SOURCE") if environ.get(name)]) > 1:
        raise SetupError("GMX, GROMACS and GROMACS_SOURCE exclude each other; set one of them")
    if environ.get("GMX"):
        named = shutil.which(environ["GMX"], path=environ.get("PATH"))
        if named is None:
            raise SetupError(
                f"GMX = {environ['GMX']} is not an executable; point it at a gmx, or unset it to "
                "have one found or built"
            )
        return inspect(Path(named))
    if wish == "apt":
        binary = Path("/usr/bin/gmx")
        return inspect(binary) if binary.exists() else None
    if source:
        if not Path(source).is_file():
            raise SetupError(f"GROMACS_SOURCE = {source} is not a file; name a source archive")
        return cached(cache_root(), recipe(environ), debian.sha256(Path(source)))
    places = [environ.get("PATH", "")]
    if environ.get("CONDA_PREFIX"):
        places.append(str(Path(environ["CONDA_PREFIX"]) / "bin"))
    for place in places:
        candidate = shutil.which("gmx", path=place)
        if candidate is not None:
            try:
                return inspect(Path(candidate))
            except SetupError as error:
                say(f"  passing over {candidate}: {str(error).partition(';')[0]}")
    return cached(cache_root(), recipe(environ))


def needed_packages(environ: Mapping[str, str]) -> list[str]:
    """The distribution's packages that getting GROMACS needs and this machine lacks."""
    if environ.get("GROMACS") == "apt":
        return ["gromacs"]
    prefixes = ["/usr", "/usr/local", environ.get("CONDA_PREFIX", "/usr")]
    present = {
        "cmake": shutil.which("cmake"),
        "g++": shutil.which(environ.get("CXX", "c++")),
        "make": shutil.which("make"),
        "libfftw3-dev": any(Path(p, "include", "fftw3.h").is_file() for p in prefixes),
    }
    return [package for package, there in present.items() if not there]


def obtain(environ: Mapping[str, str]) -> Gmx:
    """Install what :func:`locate` did not find; the packages needed are there by now."""
    if environ.get("GROMACS") == "apt":
        return inspect(Path("/usr/bin/gmx"))
    root, how = writable_cache(), recipe(environ)
    source = Path(environ["GROMACS_SOURCE"]) if environ.get("GROMACS_SOURCE") else None
    wanted = debian.sha256(source) if source else None
    busy = "another process is building GROMACS: waiting for it"
    with locked(root / ".lock", busy) as alone:
        found = cached(root, how, wanted)  # another process may have built it meanwhile
        if found is not None:
            return found
        for leftover in root.glob(".build-*") if alone else ():
            shutil.rmtree(leftover, ignore_errors=True)
        require_space(root)
        if source is not None:
            return build(source, archive_version(source), "a given archive", root, how)
        with tempfile.TemporaryDirectory(prefix="janus-pore-apt-") as name:
            where = Path(name)
            where.chmod(0o755)  # apt downloads as a user of its own
            log = root / "source.log"
            log.unlink(missing_ok=True)
            if shutil.which("apt-get") is None:
                raise SetupError(
                    "there is no apt-get to fetch GROMACS's source with.\n"
                    f"  Give a source archive with GROMACS_SOURCE=FILE, or {CONDA_ROUTE}"
                )
            configuration = debian.private_configuration(
                where, debian.machine_sources(), debian.distribution_suites()
            )
            offered = debian.source_version(configuration, "gromacs", log)
            if numbers(offered) < MINIMUM:
                raise SetupError(too_old(f"the distribution's source package is {offered}"))
            archive = debian.fetch_source(configuration, "gromacs", where, log)
            return build(archive, offered, "the distribution's source package", root, how)


def require_space(root: Path) -> None:
    """Refuse to start a build that would fill the disk."""
    free_gb = shutil.disk_usage(root).free / 1e9
    if free_gb < BUILD_SPACE_GB:
        raise SetupError(
            f"{root} has {free_gb:.1f} GB free and building GROMACS takes {BUILD_SPACE_GB:g} GB; "
            "free some, or set XDG_CACHE_HOME to a larger disk"
        )


def archive_version(archive: Path) -> str:
    """Version of a GROMACS source archive, from its top directory.

    Raises
    ------
    SetupError
        If it cannot be read or is not GROMACS.
    """
    try:
        with tarfile.open(archive) as tar:
            first = tar.next()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise SetupError(f"{archive} cannot be read as a source archive: {error}") from error
    top = first.name.removeprefix("./").partition("/")[0] if first else ""
    version = re.fullmatch(r"gromacs-(\d+(?:\.\d+)*)\S*", top)
    if version is None:
        raise SetupError(f"{archive} does not hold GROMACS: it starts with {top!r}, not gromacs-…")
    if numbers(version.group(1)) < MINIMUM:
        raise SetupError(too_old(f"{archive} is GROMACS {version.group(1)}"))
    return version.group(1)


def jobs() -> int:
    """Compilers to run at once: one per processor, as far as 1 GB of memory each allows."""
    try:
        processors = len(os.sched_getaffinity(0))
        free = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text("utf-8"))
    except (AttributeError, OSError):
        return os.cpu_count() or 1
    return max(1, min(processors, int(free.group(1)) // 10**6 if free else processors))


def build(archive: Path, version: str, origin: str, root: Path, how: Recipe) -> Gmx:
    """Compile an archive into its place in the cache; the caller holds the lock.

    Everything is made in a directory of its own and moved when it is whole and works.
    """
    digest = debian.sha256(archive)
    prefix = root / f"{version}-{how.suffix}"
    if (prefix / SENTINEL).is_file():  # same version and flags, another archive
        prefix = root / f"{prefix.name}-{digest[:8]}"
    if prefix.exists():
        say(f"removing the unfinished build {prefix}")
        shutil.rmtree(prefix)
    log = root / f"{prefix.name}.log"
    log.unlink(missing_ok=True)
    say(
        f"building GROMACS {version} from {origin} ({how.simd}, {how.gpu}, {jobs()} at a time): "
        "about 16 processor minutes, once per machine\n"
        f"  into {prefix}\n  log  {log}"
    )
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=root) as name:
        work = Path(name)
        with tarfile.open(archive) as tar:
            if sys.version_info >= (3, 12):
                tar.extractall(work, filter="data")
            else:
                tar.extractall(work)
        top = next(work.glob("*/CMakeLists.txt"), None)
        if top is None:
            raise SetupError(f"{archive} is not a whole source archive: it has no CMakeLists.txt")
        tree, stage = work / "build", work / "stage"
        configure: list[str | Path] = ["cmake", "-S", top.parent, "-B", tree, *how.flags]
        configure.append(f"-DCMAKE_INSTALL_PREFIX={prefix}")
        make = ["make", "-C", str(tree)]
        try:
            run_logged(configure, log, "  configuring")
            run_logged([*make, f"-j{jobs()}"], log, "  compiling", fraction=make_fraction)
            run_logged([*make, "install", f"DESTDIR={stage}"], log, "  installing")
        except SetupError as error:
            hint = "\n  GROMACS_GPU=OFF builds without CUDA." if how.gpu == "cuda" else ""
            raise SetupError(f"building GROMACS {version} failed:{error}{hint}") from error
        whole = stage / prefix.relative_to("/")
        built = inspect(whole / "bin" / "gmx")
        record = {
            "version": built.version,
            "simd": built.simd,
            "gpu": built.gpu,
            "flags": list(how.flags),
            "source": archive.name,
            "source_sha256": digest,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "build_s": round(time.monotonic() - start),
        }
        (whole / SENTINEL).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        whole.rename(prefix)
    return inspect(prefix / "bin" / "gmx")


def make_fraction(line: str) -> float | None:
    """Fraction done, from one of make's lines."""
    percent = re.match(r"\[\s*(\d+)%\]", line)
    return int(percent.group(1)) / 100 if percent else None
