"""Keys, cuts and sharing, without molecular dynamics."""

import errno
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from janus_pore.build.system import BuiltSystem
from janus_pore.drive import ensemble, manifests, segments, trees, workers
from janus_pore.errors import MeasureError, RunError, SpecError
from janus_pore.spec import Constant, PulseTrain, RunSpec, Sine, Step, SystemSpec

RUN = RunSpec(dt_fs=2.0, equilibration_ps=10, settle_ps=1, chunk_ps=50)


def built(tmp_path: Path, **changes: object) -> BuiltSystem:
    spec = SystemSpec(**changes)
    manifest = {"key": trees.key(spec), "files": {"conf.gro": "0"}}
    return BuiltSystem(dir=tmp_path / "a-system" / "system", manifest=manifest, spec=spec)


def root(tmp_path: Path, run: RunSpec = RUN, replica: int = 0, **changes: object) -> trees.Segment:
    system = built(tmp_path, **changes)
    return trees.settle_segment(system, run, trees.start_segment(system, run), replica)


def grown(
    at: trees.Segment, waves: dict, *, frame: int = 50, known: dict | None = None
) -> dict[str, list[trees.Segment]]:
    histories = {label: trees.pieces(wave, RUN) for label, wave in waves.items()}
    return trees.grow(at, histories, frame_steps=frame, known=known or {})


def as_known(ways: dict[str, list[trees.Segment]]) -> dict[str, dict]:
    """The manifests that would lie on disk if these segments had been run."""
    return {
        s.key: {"start_step": s.start_step, "end_step": s.end_step, "root": s_root.key}
        for way in ways.values()
        for s in way
        for s_root in [_root(s)]
    }


def _root(segment: trees.Segment) -> trees.Segment:
    while segment.kind == "drive":
        assert segment.parent is not None
        segment = segment.parent
    return segment


def pair(delay_ps: float, **changes: object) -> PulseTrain:
    return PulseTrain(
        pulse_V_per_nm=0.7, width_ps=5, delay_V_per_nm=0.5, delay_ps=delay_ps, **changes
    )


def distinct(ways: dict[str, list[trees.Segment]]) -> dict[Path, trees.Segment]:
    return {s.dir: s for way in ways.values() for s in way}


def test_pulse_pairs_share_one_pulse_and_one_delay_run(tmp_path: Path) -> None:
    delays = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    ways = grown(root(tmp_path), {str(d): pair(d) for d in delays})
    done = distinct(ways)
    # One first pulse, ten pieces of one delay run of 10 ps, ten second pulses.
    assert len(done) == 1 + 10 + 10
    assert sum(s.duration_ps for s in done.values()) == pytest.approx(5 + 10 + 10 * 5)
    for d, way in zip(delays, ways.values(), strict=True):
        assert sum(s.duration_ps for s in way) == pytest.approx(5 + d + 5)
        assert [s.start_step for s in way[1:]] == [s.end_step for s in way[:-1]]


def test_a_train_continues_a_pair(tmp_path: Path) -> None:
    ways = grown(root(tmp_path), {"pair": pair(5), "train": pair(5, pulses=10)})
    assert ways["train"][: len(ways["pair"])] == ways["pair"]


def test_one_more_delay_costs_one_more_branch(tmp_path: Path) -> None:
    at = root(tmp_path)
    before = grown(at, {str(d): pair(d) for d in (4, 7, 11)})
    after = grown(at, {"9": pair(9)}, known=as_known(before))["9"]
    new = [s for s in after if s.key not in as_known(before)]
    assert [(s.start_ps, s.duration_ps) for s in new] == [
        (pytest.approx(12), pytest.approx(2)),
        (pytest.approx(14), pytest.approx(5)),
    ]
    # What was cut otherwise before is taken as it lies.
    again = grown(at, {"11": pair(11)}, known=as_known(before))["11"]
    assert again == before["11"]


def test_the_missing_way_to_a_known_segment_is_made_again_as_it_was_cut(tmp_path: Path) -> None:
    """Or the known one would pass for the whole way, though it has only the end of it."""
    at = root(tmp_path)
    waves = {f"{t}": Constant(field_V_per_nm=0.5, duration_ps=t) for t in (5, 10)}
    first, last = grown(at, waves)["10"]
    known = {last.key: as_known({"a": [last]})[last.key]}
    assert grown(at, {"10": waves["10"]}, known=known)["10"] == [first, last]


