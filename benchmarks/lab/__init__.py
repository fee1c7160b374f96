"""The laboratory: recipes' claims measured on nano models over several seeds (issue: design section 6, the nano world).

A seed is a world, a base model trained in it, its draws and the order of its trainings. `python -m benchmarks.lab EXPERIMENT --work DIR`;
what a run has finished is kept in DIR and not done again.
"""
