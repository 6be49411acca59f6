"""Run folders as one page: python -m train.report RUN... [--output report.html] [--sensitivity]"""

from __future__ import annotations

from configs import reader
from train.report.command import main

if __name__ == "__main__":
    reader.command(main)
