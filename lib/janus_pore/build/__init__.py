"""From parameters to a system that GROMACS can run.

``membrane`` makes the lattice and its pore, ``forcefield`` reads every interaction from
``data/forcefield.yaml``, ``system`` adds water and ions at bulk density and writes coordinates
and topology.
"""
