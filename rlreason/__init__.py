"""Does reinforcement learning synthesise new reasoning after supervised fine-tuning, or amplify what was there?"""

__version__ = "0.1.0"
