"""From trajectories to labelled series, and from series to observables.

``trajectory`` and ``series`` touch files; ``statistics``, ``current``, ``water``,
``barrier`` and ``plasticity`` are pure functions of arrays.
"""
