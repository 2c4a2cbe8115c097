"""A roll as a MIDI file, read back by mido."""

import io

import numpy as np
from mido import MidiFile

from nas.tasks.midi import LOWEST, midi


def test_what_is_read_back_sounds_as_the_roll() -> None:
    roll = (np.random.default_rng(0).random((40, 88)) < 0.2).astype(np.uint8)
    roll[7] = 0
    roll[-3:, 5] = 1  # one note, held to the end
    file = MidiFile(file=io.BytesIO(midi(roll)))
    assert len(file.tracks) == 1
    heard = np.zeros_like(roll)
    since: dict[int, float] = {}
    now = 0.0
    for message in file:
        now += message.time
        if message.type == "note_on":
            assert message.note not in since, "a note that sounds does not begin again"
            since[message.note] = now
        elif message.type == "note_off":
            first, last = (round(at / 0.3) for at in (since.pop(message.note), now))
            heard[first:last, message.note - LOWEST] = 1
    assert not since
    np.testing.assert_array_equal(heard, roll)
