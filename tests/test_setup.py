"""Set-up: the search for GROMACS, its build, the private apt configuration, the lock files.

Programs are stood in for by small scripts on PATH. Nothing is compiled or fetched.
"""

import ast
import contextlib
import errno
import fcntl
import fnmatch
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import common
import debian
import install_browser
import install_gromacs
import janus_pore
import lock
import setup_steps
from common import SetupError
from janus_pore import paths

ROOT = Path(__file__).resolve().parents[1]
ZEN4 = "flags\t\t: fpu sse2 sse4_1 avx fma avx2 avx512f avx512dq avx512cd avx512bw avx512vl\n"


def script(path: Path, body: str) -> Path:
    """An executable that stands in for a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def fake_gmx(path: Path, version: str = "2022.5") -> Path:
    """A gmx that answers ``--version`` as GROMACS does."""
    lines = (f"GROMACS version:    {version}", "SIMD instructions:  AVX2_256")
    return script(path, "\n".join(f"echo '{line}'" for line in (*lines, "GPU support: disabled")))


def fake_build(
    cache: Path, version: str, suffix: str, *, sentinel: str | None = None, source: str = "s"
) -> Path:
    """A finished build in the cache, or a damaged one with a ``sentinel`` of its own."""
    prefix = cache / f"{version}-{suffix}"
    fake_gmx(prefix / "bin" / "gmx", version)
    record = json.dumps({"version": version, "source_sha256": source})
    (prefix / install_gromacs.SENTINEL).write_text(sentinel or record, encoding="utf-8")
    return prefix / "bin" / "gmx"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine with AVX-512 and no GPU."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(install_gromacs, "processor", lambda: ZEN4)
    return common.writable_cache()


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A directory for stand-ins that is the whole PATH of :func:`environ`."""
    (tmp_path / "fakes").mkdir()
    return tmp_path / "fakes"


@pytest.fixture
def environ(fakes: Path) -> dict[str, str]:
    return {"PATH": str(fakes)}


@pytest.fixture
def suffix(cache: Path, environ: dict[str, str]) -> str:
    return install_gromacs.recipe(environ).suffix


# --- which GROMACS ---------------------------------------------------------------------


def test_search_order(
    tmp_path: Path, fakes: Path, cache: Path, environ: dict[str, str], suffix: str
) -> None:
    expected = {
        "named": fake_gmx(tmp_path / "named" / "gmx"),
        "path": fake_gmx(fakes / "gmx"),
        "conda": fake_gmx(tmp_path / "conda" / "bin" / "gmx"),
        "cache": fake_build(cache, "2022.5", suffix),
    }
    environ |= {"GMX": str(expected["named"]), "CONDA_PREFIX": str(tmp_path / "conda")}
    for gmx in expected.values():
        found = install_gromacs.locate(environ)
        assert found is not None
        assert found.path == gmx
        gmx.unlink()
        environ.pop("GMX", None)
    assert install_gromacs.locate(environ) is None


def test_a_gmx_named_that_is_too_old_is_an_error(
    fakes: Path, cache: Path, environ: dict[str, str]
) -> None:
    environ["GMX"] = str(fake_gmx(fakes / "old", "2020.6-Debian_2020.6_2"))
    with pytest.raises(SetupError, match=r"GROMACS 2020\.6, .*needs 2021 or newer.*GMX"):
        install_gromacs.locate(environ)
    assert list(cache.iterdir()) == []


def test_an_old_gmx_on_path_is_named_and_passed_over(
    fakes: Path,
    cache: Path,
    environ: dict[str, str],
    suffix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old = fake_gmx(fakes / "gmx", "2019.3")
    built = fake_build(cache, "2022.5", suffix)
    found = install_gromacs.locate(environ)
    assert found is not None
    assert found.path == built
    said = capsys.readouterr().out
    assert str(old) in said
    assert "2019.3" in said
    assert "2021" in said


@pytest.mark.parametrize("version", ["2021", "2021.3", "2022.5-Debian_2022.5_2", "2026.0"])
def test_versions_that_do(fakes: Path, version: str) -> None:
    assert install_gromacs.inspect(fake_gmx(fakes / "gmx", version)).version in version


@pytest.mark.parametrize("body", ["exit 1", "echo hello", "echo 'GROMACS version: 2022.5'; exit 3"])
def test_a_gmx_that_does_not_work(fakes: Path, environ: dict[str, str], body: str) -> None:
    environ["GMX"] = str(script(fakes / "broken", f"{body.replace('exit', 'echo lib >&2; exit')}"))
    with pytest.raises(
        SetupError, match=r"does not work as GROMACS \(.*exit status \d: (lib|hello)"
    ):
        install_gromacs.locate(environ)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"GMX": "/nowhere/gmx"}, "GMX = /nowhere/gmx is not an executable"),
        ({"GROMACS": "brew"}, "GROMACS = 'brew' is not known"),
        ({"GROMACS": "apt", "GMX": "gmx"}, "exclude each other"),
        ({"GROMACS_SOURCE": "/nowhere.tar.gz"}, "GROMACS_SOURCE = /nowhere.tar.gz is not a file"),
    ],
)
def test_impossible_wishes(
    cache: Path, environ: dict[str, str], wish: dict[str, str], message: str
) -> None:
    with pytest.raises(SetupError, match=message):
        install_gromacs.locate(environ | wish)
    assert list(cache.iterdir()) == []


