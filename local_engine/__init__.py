"""An embedded, single-process engine that speaks the worker protocol of the iii engine v0.8.3.

The unmodified Motia worker runs on it as on the real engine. Where this engine is deliberately better than v0.8.3
(durable queue, owner-aware clean-up, deterministic HTTP answers, 503 while no worker is connected), the docstring of
the module that does so says it.

Start it with ``python -m local_engine --database-url ...`` or, in tests, with ``local_engine.server.Engine``.
"""
