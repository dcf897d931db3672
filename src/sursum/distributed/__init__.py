"""One log density whose data are divided: over threads of this process, or over the ranks of `torch.distributed`.

    shard(program, plate) ──compile_density──▶ parts of rows, each compiled ──▶ their sum: one density again
                          ──training────────▶ the terms of each rank, whose gradients are summed step by step

Imports `compiler` and below; the methods that run a density, or that train, import it.
"""

from sursum.distributed.shard import Sharded, shard

__all__ = ["Sharded", "shard"]
