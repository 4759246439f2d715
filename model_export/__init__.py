"""Networks for steerstream: data, training, export to a bundle, verification and evaluation.

Run it with `python -m model_export`. Of the server it imports only what a bundle means:
`steerstream_bundle.contract` and `steerstream_bundle.preprocess`.
"""

import steerstream_bundle  # noqa: F401 - its settings, before ONNX Runtime is imported
