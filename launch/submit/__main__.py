"""python -m launch.submit"""

from configs import reader
from launch.submit.command import main

if __name__ == "__main__":
    reader.command(main)