def test_cache_takes_the_newest_finished_build_for_this_machine(
    cache: Path, environ: dict[str, str], suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_build(cache, "2022.5", suffix)
    newest = fake_build(cache, "2022.10", suffix)
    fake_build(cache, "2099.1", suffix, sentinel="{half a sent")
    unfinished = fake_build(cache, "2099.2", suffix)
    (unfinished.parents[1] / install_gromacs.SENTINEL).unlink()
    fake_build(cache, "2099.3", suffix.replace("AVX_512", "SSE2"))
    found = install_gromacs.locate(environ)
    assert found is not None
    assert found.path == newest
    assert "damaged build" in capsys.readouterr().out


def test_cache_by_source(cache: Path, tmp_path: Path, environ: dict[str, str], suffix: str) -> None:
    archive = tmp_path / "given.tar.gz"
    archive.write_bytes(b"source")
    fake_build(cache, "2022.5", suffix)
    environ["GROMACS_SOURCE"] = str(archive)
    assert install_gromacs.locate(environ) is None
    digest = hashlib.sha256(b"source").hexdigest()
    own = fake_build(cache, "2022.5", f"{suffix}-{digest[:8]}", source=digest)
    found = install_gromacs.locate(environ)
    assert found is not None
    assert found.path == own


@pytest.mark.parametrize(
    ("lib", "there"), [("lib", True), ("lib.AVX2_256", True), ("share", False)]
)
def test_libgmxapi(tmp_path: Path, lib: str, there: bool) -> None:
    gmx = install_gromacs.inspect(fake_gmx(tmp_path / "bin" / "gmx"))
    (tmp_path / lib).mkdir()
    (tmp_path / lib / "libgmxapi.so.0").touch()
    assert install_gromacs.libgmxapi(gmx) is there


# --- how to build it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpuinfo", "simd"),
    [
        (ZEN4, "AVX_512"),
        (ZEN4.replace("avx512dq ", ""), "AVX2_256"),
        ("flags : sse2 sse4_1 avx avx2\n", "AVX_256"),
        ("flags : sse2 sse4_1\n", "SSE4.1"),
        ("flags : fpu sse2\n", "SSE2"),
        ("Features\t: fp asimd sve\n", "AUTO"),
        ("", "AUTO"),
    ],
)
def test_simd(cpuinfo: str, simd: str) -> None:
    assert install_gromacs.best_simd(cpuinfo) == simd


