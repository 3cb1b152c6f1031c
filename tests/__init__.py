"""The tests; a package, because tf2onnx installs one of the same name."""
