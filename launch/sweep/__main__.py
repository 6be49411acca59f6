"""python -m launch.sweep"""

import sys

from configs import reader
from launch.sweep.command import main

if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
