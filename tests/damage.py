"""Files as accidents leave them: cut short, with flipped bits, overwritten, with holes."""

import random
from typing import Any

from hypothesis import strategies as st


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A copy of a file's content with one to five injuries; more often near its beginning."""
    out = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        near = len(out) if chance.random() < 0.6 else min(len(out), 2000)
        at = chance.randrange(near) if near else 0
        match chance.randrange(6):
            case 0 | 1:
                out[at : at + 1] = bytes(b ^ 1 << chance.randrange(8) for b in out[at : at + 1])
            case 2:
                out[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff" * 4, b"\x7f\xff\xff\xff"))
            case 3:
                del out[at:]
            case 4:
                del out[at : at + chance.randrange(1, 50)]
            case 5:
                out[at:at] = chance.randbytes(chance.randrange(1, 50))
    return bytes(out)


def injuries(content: bytes) -> st.SearchStrategy[bytes]:
    """Damaged copies of a content."""
    return st.integers(0, 2**32).map(lambda seed: damaged(content, random.Random(seed)))


def plain_data() -> st.SearchStrategy[Any]:
    """Whatever a data file can hold."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=6,
    )
