"""python -m launch.doctor"""

import sys

from configs import reader
from launch.doctor.command import main

if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
