"""A cell for other people's code: one plain PyTorch file, an ONNX graph, a model in a registry.

cell -> equations as torch (expressions.py) -> layer (layer.py) -> stack (stack.py)
     -> self-test (check.py) -> the file (plain.py)
module -> ONNX graph (operators.py, graph_step.py, graph.py) -> compared with torch (verify.py)
"""
