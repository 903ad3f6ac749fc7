"""One exception family; every message says what was wrong, where, and what to do."""

from __future__ import annotations


class JanusPoreError(Exception):
    """Base of every error that this package raises on purpose."""


class SpecError(JanusPoreError):
    """A parameter is out of range, unknown, or contradicts another one."""


class BuildError(JanusPoreError):
    """The molecular system cannot be built as asked."""


class GromacsError(JanusPoreError):
    """GROMACS is missing, too old, or one of its programs failed."""


class RunError(JanusPoreError):
    """A run cannot start, is damaged, or is held by another process."""


class StoppedError(RunError):
    """A run was stopped before its end; the same command continues it."""


class MissingInputError(JanusPoreError):
    """A stage needs the result of an earlier one; the message names what makes it."""


class MeasureError(JanusPoreError):
    """A trajectory or series cannot be reduced or read as asked."""
