"""A search on your own CSV: which cell forecasts it best?

    python examples/own_csv.py                     # writes sensor.csv here, then searches
    python examples/own_csv.py --n-candidates 20   # goes on with the same study

own_csv.yaml beside this file says what is predicted from what. For your data change its `tasks.csv`
and leave this script: `python -m nas.search my.yaml` is all it does after writing the file.
"""

import csv
import math
import random
import sys
from pathlib import Path

from nas.search.search import main

CONFIGURATION = Path(__file__).with_suffix(".yaml")


def write_sensor(path: Path, n: int = 3000) -> None:
    """A heater that is switched on and off: the room follows slowly, and the sensor is noisy."""
    draw = random.Random(0)
    heater, room, outside = 0.0, 18.0, 10.0
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["minute", "heater", "outside", "room"])
        for minute in range(n):
            if draw.random() < 0.02:
                heater = 1.0 - heater
            outside = 10 + 5 * math.sin(minute / 200)
            room += 0.4 * heater - 0.03 * (room - outside)
            measured = room + draw.gauss(0, 0.2)
            rows.writerow([minute, heater, round(outside, 3), round(measured, 3)])


if __name__ == "__main__":  # worker processes import this file
    write_sensor(Path("sensor.csv"))
    sys.exit(main([str(CONFIGURATION), *sys.argv[1:]]))
