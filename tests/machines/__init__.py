"""The device kit on machines of its own: a virtual x86-64 one that is switched off and on, an emulated aarch64 one.

`python -m tests.machines vm` and `python -m tests.machines arm64` run them; each fills its table of
docs/reference/machines.md.
"""
