"""How a candidate is judged: which evaluations, in which order, and its score."""
