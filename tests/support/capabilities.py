"""The widths of vectors that torch's own kernels can be told to use on this processor, by `ATEN_CPU_CAPABILITY`.

torch has most of its kernels once for each, picks the widest when it starts, and may answer differently by width: where a
kernel treats a vector otherwise than a number, and in last digits.
"""

from __future__ import annotations

import torch

#: What torch asks of a processor, from the narrowest on.
NEEDS = {
    "default": (),
    "avx2": ("avx2", "fma3"),
    "avx512": ("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "fma3"),
}


def capabilities() -> list[str]:
    """Those that this processor has, the widest last; whatever the environment asks for now."""
    has = torch.cpu.get_capabilities()
    return [name for name, needs in NEEDS.items() if all(has.get(need, False) for need in needs)]


def own_capability() -> str:
    """That of this process."""
    return torch.backends.cpu.get_cpu_capability().lower()
