"""`python -m nas.bench`: how fast cells are, against torch's own modules and the eager backend."""

import shlex
import sys
import time
from collections.abc import Sequence

from nas.bench.config import BenchConfig, parse
from nas.bench.config import parser as parser
from nas.command_line import EXIT_FAILED, arguments_of, guarded
from nas.study.provenance import provenance
from nas.workers.devices import check_device


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    given = arguments_of(arguments)
    return guarded("nas.bench", lambda: run(parse(given), given))


def run(config: BenchConfig, arguments: Sequence[str]) -> int:
    """Measure the devices that the configuration names, or the CPU; return the exit code."""
    return (bench_devices if config.devices else bench)(config, arguments)


def bench(config: BenchConfig, arguments: Sequence[str]) -> int:
    """Measure, print, and write the files that the configuration names."""
    # torch is imported once the arguments are known to be good.
    import torch

    from nas.bench.machine import machine, threads
    from nas.bench.measure import measure
    from nas.bench.report import Report, as_json, missing, write_json
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
        write_json(as_json(report), config.json)
    if config.markdown:
        write_file(config.markdown, markdown(written), f"--markdown {config.markdown}")
    if config.png:
        from nas.bench.picture import draw

        draw(report, config.png)
    problems = list(missing(report)) if config.smoke else []
    for problem in problems:
        print(f"nas.bench: missing or wrong: {problem}", file=sys.stderr)
    return EXIT_FAILED if problems else 0


def bench_devices(config: BenchConfig, arguments: Sequence[str]) -> int:
    """Compare devices with the CPU and time them, print, and write the files.

    Raises:
        UserError: if a device cannot be used.
    """
    for device in config.devices:
        check_device(device)
    import torch

    from nas.bench import on_devices
    from nas.bench.machine import threads
    from nas.bench.report import plain, write_json
    from nas.report.files import write_file
    from nas.report.text import lines, markdown

    began = time.perf_counter()
    with threads(1), torch.random.fork_rng(devices=[]):
        command = shlex.join(["python", "-m", "nas.bench", *arguments])
        about = on_devices.about_devices(config)
        report = on_devices.DeviceReport(command, config, provenance(), about)
        on_devices.measure_devices(report, progress)
    report.wall_s = time.perf_counter() - began
    written = on_devices.document_of(report)
    for section in written.sections[1:]:
        print("\n".join([section.title, *lines(*section.parts), ""]))
    if config.json:
        write_json(plain(report), config.json)
    if config.markdown:
        write_file(config.markdown, markdown(written), f"--markdown {config.markdown}")
    faults = list(on_devices.faults(report))
    for fault in faults:
        print(f"nas.bench: {fault}", file=sys.stderr)
    return EXIT_FAILED if faults else 0


def progress(line: str) -> None:
    if sys.stderr.isatty():
        print(line, file=sys.stderr)
