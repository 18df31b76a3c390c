"""All figures of one GPU by one command: `python tools/benchmark.py gpu`.

    command.py ─► processes.py ══► __main__.py ─► parts.py ─► steps, pipelines, detection, …
         └─► table.py, bars.py       (a process of its own)

A part measures one thing and yields rows. The parts run one after another in a process of their
own, since a part may hang or break the GPU's state for all that follows in its process.
"""
