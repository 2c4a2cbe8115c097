"""Configuration dataclasses as flags, YAML and help; how a command begins and ends.

fields.py      the fields of a configuration by their dotted names
reading.py     arguments and a YAML file to the configuration
help.py        a page of help, one group of flags, all of them
completion.py  the same flags for the shell's completion
ending.py      arguments, exit codes, signals
"""

from nas.command_line.ending import EXIT_FAILED as EXIT_FAILED
from nas.command_line.ending import EXIT_INTERRUPTED as EXIT_INTERRUPTED
from nas.command_line.ending import EXIT_WRONG_USAGE as EXIT_WRONG_USAGE
from nas.command_line.ending import arguments_of as arguments_of
from nas.command_line.ending import guarded as guarded
from nas.command_line.ending import raise_if_interrupted as raise_if_interrupted
from nas.command_line.ending import terminated_as_interrupted as terminated_as_interrupted
from nas.command_line.fields import fields_of as fields_of
from nas.command_line.help import Command as Command
from nas.command_line.help import help_if_asked as help_if_asked
from nas.command_line.help import program as program
from nas.command_line.reading import check_file as check_file
from nas.command_line.reading import flags as flags
from nas.command_line.reading import parse_flags as parse_flags
from nas.command_line.reading import read_config as read_config
from nas.command_line.reading import split_config as split_config
from nas.command_line.reading import yaml_loader as yaml_loader
from nas.command_line.reading import yaml_reason as yaml_reason
