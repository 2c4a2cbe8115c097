"""`python -m nas.report STUDY`: what a study found, as one HTML file, Markdown and pictures.

`results`, `learning`, `own_data`, `cost`, `settings`, `endings`, `ancestry` and `checklist` each
compute one thing from `facts`, draw it and put it into a section; `write` puts the sections
together. All commands write their results with `document`, `html`, `text` and `files`, which know
nothing of studies. `trained_walk` and `heat` make the page of `nas.show --walk --on`; `statistics`
has the intervals and tests of reports, comparisons and replays.
"""