@pytest.mark.parametrize("again", ["the same state", "another state"])
def test_a_half_finished_segment_goes_on_only_from_its_parents_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    waves = {f"{t}": Constant(field_V_per_nm=0.5, duration_ps=t) for t in (5, 10)}
    parent, segment = grown(root(tmp_path), waves)["10"]
    monkeypatch.setattr(segments, "fingerprint", lambda _, path: path.read_text().split(",")[0])
    for folder, name, content in (
        (segment.partial, "start.cpt", "the same state, at noon"),
        (parent.dir, "state.cpt", f"{again}, at midnight"),
    ):
        folder.mkdir(parents=True)
        (folder / name).write_text(content)
    about = {"sha256": manifests.sha256(parent.dir / "state.cpt")}
    manifests.write_json(parent.dir / "manifest.json", {"files": {"state.cpt": about}})
    same = again == "the same state"
    assert segments._from_its_parent(SimpleNamespace(gmx=None), segment) is same
    shutil.rmtree(parent.dir)  # nothing says that it differs
    assert segments._from_its_parent(SimpleNamespace(gmx=None), segment)


def test_a_full_disk_is_not_put_down_to_the_trajectory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trjcat ends well where it could not write all: what it left is cut short, not damaged."""
    (segment,) = grown(root(tmp_path), {"a": Constant(field_V_per_nm=0.5, duration_ps=5)})["a"]
    chunk = segment.partial / "chunk-0-100"
    chunk.mkdir(parents=True)
    (chunk / "md.part0001.xtc").write_bytes(bytes(3 * 2**20))

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments, "_check_room", full)
        with (
            pytest.raises(RunError, match=r"No space left.*free space"),
            segments.writing(segment),
            segments._discarding(segment.partial),
        ):
            raise MeasureError("cut short after frame 0")
    assert (chunk / "md.part0001.xtc").exists()
    segments._check_room(segment.partial)
    assert [path.name for path in segment.partial.iterdir()] == ["chunk-0-100"]
    with pytest.raises(MeasureError, match="makes it again"), segments._discarding(segment.partial):
        raise MeasureError("damaged")
    assert not segment.partial.exists()


def test_a_trajectory_kept_from_half_way_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (segment,) = grown(root(tmp_path), {"a": Constant(field_V_per_nm=0.5, duration_ps=5)})["a"]
    segment.partial.mkdir(parents=True)
    monkeypatch.setattr(segments, "_join", lambda _, parts: parts[-1])
    said: list[str] = []
    engine = SimpleNamespace(say=said.append)
    assert segments._kept_trajectory(engine, segment) == []
    late = segment.partial / "trajectory-chunk-1500-2500.xtc"
    late.touch()
    assert segments._kept_trajectory(engine, segment) == [late]
    assert "only its last 0 of 5 ps" in said[0]
    assert "only its last 2 of 5 ps" in said[1]
    (segment.partial / "trajectory-chunk-0-1500.xtc").touch()
    assert segments._kept_trajectory(engine, segment) == [late]
    assert len(said) == 2


def test_children_wait_for_a_parent_that_another_object_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows name their settling anew, where charging has named it already."""
    ways = [
        grown(root(tmp_path), {f"{E}": Constant(field_V_per_nm=E, duration_ps=5)}) for E in (0, 1)
    ]
    (one,), (other,) = (way for each in ways for way in each.values())
    assert one.parent == other.parent
    assert one.parent is not other.parent
    made: list[str] = []

    def simulate(_: object, segment: trees.Segment, __: object) -> object:
        if segment.parent is not None and segment.parent.kind == "settle":
            assert "settle" in made, "began before its parent"
        time.sleep(0.05 if segment.kind == "drive" else 1.2)  # longer than the pool waits
        made.append(segment.kind)
        return segment

    monkeypatch.setattr(workers, "_simulate", simulate)
    monkeypatch.setattr(workers, "_finish", lambda *_: None)
    monkeypatch.setattr(workers.segments, "done_ps", lambda _: 0.0)
    engine = SimpleNamespace(stop=SimpleNamespace(reason=None), gmx=None, run=RUN, reducer=None)
    layout = SimpleNamespace(workers=2, flags=lambda *_: [])
    assert one.parent is not None
    workers.execute(engine, [one.parent, other, one], "test", layout, progress=False)
    assert made == ["settle", "drive", "drive"]


