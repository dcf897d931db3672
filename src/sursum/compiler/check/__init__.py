"""That what was captured is the program: values, branches and gradients compared, at points near and far."""
