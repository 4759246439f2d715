"""Networks for steerstream: data, training, export to a bundle, verification and evaluation.

Run it with `python -m model_export`, from a checkout. What a bundle means it shares with the server
in `steerstream_bundle`; of the server itself it imports nothing.
"""

import steerstream_bundle  # noqa: F401 - its settings, before ONNX Runtime is imported