def test_keys_do_not_depend_on_cuts_or_frames(tmp_path: Path) -> None:
    at = root(tmp_path)
    wave = Sine(amplitude_V_per_nm=1.2, frequency_GHz=5)
    (whole,) = grown(at, {"a": wave})["a"]
    cuts = {str(n): wave.model_copy(update={"cycles": n / 8}) for n in range(1, 9)}
    pieces = grown(at, cuts, frame=10)["8"]
    assert len(pieces) == 8
    assert pieces[-1].key == whole.key
    assert pieces[-1].history == whole.history
    assert pieces[-1].field.at(10.0) == pytest.approx(whole.field.at(185.0))
    # The same field in two steps is the same field.
    split = Step(from_V_per_nm=0.5, from_ps=4, to_V_per_nm=0.5, to_ps=6)
    plain = Constant(field_V_per_nm=0.5, duration_ps=10)
    assert grown(at, {"a": split})["a"][-1].key == grown(at, {"a": plain})["a"][-1].key


def test_chunks_lie_on_frames_and_fill_the_segment(tmp_path: Path) -> None:
    at = root(tmp_path)
    (segment,) = grown(at, {"a": Constant(field_V_per_nm=0.1, duration_ps=120)}, frame=60)["a"]
    ends = segments.chunk_ends(segment, RUN)
    assert ends[-1] == segment.end_step
    assert len(ends) == 3
    for end in ends[:-1]:
        assert end % 25 == 0
        assert (end - segment.start_step) % segment.frame_steps == 0
        assert end == pytest.approx(50 / 0.002 * (1 + ends.index(end)), rel=0.01)
    assert segments.chunk_ends(at, RUN) == [0]


@pytest.mark.parametrize(
    "change",
    [
        {"dt_fs": 1.0},
        {"temperature_K": 310.0},
        {"tau_t_ps": 0.2},
        {"settle_ps": 2.0},
        {"pore_radius_nm": 0.6},  # no physics, but its series would lie in the same place
    ],
)
def test_keys_change_with_the_physics_of_the_run(tmp_path: Path, change: dict) -> None:
    assert root(tmp_path).key != root(tmp_path, RUN.model_copy(update=change)).key


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_ps": 100.0},
        {"current_window_ps": 1.0},
        {"replica_spacing_ps": 50.0},
    ],
)
def test_keys_do_not_change_with_output_and_analysis(tmp_path: Path, change: dict) -> None:
    assert root(tmp_path).key == root(tmp_path, RUN.model_copy(update=change)).key


def test_keys_change_with_system_replica_and_field(tmp_path: Path) -> None:
    keys = {
        root(tmp_path).key,
        root(tmp_path, replica=1).key,
        root(tmp_path, charge_set="mos2").key,
        root(tmp_path, cutoff_nm=1.0).key,
    }
    assert len(keys) == 4
    at = root(tmp_path)
    ends = {
        grown(at, {"a": wave})["a"][-1].key
        for wave in (
            Constant(field_V_per_nm=0.5, duration_ps=10),
            Constant(field_V_per_nm=-0.5, duration_ps=10),
            Constant(field_V_per_nm=0.5, duration_ps=5),
            Step(from_ps=5, to_V_per_nm=0.5, to_ps=5),
            Sine(amplitude_V_per_nm=0.5, frequency_GHz=100),
            Sine(amplitude_V_per_nm=0.5, frequency_GHz=100, phase_deg=90),
        )
    }
    assert len(ends) == 6


def test_frames_meet_both_ends_of_every_segment(tmp_path: Path) -> None:
    ways = grown(root(tmp_path), {str(d): pair(d) for d in (0.35, 0.5, 3.0)}, frame=50)
    for segment in distinct(ways).values():
        assert segment.frame_steps <= 50
        for step in (segment.start_step, segment.end_step):
            assert (step + segment.offset_steps) % segment.frame_steps == 0


