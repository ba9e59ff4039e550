"""Takes the picture of a report that the README shows.

Usage: ``python docs/report_picture.py REPORT.html docs/report.png`` (needs Debian's chromium).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1200, 1296
COLOURS = 64  # text on flat colours: more are not seen, and the file stays small


def take_picture(report: Path, picture: Path) -> None:
    """Write what a browser shows of the top of a report."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.png"
        subprocess.run(
            [  # noqa: S607  found on PATH, as the docstring says
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={raw}",
                report.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(raw) as image:
            image.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]), Path(sys.argv[2]))
