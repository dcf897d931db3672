"""Every error and warning of sursum.

    SursumError                       anything that we raise on purpose
    ├── SiteError                     something is wrong at one site of the program
    │   ├── DuplicateSiteError        two sites of one name in one execution
    │   ├── PriorError                a prior that cannot be used for its parameter
    │   │   ├── PriorShapeError           does not expand to the parameter's shape
    │   │   ├── PriorSupportError         support outside the parameter's constraint
    │   │   └── PriorTypeError            cannot be cast to the parameter's dtype
    │   ├── ObservationError          observed values outside the support, or not finite
    │   ├── ArgumentError             arguments of a distribution outside their constraints
    │   │   └── OutOfRangeError           an index out of range
    │   ├── PlateError                plates that collide or do not fit a site
    │   ├── GuideError                a guide that does not fit its model
    │   └── DensityError              a log density that cannot be formed, or is not finite where it must be
    ├── ScanError                     a scan whose steps do not fit together
    ├── IntegrationError              a differential equation that cannot be solved as it is asked
    ├── HandlerError                  handlers that exit out of order, a program of the wrong kind
    │   └── CallError                     a program called with arguments that it does not take
    ├── CaptureError                  a program that cannot be turned into a graph
    │   ├── BranchError                   Python branched on a traced value
    │   ├── UncapturableError             tensors of a kind that a capture does not support
    │   └── EscapeError                   the graph depends on something that the capture cannot see
    ├── CompileError                  the native engine could not be built
    ├── ExportError                   something that cannot be exported to another library
    ├── OptionError                   an option that a function or class does not have, or of the wrong kind
    ├── MissingNameError              an attribute that does not exist
    ├── MissingImportError            a name that is imported from a module, and does not exist there
    ├── MissingPackageError           an optional package that is not installed
    ├── SamplingError                 a sampler's settings or its run
    ├── StorageError                  a file or store that cannot be read or written
    │   └── MissingFileError              nothing is at the path, or the folder to write to is not there
    ├── OptimisationError             an optimiser's settings or its run
    ├── ShardError                    a program whose data cannot be divided, or ranks that do not go together
    ├── TransportError                something that cannot be sent to a different process or machine
    ├── PredictionError               a prediction that cannot be made from the draws that are given
    └── VariationalError              settings or a run of variational inference

    SursumWarning                     any warning of ours
    ├── UnusedPriorWarning            a key of a prior that matched no parameter
    ├── HeldParameterWarning          trainable parameters that a sampler holds at their value
    ├── UnusedSiteWarning             data for, or a latent site of, something that nothing reads
    ├── ObservationWarning            data missing where they were expected, or that leave nothing to predict
    ├── ModuleWarning                 a network that behaves differently inside a program
    ├── EngineWarning                 a different engine is used than expected
    ├── GradientWarning               a gradient that is not the derivative of its density
    └── DiagnosticWarning             a problem with a run, found by the diagnostics

Where a Python user would expect `TypeError`, `ValueError`, `ImportError` or `OSError`, the classes also derive from those. A
message says what happened at which site, what was expected and what was found, and what to do.
"""

from __future__ import annotations


class SursumError(Exception):
    """Anything that sursum raises on purpose."""


class SiteError(SursumError, ValueError):
    """Something is wrong at one site of the program."""


class DuplicateSiteError(SiteError):
    """Two sites of one name in one execution."""


class PriorError(SiteError):
    """A prior that cannot be used for its parameter."""


class PriorShapeError(PriorError):
    """A prior that does not expand to its parameter's shape."""


class PriorSupportError(PriorError):
    """A prior whose support is not inside its parameter's constraint."""


class PriorTypeError(PriorError, TypeError):
    """A prior that is not one, or that cannot be cast to its parameter's dtype."""


class ObservationError(SiteError):
    """Observed values outside the support of their site, or not finite."""


class ArgumentError(SiteError):
    """Arguments of a distribution outside their constraints."""


class OutOfRangeError(ArgumentError, IndexError):
    """An index out of range, or a class that does not exist."""


class PlateError(SiteError):
    """Plates that collide, or that do not fit a site."""


class GuideError(SiteError):
    """A guide that does not fit its model."""


class DensityError(SiteError):
    """A log density that cannot be formed, or is not finite where it must be."""


class ScanError(SursumError, ValueError):
    """A scan whose steps do not fit together."""


class IntegrationError(SursumError, ValueError):
    """A differential equation that cannot be solved as it is asked: by its arguments, or in the steps that it may take."""


class HandlerError(SursumError, RuntimeError):
    """Handlers that exit out of order, or a program of a kind that cannot be handled."""


class CallError(HandlerError, TypeError):
    """A program called with arguments that it does not take, or without some that it needs."""


class CaptureError(SursumError, RuntimeError):
    """A program that cannot be turned into a graph."""


class BranchError(CaptureError):
    """Python branched on a traced value, so the graph would be valid for one branch only."""


class EscapeError(CaptureError):
    """The graph depends on something that the capture cannot see."""


class UncapturableError(CaptureError):
    """Tensors of a kind that a capture does not support: complex, sparse, or with custom dispatch."""


class CompileError(SursumError, RuntimeError):
    """The native engine could not be built."""


class ExportError(SursumError, ValueError):
    """Something that cannot be exported to another library."""


class OptionError(SursumError, TypeError):
    """A function or class called with an option that does not exist, or that has the wrong type."""


class MissingNameError(SursumError, AttributeError):
    """An attribute that does not exist."""


class MissingImportError(SursumError, ImportError):
    """A name that is imported from a module, and does not exist there."""


class MissingPackageError(SursumError, ImportError):
    """An optional package that is not installed."""


class SamplingError(SursumError, ValueError):
    """A sampler's settings, or its run."""


class StorageError(SursumError, OSError):
    """A file or store that cannot be read or written, or that holds something else than was expected of it."""


class MissingFileError(StorageError, FileNotFoundError):
    """The path to read, or the folder to write to, does not exist."""


class OptimisationError(SursumError, ValueError):
    """An optimiser's settings, or its run."""


class ShardError(SursumError, RuntimeError):
    """A program whose data cannot be divided, or ranks that do not go together."""


class TransportError(SursumError, TypeError):
    """A program, or its data, cannot be sent to a different process or machine."""


class PredictionError(SursumError, ValueError):
    """A prediction that cannot be made from the draws that are given."""


class VariationalError(SursumError, ValueError):
    """Settings of variational inference, or its run."""


class SursumWarning(UserWarning):
    """Any warning of sursum."""


class UnusedPriorWarning(SursumWarning):
    """A key of a prior matched no parameter."""


class HeldParameterWarning(SursumWarning):
    """Trainable parameters that a sampler holds at their value."""


class UnusedSiteWarning(SursumWarning):
    """Data for, or a latent site of, something that nothing reads."""


class ObservationWarning(SursumWarning):
    """Data that are missing where they were expected, or that leave nothing to predict."""


class ModuleWarning(SursumWarning):
    """A network that behaves differently inside a program."""


class EngineWarning(SursumWarning):
    """A different engine is used than expected."""


class GradientWarning(SursumWarning):
    """The gradient of a density is not its derivative, because of a hand-written backward, a hook or `detach`."""


class DiagnosticWarning(SursumWarning):
    """A problem with a run, found by the diagnostics."""
