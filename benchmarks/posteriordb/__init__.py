"""Ten open posteriors with long reference runs, each written as a program with parameters, lifted, sampled and judged.

    python -m benchmarks.posteriordb            # all of them, as a markdown table
    python -m benchmarks.posteriordb garch hmm  # those whose names hold one of these words

Data and reference figures are posteriordb's (see `data/README.md`); the programs are ours.
"""
