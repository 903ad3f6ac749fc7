"""The package as its design says: one-way imports, and no dependency that is not declared."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lib" / "janus_pore"

STOREYS = ("build", "drive", "measure", "show")
"""Data moves down; a module imports from its own storey and from those above it."""

LOOKING_DOWN = {("drive/ensemble.py", "measure"), ("drive/__main__.py", "measure")}
"""Segments keep their series and not their trajectories, so driving ends in a reduction."""

DISTRIBUTIONS = {"yaml": "PyYAML"}
"""Where a package is imported by another name than it is installed by."""


def imports(file: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports, wherever in it."""
    inside = ("janus_pore", *file.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_no_storey_imports_one_below_it() -> None:
    found = set()
    for file in PACKAGE.rglob("*.py"):
        here = file.relative_to(PACKAGE)
        level = STOREYS.index(here.parts[0]) if here.parts[0] in STOREYS else -1
        for name in imports(file):
            storey = name.split(".")[1] if name.startswith("janus_pore.") else ""
            if storey in STOREYS and STOREYS.index(storey) > level:
                found.add((here.as_posix(), storey))
    assert found == LOOKING_DOWN


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["gromacs"]]
    declared = {re.split(r"[<>=!~\[; ]", line)[0] for line in lines}
    imported = {name.split(".")[0] for file in PACKAGE.rglob("*.py") for name in imports(file)}
    imported -= {"janus_pore", *sys.stdlib_module_names}
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= declared


FORBIDDEN = {
    "eval": "runs text",
    "exec": "runs text",
    "os.system": "goes through a shell",
    "os.popen": "goes through a shell",
    "yaml.load": "builds any object",
    "yaml.unsafe_load": "builds any object",
    "pickle.loads": "runs code",
    "marshal.loads": "runs code",
}
PICKLES = {"measure/apart.py"}
"""Between two processes of the same driver; nothing on disk."""


def test_nothing_that_is_read_is_run_and_no_parameter_reaches_a_shell() -> None:
    for file in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            assert name not in FORBIDDEN, f"{file}: {name} {FORBIDDEN.get(name)}"
            options = {word.arg for word in node.keywords}
            assert not options & {"shell", "allow_pickle"}, f"{file}, line {node.lineno}"
            if name == "pickle.load":
                assert file.relative_to(PACKAGE).as_posix() in PICKLES
