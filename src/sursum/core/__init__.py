"""Programs and their messages: the stack of handlers, primitives, plates, scans, traces.

    primitives ──messages──▶ runtime (`perform`, `Messenger`) ──▶ trace

Imports `distributions` and `common`; may be imported by every room above.
"""
