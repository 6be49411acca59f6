"""python -m launch.status"""

from configs import reader
from launch.status.command import main

if __name__ == "__main__":
    reader.command(main)