def test_automatic_simd_is_cached_by_processor(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suffixes = set()
    for features in ("fp asimd", "fp asimd sve", "fp asimd"):
        monkeypatch.setattr(install_gromacs, "processor", lambda f=features: f"Features : {f}\n")
        suffixes.add(install_gromacs.recipe(environ).suffix)
    assert len(suffixes) == 2


def test_cuda_needs_a_toolkit_and_a_gpu(fakes: Path, environ: dict[str, str]) -> None:
    off = ["-DGMX_GPU=OFF"]
    script(fakes / "nvidia-smi", 'case "$1" in -L) echo "GPU 0: H200";; *) echo 9.0;; esac')
    if not Path("/usr/local/cuda/bin/nvcc").exists():
        assert install_gromacs.cuda_flags(environ) == off
    script(fakes / "nvcc", "exit 0")
    flags = install_gromacs.cuda_flags(environ)
    assert "-DGMX_GPU=CUDA" in flags
    assert "-DGMX_CUDA_TARGET_SM=90" in flags
    assert install_gromacs.cuda_flags(environ | {"GROMACS_GPU": "off"}) == off
    assert install_gromacs.recipe(environ).gpu == "cuda"
    script(fakes / "nvidia-smi", "echo 'no devices were found'; exit 9")
    assert install_gromacs.cuda_flags(environ) == off
    assert install_gromacs.recipe(environ).gpu == "cpu"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A source archive with nothing in it but its name."""
    path = tmp_path / "gromacs_2022.5.orig.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("gromacs-2022.5/CMakeLists.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"fake"))
    return path


@pytest.fixture
def toolchain(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """cmake and make that 'build' a gmx in no time."""
    script(
        fakes / "cmake",
        'mkdir -p "$4"\nfor word; do case "$word" in -DCMAKE_INSTALL_PREFIX=*) '
        'echo "${word#*=}" > "$4/prefix";; esac; done\necho "$@"',
    )
    fake_gmx(fakes / "product")
    script(
        fakes / "make",
        'case "$3" in\n'
        f'install) at="${{4#DESTDIR=}}$(cat "$2/prefix")/bin"; mkdir -p "$at"; '
        f'cp "{fakes}/product" "$at/gmx";;\n'
        '*) for p in 3 50 51 100; do echo "[ $p%] Building"; done;;\nesac',
    )
    monkeypatch.setenv("PATH", f"{fakes}{os.pathsep}{os.environ['PATH']}")
    return fakes


def test_build(
    archive: Path,
    toolchain: Path,
    cache: Path,
    suffix: str,
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    prefix = cache / f"2022.5-{suffix}"
    (prefix / "bin").mkdir(parents=True)  # an earlier build that was cut off
    (prefix / "bin" / "half").touch()
    (cache / ".build-killed").mkdir()
    environ["GROMACS_SOURCE"] = str(archive)
    built = install_gromacs.obtain(environ)
    assert built.path == prefix / "bin" / "gmx"
    assert not (prefix / "bin" / "half").exists()
    assert list(cache.glob(".build-*")) == []
    record = json.loads((prefix / install_gromacs.SENTINEL).read_text(encoding="utf-8"))
    assert record["version"] == "2022.5"
    assert record["source_sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert {"-DGMXAPI=ON", "-DGMX_SIMD=AVX_512", "-DGMX_GPU=OFF"} <= set(record["flags"])
    configured = (cache / f"{prefix.name}.log").read_text(encoding="utf-8")
    assert f"-DCMAKE_INSTALL_PREFIX={prefix}" in configured
    said = capsys.readouterr().out
    assert "removing the unfinished build" in said
    assert re.findall(r"compiling +(\d+) %", said) == ["0", "50", "100"]
    # Finished: found again, and not built again.
    script(toolchain / "cmake", "exit 1")
    assert install_gromacs.locate(environ) == built
    assert install_gromacs.obtain(environ) == built


def test_a_failed_build_leaves_nothing_but_its_log(
    archive: Path, toolchain: Path, cache: Path, suffix: str, environ: dict[str, str]
) -> None:
    script(toolchain / "make", "echo 'fatal error: no space'; exit 2")
    environ["GROMACS_SOURCE"] = str(archive)
    with pytest.raises(SetupError, match=r"2022\.5 failed") as failure:
        install_gromacs.obtain(environ)
    log = cache / f"2022.5-{suffix}.log"
    assert str(log) in str(failure.value)
    assert "fatal error: no space" in str(failure.value)
    assert {path.name for path in cache.iterdir()} == {".lock", log.name}
    assert install_gromacs.locate(environ) is None


def test_a_build_that_does_not_run_is_not_kept(
    archive: Path, toolchain: Path, cache: Path, suffix: str, environ: dict[str, str]
) -> None:
    script(toolchain / "product", "echo 'Illegal instruction'; exit 132")
    environ["GROMACS_SOURCE"] = str(archive)
    with pytest.raises(SetupError, match="does not work as GROMACS"):
        install_gromacs.obtain(environ)
    assert not (cache / f"2022.5-{suffix}").exists()


@pytest.mark.parametrize(
    ("top", "message"),
    [("lammps-2022", "does not hold GROMACS"), ("gromacs-2019.6", r"2019\.6, .*needs 2021")],
)
def test_a_wrong_archive(tmp_path: Path, top: str, message: str) -> None:
    path = tmp_path / "source.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo(f"{top}/README"))
    with pytest.raises(SetupError, match=message):
        install_gromacs.archive_version(path)


def test_something_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "source.tar.gz"
    path.write_text("not found", encoding="utf-8")
    with pytest.raises(SetupError, match="cannot be read as a source archive"):
        install_gromacs.archive_version(path)


def test_one_build_at_a_time(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entered, held = threading.Event(), []

    def second() -> None:
        with common.locked(cache / ".lock", "waiting for it") as alone:
            held.append(alone)
            entered.set()

    waiting = threading.Thread(target=second)
    with common.locked(cache / ".lock", "waiting for it"):
        waiting.start()
        assert not entered.wait(0.3)
    waiting.join(timeout=10)
    assert entered.is_set()
    assert held == [True]
    assert "waiting" in capsys.readouterr().out


def test_a_file_system_without_locks_builds_all_the_same(
    archive: Path,
    toolchain: Path,
    cache: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    others = cache / ".build-another"  # may be at work: nobody can say
    others.mkdir()
    built = install_gromacs.obtain(environ | {"GROMACS_SOURCE": str(archive)})
    assert built.path.is_relative_to(cache)
    assert others.is_dir()


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root obeys the permissions of files meanwhile."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_lock_of_another_user_is_waited_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").touch(0o444)
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)  # whose parents are this user's alone
    with without_privileges(), common.locked(Path(".lock"), "waiting") as alone:
        assert alone


def test_a_full_disk_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_gromacs, "BUILD_SPACE_GB", 1e12)
    with pytest.raises(SetupError, match=r"GB free.*XDG_CACHE_HOME"):
        install_gromacs.require_space(cache)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="cannot be written; set XDG_CACHE_HOME"):
        common.writable_cache()


def test_a_cache_that_can_only_be_read_serves_what_it_has(
    cache: Path,
    environ: dict[str, str],
    suffix: str,
    venv: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of the machine's, made by somebody else."""
    access = os.access

    def readable(path: Path, mode: int) -> bool:
        return not mode & os.W_OK and access(path, mode)

    monkeypatch.setattr(os, "access", readable)
    monkeypatch.setattr(setup_steps, "make_venv", lambda conda: pytest.fail("took its time"))
    built = fake_build(cache, "2022.5", suffix)
    setup_steps.setup(environ, venv=False, gromacs=True)
    built.unlink()
    with pytest.raises(SetupError, match="cannot be written"):
        setup_steps.setup(environ, venv=True, gromacs=True)


def test_a_relative_cache_is_built_in(
    archive: Path,
    toolchain: Path,
    tmp_path: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``make report XDG_CACHE_HOME=cache``; relative to the clone, here to a stand-in for it."""
    monkeypatch.setattr(paths, "project_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "own")
    built = install_gromacs.obtain(environ | {"GROMACS_SOURCE": str(archive)})
    assert built.path.is_relative_to(tmp_path / "own" / "janus-pore" / "gromacs")
    assert built.path.is_file()


def test_without_a_home_directory_set_up_names_the_way_out(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "~no-such-user/cache")
    with pytest.raises(SetupError, match=r"cannot lie in ~no-such-user/cache .*set XDG_CACHE_HOME"):
        install_gromacs.locate(environ)


# --- packages and sources of the distribution ----------------------------------------------

ONE_LINE = """\
# the release
deb http://mirror.example/debian bookworm main contrib
deb [ arch=amd64 signed-by=/keys/a.gpg ] https://m.example/debian bookworm-updates main # up
deb http://mirror.example/debian-security bookworm-security main non-free
deb-src http://mirror.example/debian bookworm main
# deb http://mirror.example/debian bookworm main universe
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb https://shop.example/apt bookworm stable
deb https://shop.example/apt nodistro main
deb https://shop.example/flat ./
deb http://mirror.example/debian bookworm-backports main
deb http://mirror.example/debian trixie main
"""

ONE_LINE_SOURCES = """\
deb-src http://mirror.example/debian bookworm main
deb-src [ arch=amd64 signed-by=/keys/a.gpg ] https://m.example/debian bookworm-updates main
deb-src http://mirror.example/debian-security bookworm-security main
"""

DEB822 = """\
Types: deb
# a snapshot of it
URIs: http://mirror.example/ubuntu
Suites: noble noble-updates noble-backports
Components: main restricted universe
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGCRt7MBEADkYJHHQQoL6tKrW/LbmfR9ljz7ib2aWno4JO3VKQvLwjyUMPpq
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb deb-src
URIs: http://mirror.example/disabled
Suites: noble
Components: main

types: deb deb-src
uris: http://security.example/ubuntu
suites: noble-security
components: main

Types: deb
URIs: https://shop.example/node
Suites: nodistro
Components: main
"""

DEB822_SOURCES = """\
Types: deb-src
URIs: http://mirror.example/ubuntu
Suites: noble noble-updates
Components: main universe
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGCRt7MBEADkYJHHQQoL6tKrW/LbmfR9ljz7ib2aWno4JO3VKQvLwjyUMPpq
 -----END PGP PUBLIC KEY BLOCK-----

types: deb-src
uris: http://security.example/ubuntu
suites: noble-security
components: main
"""


def test_sources_from_the_one_line_form() -> None:
    assert debian.source_lines(ONE_LINE, {"bookworm"}) == ONE_LINE_SOURCES


def test_sources_from_the_deb822_form() -> None:
    assert debian.source_stanzas(DEB822, {"noble"}) == DEB822_SOURCES


def test_private_configuration(tmp_path: Path) -> None:
    machine, private = tmp_path / "etc", tmp_path / "private"
    machine.mkdir()
    private.mkdir()
    (machine / "sources.list").write_text(ONE_LINE, encoding="utf-8")
    (machine / "ubuntu.sources").write_text(DEB822, encoding="utf-8")
    (machine / "shop.list").write_text("deb https://shop.example/a b c\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in machine.iterdir()}
    configuration = debian.private_configuration(private, sorted(before), {"bookworm", "noble"})
    assert {path: path.read_bytes() for path in machine.iterdir()} == before
    written = {p.suffix: p.read_text(encoding="utf-8") for p in private.glob("sources.list.d/*")}
    assert written == {".list": ONE_LINE_SOURCES, ".sources": DEB822_SOURCES}
    settings = dict(re.findall(r'^(Dir\S+) "(.*)";$', configuration.read_text(), re.MULTILINE))
    assert settings.pop("Dir::Etc::sourcelist") == "/dev/null"
    assert set(settings) >= {"Dir::Etc::sourceparts", "Dir::State::lists", "Dir::Cache"}
    for name, place in settings.items():
        assert Path(place).is_dir(), name
        assert private in Path(place).parents, name


def test_private_configuration_is_what_apt_then_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/usr/bin/apt-config").exists():
        pytest.skip("no apt on this machine")
    sources = tmp_path / "sources.list"
    sources.write_text(ONE_LINE, encoding="utf-8")
    (tmp_path / "machine.conf").write_text('Acquire::http::Proxy "http://proxy.example";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "machine.conf"))
    private = tmp_path / "private"
    private.mkdir()
    configuration = debian.private_configuration(private, [sources], {"bookworm"})
    names = {"LISTS": "Dir::State::lists/d", "PARTS": "Dir::Etc::sourceparts/d"}
    names |= {"CACHE": "Dir::Cache::archives/d", "PROXY": "Acquire::http::Proxy"}
    words = [word for pair in names.items() for word in pair]
    command = ["/usr/bin/apt-config", "-c", configuration, "shell", *words]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = dict(re.findall(r"^(\w+)='(.*)'$", answer, re.MULTILINE))
    assert used.pop("PROXY") == "http://proxy.example"
    assert len(used) == 3
    assert all(private in (Path(place), *Path(place).parents) for place in used.values())


def test_rolling_releases_have_no_code_name(tmp_path: Path) -> None:
    sources = tmp_path / "sources.list"
    sources.write_text("deb http://mirror.example/debian unstable main\n", encoding="utf-8")
    private = tmp_path / "private"
    private.mkdir()
    debian.private_configuration(private, [sources], {"forky"})
    (derived,) = (private / "sources.list.d").iterdir()
    assert derived.read_text() == "deb-src http://mirror.example/debian unstable main\n"


def test_no_source_of_the_distribution(tmp_path: Path) -> None:
    sources = tmp_path / "sources.list"
    sources.write_text("deb https://shop.example/apt nodistro main\n", encoding="utf-8")
    private = tmp_path / "private"
    private.mkdir()
    with pytest.raises(SetupError, match=r"(?s)bookworm.*GROMACS_SOURCE=FILE.*conda env create"):
        debian.private_configuration(private, [sources], {"bookworm"})


def source_package(where: Path, archive: bytes) -> None:
    """A source package as ``apt-get source`` leaves it."""
    where.mkdir()
    (where / "gromacs_2022.5.orig.tar.gz").write_bytes(archive)
    (where / "gromacs_2022.5.orig-tests.tar.gz").write_bytes(b"tests")
    names = {"gromacs_2022.5.orig.tar.gz": b"source", "gromacs_2022.5.orig-tests.tar.gz": b"tests"}
    rows = "".join(f" {hashlib.sha256(b).hexdigest()} {len(b)} {n}\n" for n, b in names.items())
    (where / "gromacs_2022.5-2.dsc").write_text(
        f"Format: 3.0 (quilt)\nChecksums-Sha1:\n 00 6 wrong\nChecksums-Sha256:\n{rows}"
        "Files:\n 00 6 wrong\n"
    )


@pytest.mark.parametrize("intact", [True, False])
def test_a_source_is_verified(
    tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch, intact: bool
) -> None:
    source_package(tmp_path / "pool", b"source" if intact else b"surprise")
    (tmp_path / "here").mkdir()
    script(fakes / "apt-get", f'cp "{tmp_path}"/pool/* .')
    monkeypatch.setenv("PATH", f"{fakes}{os.pathsep}{os.environ['PATH']}")
    arguments = (tmp_path / "apt.conf", "gromacs", tmp_path / "here", tmp_path / "log")
    if intact:
        assert debian.fetch_source(*arguments).name == "gromacs_2022.5.orig.tar.gz"
    else:
        with pytest.raises(SetupError, match=r"orig\.tar\.gz is damaged"):
            debian.fetch_source(*arguments)


def test_the_version_offered(tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(
        fakes / "apt-get",
        'case "$*" in *print-uris*) echo "\'http://m.example/gromacs_2022.5-2.dsc\' '
        'gromacs_2022.5-2.dsc 3457 SHA256:00";; *) exit 100;; esac',
    )
    monkeypatch.setenv("PATH", f"{fakes}{os.pathsep}{os.environ['PATH']}")
    assert debian.source_version(tmp_path / "apt.conf", "gromacs", tmp_path / "log") == "2022.5"
    with pytest.raises(SetupError, match="offers no source package lammps"):
        debian.source_version(tmp_path / "apt.conf", "lammps", tmp_path / "log")


@pytest.fixture
def not_root(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without privileges, whose PATH holds only stand-ins."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(fakes))
    return fakes


@pytest.mark.parametrize("sudo", [None, "exit 1"])
@pytest.mark.parametrize("apt", [True, False])
def test_without_root_sudo_or_apt_one_message_names_conda(
    not_root: Path, tmp_path: Path, sudo: str | None, apt: bool
) -> None:
    if sudo is not None:
        script(not_root / "sudo", sudo)
    if apt:
        script(not_root / "apt-get", f"touch '{tmp_path}/called'")
    with pytest.raises(SetupError) as refusal:
        debian.install(["cmake", "libfftw3-dev"], "needed to set up", tmp_path / "log")
    message = str(refusal.value)
    assert "cmake, libfftw3-dev" in message
    assert "conda env create -f environment.yml" in message
    assert ("sudo that asks for no password" if apt else "no apt-get") in message
    assert not (tmp_path / "called").exists()
    assert not (tmp_path / "log").exists()


def test_install_with_sudo_refreshes_the_lists_only_if_that_helps(
    not_root: Path, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    script(
        not_root / "sudo", f'echo "$*" >> "{said}"; test "$2" = true || exec "$2" "$3" "$4" "$@"'
    )
    script(
        not_root / "env",
        f'case "$*" in *update*) : > "{tmp_path}/lists";; *) test -e "{tmp_path}/lists";; esac',
    )
    script(not_root / "apt-get", "exit 0")
    debian.install(["cmake"], "needed to set up", tmp_path / "log")
    assert [word in said.read_text() for word in ("-n env DEBIAN_FRONTEND=noninteractive", "cmake")]
    assert (tmp_path / "lists").exists()
    calls = [line for line in said.read_text().splitlines() if "apt-get" in line]
    assert ["update" in call for call in calls] == [False, True, False]
    said.unlink()
    debian.install(["cmake"], "needed to set up", tmp_path / "log")
    assert "update" not in said.read_text()


# --- the browser -----------------------------------------------------------------------------


@pytest.fixture
def no_browser(not_root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without browser and root; the directory that its PATH consists of."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(install_browser, "ABSENT", cache / "absent")
    return not_root


def test_a_browser_that_is_there_is_used(no_browser: Path) -> None:
    found = script(no_browser / "chromium", "exit 0")
    assert install_browser.obtain() == f"browser {found}"


def test_without_apt_no_browser_is_no_error(no_browser: Path) -> None:
    said = install_browser.obtain()
    assert said.startswith("browser absent: there is no apt-get")
    assert "$CHROMIUM" in said


@pytest.mark.parametrize("name", ["file", "n" * 300])
def test_without_a_cache_no_browser_is_no_error(
    no_browser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
    script(no_browser / "apt-get", "exit 1")
    said = install_browser.obtain()
    assert said.startswith("browser absent: the cache")
    assert "XDG_CACHE_HOME" in said


def test_a_browser_that_cannot_be_kept_is_no_error(no_browser: Path, cache: Path) -> None:
    (cache.parent / "browser.log").mkdir()  # in the way of a file
    for name in ("apt-get", "sudo"):
        script(no_browser / name, "exit 0")
    said = install_browser.obtain()
    assert said.startswith("browser absent:")
    assert "browser.log" in said


def test_with_sudo_the_browser_is_the_package_of_the_distribution(
    no_browser: Path, tmp_path: Path
) -> None:
    script(no_browser / "apt-get", "exit 0")
    script(no_browser / "sudo", f'case "$*" in *chromium*) echo "$*" > "{tmp_path}/said";; esac')
    assert "the distribution's package brought none" in install_browser.obtain()
    assert (tmp_path / "said").read_text().split()[-1] == "chromium"


def test_apt_is_asked_for_a_browser_once(no_browser: Path, tmp_path: Path) -> None:
    """And again where somebody asks."""
    calls = tmp_path / "calls"
    script(no_browser / "apt-get", "exit 0")
    script(no_browser / "sudo", f'case "$*" in *chromium*) echo x >> "{calls}"; exit 1;; esac')
    said = install_browser.obtain()
    assert re.match("browser absent: installing chromium .* failed.*'make browser'", said)
    once = calls.read_text()
    assert install_browser.obtain() == said
    assert calls.read_text() == once
    install_browser.obtain(again=True)
    assert calls.read_text() == 2 * once
    script(no_browser / "sudo", f'/bin/ln -sf /bin/true "{no_browser}/chromium"')
    assert install_browser.obtain(again=True) == f"browser {no_browser}/chromium"
    assert install_browser.ABSENT.read_text() == ""


def test_a_browser_named_that_is_not_there(
    no_browser: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(no_browser / "apt-get", "exit 0")
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    said = install_browser.obtain()
    assert said.startswith("browser absent: CHROMIUM = '/nowhere/chromium' is not a program")


def test_two_clones_unpack_one_browser(no_browser: Path, cache: Path) -> None:
    kept = cache.parent / "chromium" / "chromium"
    script(no_browser / "apt-get", "exit 1")
    said: list[str] = []
    second = threading.Thread(target=lambda: said.append(install_browser.obtain()))
    with common.locked(cache.parent / ".chromium.lock", "not alone") as alone:
        assert alone
        second.start()
        second.join(0.3)
        assert second.is_alive()
        script(kept, "exit 0")
    second.join(timeout=10)
    assert said == [f"browser {kept}"]


def test_a_browser_is_whole_before_it_takes_its_place(
    no_browser: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(packages: object, root: Path, *_: object) -> None:
        root.mkdir(parents=True)
        raise SetupError("fetching it failed")

    monkeypatch.setattr(debian, "unpack", cut_off)
    kept = script(cache.parent / "chromium" / "chromium", "exit 0")
    with pytest.raises(SetupError, match="fetching it"):
        install_browser.unpack(kept.parent, cache.parent / "browser.log")
    assert kept.is_file()
    assert [path.name for path in cache.parent.glob(".chromium*")] == []


def test_without_root_the_browser_is_unpacked_in_the_cache(
    no_browser: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{no_browser}{os.pathsep}/usr/bin{os.pathsep}/bin")
    script(cache.parent / "chromium" / "root" / "half", "exit 1")  # left of an earlier one
    monkeypatch.setattr(paths, "BROWSERS", ())
    sources = tmp_path / "sources.list"
    sources.write_text("deb http://mirror.example/debian bookworm main\n", encoding="utf-8")
    monkeypatch.setattr(debian, "machine_sources", lambda: [sources])
    monkeypatch.setattr(debian, "distribution_suites", lambda: {"bookworm"})
    script(
        no_browser / "apt-get",
        'conf="$2"; case "$*" in *install*) '
        'cat "$(dirname "$conf")"/sources.list.d/* > "$(dirname "$conf")/seen"; '
        f'cp "$(dirname "$conf")/seen" "{tmp_path}/seen"; '
        'touch "$(dirname "$conf")/cache/archives/chromium.deb";; esac',
    )
    unpacked = '$3/usr/lib/chromium"; echo "#!/bin/sh'
    script(
        no_browser / "dpkg-deb",
        f'mkdir -p "{unpacked}\n echo \\$LD_LIBRARY_PATH" > "$3/usr/lib/chromium/chromium"; '
        'chmod +x "$3/usr/lib/chromium/chromium"; touch "$3/usr/lib/libnss3.so"',
    )
    kept = cache.parent / "chromium" / "chromium"
    assert install_browser.obtain() == f"browser {kept}"
    assert (tmp_path / "seen").read_text() == sources.read_text()
    ran = subprocess.run([kept], capture_output=True, text=True, check=True)
    assert str(kept.parent / "root" / "usr" / "lib") in ran.stdout


# --- the whole script ------------------------------------------------------------------------


def run_setup(environ: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", ROOT / "tools" / "setup_env.py", *options]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_nothing_to_build_with_and_nothing_to_install_with(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    environ["XDG_CACHE_HOME"] = str(tmp_path)
    done = run_setup(environ, "--gromacs")
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    assert "cmake" in done.stderr
    assert "conda env create -f environment.yml" in done.stderr
    assert list((tmp_path / "janus-pore" / "gromacs").iterdir()) == []


def test_scripts_need_the_standard_library_only(
    tmp_path: Path, environ: dict[str, str], fakes: Path
) -> None:
    environ["XDG_CACHE_HOME"] = str(tmp_path)
    gmx = fake_gmx(fakes / "gmx")
    done = run_setup(environ, "--gromacs")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"GROMACS 2022.5 (AVX2_256, GPU support disabled): {gmx}\n"


def test_what_the_system_refuses_is_said_with_the_file_and_the_way_out(
    venv: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GMX", str(fake_gmx(tmp_path / "bin" / "gmx")))
    monkeypatch.setattr(sys, "argv", ["setup_env.py", "--venv", "--gromacs"])
    (venv / "gmx-path").mkdir()
    assert setup_steps.main() == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"error: {venv}/gmx-path: Is a directory.")
    assert "made anew once it is removed" in complaint
    assert "XDG_CACHE_HOME" in complaint


def test_an_old_python_is_told_so() -> None:
    """Python 3.6 and older could not read the syntax of the other files, 3.7 lacks modules."""
    path = ROOT / "tools" / "setup_env.py"
    door = ast.parse(path.read_text(encoding="ascii"), feature_version=(3, 4))
    check = next(i for i, node in enumerate(door.body) if isinstance(node, ast.If))
    imported = [node for node in door.body[:check] if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imported] == ["import sys"]
    assert "sys.version_info" in ast.unparse(door.body[check].test)
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Starred, ast.FunctionDef)
    assert not [node for node in ast.walk(door) if isinstance(node, newer)]
    code = f"import sys, runpy; sys.version_info = (3, 9, 2); runpy.run_path({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "is 3.9" in done.stderr
    assert "conda env create" in done.stderr


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment's directory whose pip does nothing."""
    place = tmp_path / "venv"
    place.mkdir()
    monkeypatch.setattr(setup_steps, "VENV", place)
    monkeypatch.setattr(setup_steps, "STAMP", place / "stamp.json")
    monkeypatch.setattr(setup_steps, "GMXAPI_STAMP", place / "gmxapi.json")
    monkeypatch.setattr(setup_steps, "GMX_PATH", place / "gmx-path")
    monkeypatch.setattr(setup_steps, "PYTHON", "true")
    monkeypatch.setattr(
        setup_steps, "PIP", [str(script(tmp_path / "pip", f"echo $* >> {place}/pip"))]
    )
    monkeypatch.setattr(setup_steps, "gmxapi_packages", list)
    monkeypatch.setattr(setup_steps, "make_venv", lambda conda: None)
    return place


def test_the_chosen_gmx_is_recorded_and_gmxapi_follows_it(
    venv: Path,
    tmp_path: Path,
    cache: Path,
    environ: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = fake_gmx(tmp_path / "plain" / "bin" / "gmx")
    full = fake_gmx(tmp_path / "full" / "bin" / "gmx")
    (tmp_path / "full" / "lib").mkdir()
    (tmp_path / "full" / "lib" / "libgmxapi.so").touch()
    calls = []
    for gmx in (plain, plain, full, full, plain):
        setup_steps.setup(environ | {"GMX": str(gmx)}, venv=True, gromacs=True)
        assert (venv / "gmx-path").read_text() == f"{gmx}\n"
        said = capsys.readouterr().out
        assert ("built without libgmxapi" in said) == (gmx == plain)
        pip = venv / "pip"
        calls.append(
            [line.split()[0] for line in pip.read_text().splitlines()] if pip.exists() else []
        )
        pip.unlink(missing_ok=True)
    assert calls == [["-q"], [], ["-q", "install"], [], ["-q"]]


def test_a_gmxapi_that_cannot_be_built_is_said_and_no_error(
    venv: Path,
    tmp_path: Path,
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gmx = fake_gmx(tmp_path / "bin" / "gmx")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libgmxapi.so").touch()
    monkeypatch.setattr(
        setup_steps, "PYTHON", str(script(tmp_path / "python", "echo no MPI; exit 1"))
    )
    setup_steps.setup(environ | {"GMX": str(gmx)}, venv=True, gromacs=True)
    said = capsys.readouterr().out
    assert "no MPI" in said
    assert "gmxapi absent: it could not be installed" in said
    assert (venv / "gmx-path").read_text() == f"{gmx}\n"


def test_an_environment_is_stale_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "requirements.lock"
    monkeypatch.setattr(setup_steps, "LOCK", pins)
    pins.write_text("a==1\n")
    first = setup_steps.venv_stamp(conda=False)
    assert setup_steps.venv_stamp(conda=False) == first
    assert setup_steps.venv_stamp(conda=True) != first
    pins.write_text("a==2\n")
    assert setup_steps.venv_stamp(conda=False) != first


def test_a_complete_conda_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    active = {"CONDA_PREFIX": sys.prefix}
    monkeypatch.setattr(setup_steps, "declared_packages", lambda: ["pytest"])
    assert setup_steps.conda_environment(active)
    assert not setup_steps.conda_environment({"CONDA_PREFIX": str(tmp_path)})
    assert not setup_steps.conda_environment({})
    monkeypatch.setattr(setup_steps, "declared_packages", lambda: ["pytest", "no-such-package"])
    assert not setup_steps.conda_environment(active)
    assert "lacks no-such-package" in capsys.readouterr().out


# --- what the repository promises --------------------------------------------------------------


def project() -> dict[str, list[str]]:
    """Declared requirements: the project's, its tests', its workflow's, the build's."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {
        "project": table["project"]["dependencies"],
        "test": table["project"]["optional-dependencies"]["test"],
        "gromacs": table["project"]["optional-dependencies"]["gromacs"],
        "workflow": table["project"]["optional-dependencies"]["workflow"],
        "build": table["build-system"]["requires"],
    }


def blocks(name: str) -> Iterator[tuple[str, str, str]]:
    """Package, version and full text of each pin of a lock file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for block in re.split(r"(?m)^(?=\w)", text)[1:]:
        pin = re.match(r"([\w.-]+)==([\w.]+) ", block)
        assert pin, f"not a pin: {block.splitlines()[0]}"
        yield canonicalize_name(pin[1]), pin[2], block


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-gmxapi.lock"])
def test_lock_files_are_hashed_and_name_no_place(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "make lock" in text.split("\n\n")[0]
    assert not re.search(r"://|file:|--(index|extra|find|trusted)|(^|\s)/\w", text)
    for package, _, block in blocks(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), package


def test_lock_files_match_pyproject() -> None:
    declared = [Requirement(line) for lines in project().values() for line in lines]
    main = {package: version for package, version, _ in blocks("requirements.lock")}
    own = {package: version for package, version, _ in blocks("requirements-gmxapi.lock")}
    assert set(own) == {"gmxapi"}
    assert "gmxapi" not in main
    pinned = main | own
    for requirement in declared:
        package = canonicalize_name(requirement.name)
        assert package in pinned, f"{package} is not pinned: run 'make lock'"
        assert requirement.specifier.contains(pinned[package]), f"{package}: run 'make lock'"
    # What was pinned for the project's own sake must still be declared.
    asked = {
        package
        for name in ("requirements.lock", "requirements-gmxapi.lock")
        for package, _, block in blocks(name)
        if re.search(r"#\s+(via )?janus-pore \(pyproject\.toml", block)
    }
    assert asked == {canonicalize_name(requirement.name) for requirement in declared}


def test_parting_a_lock_file() -> None:
    text = "# made\n#\na==1 \\\n    --hash=x\n\n# remark\nb==2 \\\n    --hash=y\n    # via a\n"
    rest, own = lock.split(text, "b")
    assert rest == "# made\n#\na==1 \\\n    --hash=x\n"
    assert own == "# made\n#\nb==2 \\\n    --hash=y\n    # via a\n"


def test_what_a_later_python_needs_besides_is_locked_for_it_alone() -> None:
    text = "# made\n#\nidna==3 \\\n    --hash=x\n    # via requests\n"
    more = "aiohttp==3.9 \\\n    --hash=y\n    # via -r -\n"
    extended = lock.extended(
        text, "# made\n#\n" + more + "idna==3 \\\n    --hash=x\n    # via yarl\n"
    )
    assert extended == (
        text + 'aiohttp==3.9 ; python_version == "3.12" \\\n    --hash=y\n    # via papermill\n'
    )


def test_ci_runs_the_test_command_of_the_readme(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?m)^(make test)\b", readme)
    assert commands
    script(tmp_path / "make", 'echo "make $*|$CI|$DEBIAN_FRONTEND|$PWD|$(cat)"')
    done = subprocess.run(
        [ROOT / ".ci" / "run"],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        cwd=tmp_path,
        input="nobody types this",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{commands[0]}|true|noninteractive|{ROOT}|\n"


def printed_by_make(*words: str) -> list[str]:
    """The commands that make would run, alike from a shell and from within ``make test``."""
    alone = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "-n", *words], cwd=ROOT, env=alone, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.parametrize(
    ("target", "work"),
    [
        ("report", 'python -m janus_pore.show.report --profile "tiny"'),
        ("sweep", 'python -m janus_pore.show.sweep run "workflow/sweeps/example.yaml"'),
        ("test", "python -m pytest"),
        ("lint", "mypy"),
    ],
)
def test_each_target_sets_up_first_and_hands_gmx_on(target: str, work: str) -> None:
    printed = printed_by_make(target, "PROFILE=tiny")
    (last,) = [number for number, line in enumerate(printed) if work in line]
    assert any("tools/setup_env.py" in line for line in printed[:last])
    assert 'GMX="$(cat .venv/gmx-path' in printed[last]


@pytest.mark.parametrize("target", ["report", "plan", "sweep"])
def test_a_file_with_a_blank_in_its_name_stays_one_word(target: str) -> None:
    named = "my own/a.yaml"
    printed = printed_by_make(target, f"PROFILE={named}", f"CONFIG={named}")
    assert named in shlex.split(printed[-1])


def test_no_file_can_pass_for_a_target() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (phony,) = re.findall(r"(?m)^\.PHONY: (.*)$", text)
    assert sorted(phony.split()) == sorted(re.findall(r"(?m)^([a-z]+):", text))


def test_the_hosted_ci_calls_targets_that_are_there() -> None:
    """GitHub's workflow and .ci/run give the same commands."""
    file = ROOT / ".github" / "workflows" / "ci.yml"
    jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    runs = {
        name: "\n".join(step.get("run", "") for step in job["steps"]) for name, job in jobs.items()
    }
    audit = runs.pop("audit")
    assert re.search(r"(?m) pip-audit==[\d.]+$", audit)
    assert audit.endswith(" --require-hashes -r requirements.lock -r requirements-gmxapi.lock\n")
    assert jobs["audit"]["if"] == jobs["newest"]["if"]
    calls = {name: re.findall(r"(?m)^make (.+)$", text) for name, text in runs.items()}
    assert set(calls) == {"test", "newest"}
    for commands in calls.values():
        assert {"test", "report PROFILE=tiny"} <= set(commands)
        for command in commands:  # make itself refuses a target that is not there
            assert printed_by_make(*command.split())
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert calls["newest"][0] == "lock LOCK_OPTIONS=--upgrade"


def test_no_test_is_passed_over(pytestconfig: pytest.Config) -> None:
    # pytest leaves out directories named build unless it is told otherwise.
    passed_over = pytestconfig.getini("norecursedirs")
    for path in (ROOT / "tests").rglob("test_*.py"):
        for part in path.relative_to(ROOT).parts[:-1]:
            assert not any(fnmatch.fnmatch(part, pattern) for pattern in passed_over), path


def test_documents_agree_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == janus_pore.__version__
    assert citation["license"] == table["license"]
    assert (ROOT / table["license-files"][0]).read_text().startswith(f"{table['license']} License")
    assert f"## [{janus_pore.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (ROOT / table["readme"]).is_file()


def test_commit_hooks_run_what_is_installed() -> None:
    loaded = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    tests = {Requirement(line).name for line in project()["test"]}
    programs = set()
    for repository in loaded["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            place, _, program = hook["entry"].split()[0].rpartition("/")
            assert place == ".venv/bin"
            programs.add(program)
    assert programs == {"ruff", "nbstripout", "mypy"}
    assert programs <= tests


def test_files_name_no_registry_and_no_place_of_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git clone")
    hosts = ("pypi.{}", "pythonhosted.{}", "anaconda.{}", "debian.{}", "ubuntu.{}", "docker.{}")
    hosts += ("npmjs.{}", "unpkg.{}", "jsdelivr.{}", "quay.{}", "ghcr.{}")
    registry = "|".join(
        host.format(r"(?:org|com|net|io)\b").replace(".", r"\.", 1) for host in hosts
    )
    home = r"(?<![\w.-])/(?:work|root)/"
    forbidden = re.compile(f"(?i:{registry})|{home}")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue  # removed but not yet committed
        found = forbidden.search(path.read_bytes().decode("utf-8", errors="ignore"))
        assert found is None, f"{name} names {found.group() if found else ''}"
