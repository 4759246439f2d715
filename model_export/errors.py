"""The errors of training and export.

```text
ModelExportError            one line on stderr, exit code 2
├── ConfigError             the configuration file
├── DataError               a source of training data, or a labels file
├── OptionError             an option of a command
├── RunError                a folder of a training run
│   └── DivergedError       its weights are no numbers any more
├── BundleError             an ONNX file
├── ProcessError            the processes that train together
├── DriveError              a drive of the closed loop
└── ReportError             a file of results, or a page that is not what they say
```

Every message says what to do.
"""

from __future__ import annotations


class ModelExportError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(ModelExportError):
    """A configuration file is missing, malformed, or names something unknown."""


class DataError(ModelExportError):
    """Training data or a labels file is missing or malformed."""


class OptionError(ModelExportError):
    """An option of a command is out of its range."""


class RunError(ModelExportError):
    """A run's folder holds no finished training, or one of another configuration."""


class DivergedError(RunError):
    """The weights of a run are no numbers any more."""


class ProcessError(ModelExportError):
    """Processes that train together cannot begin so, or one of them is gone."""


class BundleError(ModelExportError):
    """An ONNX file is missing, damaged, or without a valid contract."""


class DriveError(ModelExportError):
    """No server started with a bundle, or it ended a drive before it was over."""


class ReportError(ModelExportError):
    """A file of results is missing or of another bundle, or a page is not what the results say."""
