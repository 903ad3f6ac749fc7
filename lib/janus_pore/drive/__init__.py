"""From a field protocol to reduced molecular dynamics.

``field`` turns waveforms into stretches of field, ``trees`` these into segments of molecular
dynamics, which ``segments`` makes with what ``gromacs`` runs and ``manifests`` reads again;
``ensemble`` runs and opens whole protocols, several replicas at once by ``workers``;
``background`` runs a field of one's own apart from the session that asked for it, ``windows``
holds an ion in the pore and ``decompose`` splits the force on it into parts.
"""
