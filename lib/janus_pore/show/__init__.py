"""From observables to figures, tables, verdicts and pages.

Each part of a notebook has its module: ``loops`` and ``steady`` the currents, ``barriers`` the
held ions, ``ordering`` and ``memory`` the water, ``pulses`` and ``neuron`` plasticity. ``figures``
draws, ``scorecard`` judges the claims, ``page`` keeps what a notebook shows, ``widgets`` and
``view`` make it interactive, ``report`` and ``sweep`` run the notebooks.
"""
