"""Image classification: networks, distilled classifiers, data and metrics."""
