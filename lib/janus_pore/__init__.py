"""Field-ordered water in an ångström-scale Janus MoSSe pore, reproduced with GROMACS.

The way through the package is one-directional::

    spec -> build -> drive -> measure -> show

``spec`` holds the validated parameters, ``build`` writes the system, ``drive`` runs
GROMACS, ``measure`` turns trajectories into labelled series and series into
observables, ``show`` draws them.
"""

__version__ = "0.1.0"
