"""Networks for steerstream: data, training, export to a bundle, verification and evaluation.

Run it with `python -m model_export`, from a checkout. It shares the meaning of a bundle with the
server, through `steerstream_bundle`, and imports nothing of the server.
"""

import steerstream_bundle  # noqa: F401 - its settings, before ONNX Runtime is imported
