"""What a program begins with that kills itself with -9: at the `last`-th step, before or after a call that is watched."""

DYING = """
import os, signal, sys
done = last = 0

def step():
    global done
    done += 1
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(owner, name):
    inner = getattr(owner, name)
    def call(*given, **more):
        step()
        out = inner(*given, **more)
        step()
        return out
    setattr(owner, name, call)
"""
