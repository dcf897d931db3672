"""What a program is and how it speaks: messages, the stack of handlers, primitives, plates, scans, traces.

    primitives ──messages──▶ runtime (`perform`, `Messenger`) ──▶ trace

Imports `distributions` and `common`; may be imported by every room above.
"""
