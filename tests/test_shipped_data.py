"""The results in data/campaigns: whole, readable, and what their profile says."""

from pathlib import Path

import numpy as np
import pytest

from janus_pore import paths
from janus_pore.drive.field import field_at
from janus_pore.drive.manifests import sha256
from janus_pore.measure import series, shipped
from janus_pore.spec import load_profile

CAMPAIGNS = sorted((paths.data_dir() / "campaigns").glob("*/"))


@pytest.mark.parametrize("folder", CAMPAIGNS, ids=lambda p: p.name)
def test_what_this_collection_ships_is_whole(folder: Path) -> None:
    """Every file under its checksum, every item readable with its own profile, and small."""
    sums = (folder / shipped.SUMS).read_text(encoding="utf-8").splitlines()
    listed = {folder / line.split("  ")[1]: line.split("  ")[0] for line in sums}
    there = {p for p in folder.rglob("*") if p.is_file() and p.name != shipped.SUMS}
    assert there == set(listed)
    assert all(sha256(path) == digest for path, digest in listed.items())
    assert sum(path.stat().st_size for path in there) < 50e6
    own = load_profile(folder.name, {"source": "campaign"})
    systems = {series.shipped_folder(one): one for one in (own, *own.siblings())}
    for path in sorted(folder.glob("*/*.nc")):
        record = series.shipped_manifest(path.with_suffix(".json"))
        profile = systems[path.parent]
        if path.stem == series.WINDOWS:
            held = series.open_windows(profile)
            assert set(held["replica"].values.tolist()) == set(map(int, record["replicas"]))
            continue
        protocol = profile.protocol(path.stem)
        found = series.open_shipped(profile, path.stem)
        assert set(found) == set(protocol.waveforms())
        assert {d.sizes["replica"] for d in found.values()} == {len(record["replicas"])}
        for label, waveform in protocol.waveforms().items():
            applied = profile.applied(waveform)
            drawn = field_at(applied, found[label]["time"].values)
            # At a jump a frame holds the field before or after it.
            away = np.abs(np.diff(drawn, prepend=drawn[0])) < 0.1
            away &= np.abs(np.diff(drawn, append=drawn[-1])) < 0.1
            assert away.mean() > 0.8
            kept = found[label]["field"].values[0]
            np.testing.assert_allclose(kept[away], drawn[away], atol=2e-4, err_msg=str(path))


@pytest.mark.parametrize("folder", CAMPAIGNS, ids=lambda p: p.name)
def test_its_card_says_how_to_read_it(folder: Path) -> None:
    """The card's lines, run: an item of each kind of system."""
    card = (folder / shipped.CARD).read_text(encoding="utf-8")
    found: dict[str, object] = {}
    exec(card.split("```python\n")[1].split("```")[0], found)
    assert {"by_waveform", "control", "other", "windows"} <= set(found)
    systems = {
        next(iter(found[name].values())).attrs["system_key"]
        for name in ("by_waveform", "control", "other")
    }
    assert len(systems) == 3
