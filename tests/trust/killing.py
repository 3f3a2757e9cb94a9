"""Runs a program of the package and kills it with SIGKILL on the way.

    python killing.py WHEN PROGRAM ARGUMENT...

WHEN is `step:K`, as soon as step K has been handed to the devices; `write:K:N`, just before the
Nth change of the file system from the moment on that checkpoint K is begun; or `never`. With
BATCHES=FILE in the environment a line "STEP DIGEST" is added there for every training batch read.
"""

import contextlib
import os
import runpy
import shutil
import signal
import sys
import threading
import zlib

import numpy as np

CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir")


def die():
  os.kill(os.getpid(), signal.SIGKILL)


def at_step(step):
  """Kills when the loop counts that step."""
  from bicross_jax.train import progress

  class Deadly(progress.Progress):
    def __init__(self, start, *rest):
      super().__init__(start, *rest)
      self.step = start

    def advance(self):
      super().advance()
      self.step += 1
      if self.step == step:
        die()

  progress.Progress = Deadly


def changes(step, act):
  """Calls act(number) before each change of the file system from the start of checkpoint `step` on.

  Python tells of each before it is made. Other threads wait meanwhile, before a change of theirs.

  Returns:
    A function that ends it.
  """
  begun = f"checkpoints{os.sep}{step}.orbax-checkpoint-tmp"
  lock, acting, ended, number = threading.Lock(), threading.local(), threading.Event(), [0]

  def hook(event, args):
    if ended.is_set() or getattr(acting, "now", False):
      return
    if event not in CHANGES and not (
      event == "open" and isinstance(args[1], str) and "w" in args[1]
    ):
      return
    with lock:
      if number[0] or any(begun in os.fspath(a) for a in args if isinstance(a, (str, os.PathLike))):
        number[0] += 1
        acting.now = True  # what it changes itself is not counted
        act(number[0])
        acting.now = False

  sys.addaudithook(hook)
  return ended.set


def at_write(step, number):
  """Kills at a change of the file system."""
  changes(step, lambda n: die() if n == number else None)


@contextlib.contextmanager
def copies(step, workdir, place, most=25):
  """Yields a list of copies of a run's folder, filled with one before each change; see `changes`."""
  made = []

  def copy_file(source, target):
    # Threads that are not Python's do not wait: a lock file may be gone since its folder was listed.
    with contextlib.suppress(FileNotFoundError):
      shutil.copy2(source, target)

  def copy(number):
    if number <= most:
      made.append(shutil.copytree(workdir, place / str(number), copy_function=copy_file))

  end = changes(step, copy)
  try:
    yield made
  finally:
    end()


def note_batches(path):
  """Writes down which batch is read for which step."""
  from bicross_jax.data import pipeline

  train = pipeline.Batches.train

  def noted(batches, start_step=0):
    for step, batch in enumerate(train(batches, start_step), start_step):
      digest = 0
      for name in sorted(batch):
        digest = zlib.crc32(np.ascontiguousarray(batch[name]), digest)
      with open(path, "a") as file:
        file.write(f"{step} {digest}\n")
      yield batch

  pipeline.Batches.train = noted


def main(when, program, *arguments):
  kind, *numbers = when.split(":")
  if kind != "never":
    {"step": at_step, "write": at_write}[kind](*map(int, numbers))
  if "BATCHES" in os.environ:
    note_batches(os.environ["BATCHES"])
  sys.argv = [program, *arguments]
  runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
  main(*sys.argv[1:])
