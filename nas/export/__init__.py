"""A cell for other people's code: one plain PyTorch file, an ONNX graph, a model in a registry.

cell -> equations as torch (expressions.py) and parameters (parameters.py)
     -> the file (plain.py, with the template plain.py.jinja)
module -> ONNX graph (operators.py, graph_step.py, graph.py) -> compared with torch (verify.py)
"""
