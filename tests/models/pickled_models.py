"""Models of a project, well and badly behaved; workers find them here by name."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np


class First:
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x[:, 0]


class Both:
    def predict(self, x: np.ndarray) -> np.ndarray:
        return x


class WhoAmI:
    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), os.getpid())


class Picky:
    def predict(self, x: np.ndarray) -> np.ndarray:
        if (x < 0).any():
            raise ValueError("I take no negative numbers")
        return x[:, 0]


class Sleepy:
    def predict(self, x: np.ndarray) -> np.ndarray:
        if (x < 0).any():
            time.sleep(600)
        return x[:, 0]


class Broken:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 / 0",)


class SlowToLoad:
    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (600,)


class Suicidal:
    def predict(self, x: np.ndarray) -> np.ndarray:
        os._exit(3)


class Talker:
    def predict(self, x: np.ndarray) -> np.ndarray:
        print("hello from python")
        os.system("echo hello from the shell")
        assert sys.stdin.read() == ""
        return x[:, 0]


class Words:
    def predict(self, x: np.ndarray) -> list[str]:
        return ["a"] * len(x)


class Cube:
    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.zeros((len(x), 1, 1))


class Liar:
    """Writes to the pipe itself."""

    def __init__(self, garbage: bytes) -> None:
        self.garbage = garbage

    def predict(self, x: np.ndarray) -> np.ndarray:
        import gc
        import io

        for pipe in [o for o in gc.get_objects() if isinstance(o, io.BufferedWriter)]:
            if pipe is not sys.stderr.buffer and pipe is not sys.stdout.buffer:
                pipe.write(self.garbage)
                pipe.flush()
        os._exit(0)
