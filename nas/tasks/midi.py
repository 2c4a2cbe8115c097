"""A piano roll as a standard MIDI file, to be listened to."""

import io

import numpy as np
from numpy.typing import NDArray

LOWEST = 21
"""The MIDI note of the first of 88 keys, A0."""
TICKS = 240
"""Ticks of a frame, which is an eighth note."""
TEMPO = 600_000
"""Microseconds of a quarter note: 100 a minute, so a frame is 0.3 s."""
VELOCITY = 80


def midi(roll: NDArray[np.generic]) -> bytes:
    """Return the bytes of a file of one track; `roll` is (frames, keys), not 0 where a key sounds.

    A key that sounds in frames that follow one another is one note that is held.
    """
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    track = MidiTrack([MetaMessage("set_tempo", tempo=TEMPO, time=0)])
    silence = np.zeros((1, roll.shape[1]), dtype=np.int8)
    sounds = np.concatenate([silence, np.asarray(roll != 0, dtype=np.int8), silence])
    written = 0
    for frame, key in np.argwhere(np.diff(sounds, axis=0)).tolist():
        kind = "note_on" if sounds[frame + 1, key] else "note_off"
        time = (frame - written) * TICKS
        track.append(Message(kind, note=LOWEST + key, velocity=VELOCITY, time=time))
        written = frame
    file, made = MidiFile(ticks_per_beat=2 * TICKS, tracks=[track]), io.BytesIO()
    file.save(file=made)
    return made.getvalue()
