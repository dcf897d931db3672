"""The loop program between ATen operators and C: stages, index expressions, affine places."""
