"""Measures orch beside its peers, in the same run and on the same machine: `python -m bench`."""
