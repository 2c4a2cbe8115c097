"""`nas doctor`: what is here of all that commands use, what is missing, and what to install or set.

    finding.py   what a check says
    machine.py   compiler, cores, memory, GPU
    storage.py   the folder of studies, PostgreSQL, MLflow
    packages.py  packages that are needed, and optional ones
    data.py      files of data that tasks know by name
    command.py   the list of checks; prints their findings

A new check is a function in one of these files and a line of `CHECKS` in command.py.
"""
