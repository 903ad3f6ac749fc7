"""From trajectories to labelled series, and from series to observables.

``trajectory`` reduces frames, ``apart`` in a process of its own; ``series`` opens what that
leaves and ``shipped`` what ships with the collection. All else is pure functions of arrays:
``current``, ``water``, ``barrier``, ``plasticity`` and, for their intervals, ``statistics``;
``memristor`` is the reduced model of the pore and ``circuit`` what it does in a circuit.
"""
