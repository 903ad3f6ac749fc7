"""From a field protocol to reduced molecular dynamics.

``field`` turns waveforms into segments, ``gromacs`` runs the programs, ``segments`` keeps
the tree of what has been computed, ``ensemble`` runs and opens whole protocols,
``background`` runs a field of one's own apart from the session that asked for it,
``windows`` holds an ion in the pore and ``decompose`` splits the force on it into parts.
"""
