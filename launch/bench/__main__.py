"""python -m launch.bench"""

from configs import reader
from launch.bench.command import main

if __name__ == "__main__":
    reader.command(main)
