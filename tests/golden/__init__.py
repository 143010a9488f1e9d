"""Check vidhair against numbers that the official implementations give.

`python -m tests.golden DIR` takes a folder of `<case>.json` + `<case>.npz` (+ `fill.py`, which
makes the weights). An adapter per kind of case computes our arrays; the runner compares.
"""
