"""`python -m nas.bench`: how fast cells are, against torch's own modules and the eager backend."""

import shlex
import sys
import time
from collections.abc import Sequence

from nas.bench.config import BenchConfig, parse
from nas.bench.config import parser as parser
from nas.command_line import EXIT_FAILED, arguments_of, guarded
from nas.study.provenance import provenance


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = arguments_of(arguments)
    return guarded("nas.bench", lambda: bench(parse(given), given))


def bench(config: BenchConfig, arguments: Sequence[str]) -> int:
    """Measure, print, and write the files that the configuration names."""
    # torch is imported once the arguments are known to be good.
    import torch

    from nas.bench.machine import machine, threads
    from nas.bench.measure import measure
    from nas.bench.report import Report, missing, write_json
    from nas.bench.tables import document
    from nas.report.files import write_file
    from nas.report.text import lines, markdown

    began = time.perf_counter()
    with threads(1), torch.random.fork_rng(devices=[]):
        command = shlex.join(["python", "-m", "nas.bench", *arguments])
        report = Report(command, config, provenance(), machine())
        measure(report, progress)
    report.wall_s = time.perf_counter() - began
    written = document(report)
    for section in written.sections[1:]:
        print("\n".join([section.title, *lines(*section.parts), ""]))
    if config.json:
        write_json(report, config.json)
    if config.markdown:
        write_file(config.markdown, markdown(written), f"--markdown {config.markdown}")
    if config.png:
        from nas.bench.picture import draw

        draw(report, config.png)
    problems = list(missing(report)) if config.smoke else []
    for problem in problems:
        print(f"nas.bench: missing or wrong: {problem}", file=sys.stderr)
    return EXIT_FAILED if problems else 0


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)