def test_progress_does_not_fall_between_two_chunks(tmp_path: Path) -> None:
    """There mdrun, just started, has printed nothing yet."""
    (*_, last) = grown(root(tmp_path), {"a": Constant(field_V_per_nm=0.5, duration_ps=10)})["a"]
    last.partial.mkdir(parents=True)
    reached = last.start_step + last.offset_steps + 500
    manifests.write_json(last.partial / "ran.json", {"reached": reached})
    assert segments.done_ps(last) == pytest.approx(500 * last.dt_ps)
    printed = last.partial / "md.out"
    printed.write_text("")
    assert segments.done_ps(last) == pytest.approx(500 * last.dt_ps)
    printed.write_text(f"step {reached + 250}, will finish later\n")
    assert segments.done_ps(last) == pytest.approx(750 * last.dt_ps)


def test_the_series_of_chunks_are_joined_once_all_are_there(tmp_path: Path) -> None:
    (*_, last) = grown(root(tmp_path), {"a": Constant(field_V_per_nm=0.5, duration_ps=10)})["a"]
    last.partial.mkdir(parents=True)
    middle = (last.start_step + last.end_step) // 2
    joined: list[str] = []

    def join(_: trees.Segment, parts: Sequence[Path], target: Path) -> None:
        joined.extend(path.name for path in parts)
        target.write_text("joined")

    engine = SimpleNamespace(join=join)
    late = last.partial / f"series-{middle}-{last.end_step}.nc"
    late.write_text("b")
    with pytest.raises(MeasureError, match=f"lacks series.* there are {late.name}"):
        segments._join_series(engine, last)
    early = last.partial / f"series-{last.start_step}-{middle}.nc"
    early.write_text("a")
    for _ in range(2):  # stopped between joining and deleting
        segments._join_series(engine, last)
    assert joined == [early.name, late.name] * 2
    for part in (early, late):
        part.unlink()
    segments._join_series(engine, last)  # done before
    whole = last.partial / "series.nc"
    assert whole.read_text() == "joined"
    whole.unlink()
    with pytest.raises(MeasureError, match="there are none"):
        segments._join_series(engine, last)
    early.with_name(f"series-{last.start_step}-{last.end_step}.nc").write_text("all")
    segments._join_series(engine, last)  # a single one, which may be damaged
    assert len(joined) == 5


def test_a_segment_continues_the_state_that_was_made_again(tmp_path: Path) -> None:
    """While a damaged one is made again, what is damaged still lies in its place."""
    (*_, parent) = grown(root(tmp_path), {"a": Constant(field_V_per_nm=0.5, duration_ps=10)})["a"]
    target = tmp_path / "start.cpt"
    for folder, content in ((parent.dir, "right, but a bit"), (parent.partial, "right")):
        folder.mkdir(parents=True)
        (folder / "state.cpt").write_text(content)
    segments._record_done(parent.partial, {"wall_s": 1.0})
    about = {"sha256": manifests.sha256(parent.partial / "state.cpt")}
    manifests.write_json(parent.dir / "manifest.json", {"files": {"state.cpt": about}})
    segments._link_state(parent, target)
    assert target.read_text() == "right"
    target.unlink()
    assert segments._is_done(parent.partial)
    (parent.partial / "state.cpt").unlink()
    (parent.partial / "state.cpt").write_text("cut")
    assert not segments._is_done(parent.partial)
    with pytest.raises(RunError, match="no whole state"):
        segments._link_state(parent, target)
    assert not target.exists()
    (parent.dir / "state.cpt").write_text("right")
    segments._link_state(parent, target)
    assert target.read_text() == "right"


def test_durations_off_the_grid_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"5\.05.*use 5 or 5\.05|5\.03") as raised:
        trees.pieces(Constant(field_V_per_nm=0.1, duration_ps=5.03), RUN)
    assert "5.05" in str(raised.value)
    # A sine's period is what it is: it ends on the grid.
    ((*_, steps),) = trees.pieces(Sine(amplitude_V_per_nm=1, frequency_GHz=0.3), RUN)
    assert steps % 25 == 0
    assert steps * 0.002 == pytest.approx(1e4 / 3, abs=0.026)


history = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 8)), min_size=1, max_size=8
).map(lambda parts: trees.merged((E, 0.0, 0.0, 0.0, 25 * n) for E, n in parts))


def test_long_durations_are_no_excuse(tmp_path: Path) -> None:
    assert trees.steps_of(30000.05, RUN, "prepare_ps") == 15000025
    assert trees.steps_of(600000 * 0.05, RUN, "prepare_ps") == 15000000
    for short_by_ps in (0.01, 0.03):
        with pytest.raises(SpecError, match=r"not a multiple of 0\.05 ps"):
            trees.steps_of(30000.0 - short_by_ps, RUN, "prepare_ps")


def test_segments_planned_with_coarser_frames_are_run_again(tmp_path: Path) -> None:
    fine, coarse = (
        grown(root(tmp_path), {"a": Constant(field_V_per_nm=0.5, duration_ps=5)}, frame=n)["a"]
        for n in (50, 100)
    )
    assert ensemble.not_planned(fine, coarse) == fine
    assert ensemble.not_planned(coarse, fine) == []
    assert ensemble.not_planned(fine, [*fine, *coarse]) == []
    assert ensemble.not_planned(fine, []) == fine


def test_a_lost_state_is_no_end(tmp_path: Path) -> None:
    """A parent that was found damaged meanwhile is to be made again as well."""
    at = root(tmp_path)
    way = grown(at, {"a": Constant(field_V_per_nm=0.5, duration_ps=5)})["a"]
    needed = ensemble.Tree([], {0: {"a": way}}, {}, 0)
    assert needed.pending(way) == [at.parent, at, *way]


def test_the_rate_shown_is_that_of_this_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    first, second = grown(root(tmp_path), {"long": pair(40)})["long"][:2]
    second.partial.mkdir(parents=True)  # stopped earlier, 20 of its 40 ps done
    reached, now = {first.dir: 0.0, second.dir: 20.0}, [0.0]
    monkeypatch.setattr(segments, "done_ps", lambda s: reached[s.dir])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bar = workers._Progress([first, second], "both", show=True)
    now[0] = 1.0
    bar.show([first], [second], [])
    # 5 ps and then 5 ps more in 10 s: 86.4 ns a day, and 15 ps to go take as long again
    now[0], reached[second.dir] = 10.0, 25.0
    bar.show([second], [], [])
    bar.bar.refresh()
    bar.bar.close()
    assert "0.030/0.045 ns, 86.4 ns/day, 00:15 left" in capsys.readouterr().out


@given(history, history, st.integers(0, 40))
def test_prefixes(a: tuple, b: tuple, n: int) -> None:
    step = 25 * n
    assert trees.length(trees.until(a, step)) == min(step, trees.length(a))
    shared = trees.common_steps(a, b)
    assert trees.until(a, shared) == trees.until(b, shared)
    if shared < min(trees.length(a), trees.length(b)):
        assert trees.until(a, shared + 25) != trees.until(b, shared + 25)


@given(st.lists(history, min_size=1, max_size=5), st.lists(history, min_size=1, max_size=3))
def test_every_way_leads_to_its_end_without_gaps(first: list, second: list) -> None:
    at = root(Path("/nowhere"))

    def grow(histories: list, known: dict) -> dict:
        named = {str(i): h for i, h in enumerate(histories)}
        return trees.grow(at, named, frame_steps=50, known=known)

    known = as_known(grow(first, {}))
    for histories, ways in ((first, grow(first, known)), (second, grow(second, known))):
        for h, way in zip(histories, ways.values(), strict=True):
            steps = [at.end_step, *(s.end_step for s in way)]
            assert steps == [*(s.start_step for s in way), trees.length(h)]
            assert trees.merged(p for s in way for p in [(*s.history[-1][:4], s.steps)]) == h
            parents = [s.parent for s in way]
            assert parents == [at, *way[:-1]]
    assert set(known) >= {s.key for way in grow(first, known).values() for s in way}
