"""`python -m nas.report STUDY`: what a study found, as one HTML file, Markdown and pictures.

What is said is computed in `race`, `front`, `hyperparameters`, `ancestry`, `endings` and
`checklist` from `facts`, put together in `sections`, and written by `html` and `markdown`, which
know nothing of studies. To say something more, add a section to `sections.SECTIONS`.
"""
