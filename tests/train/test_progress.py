import io
import os
import signal
import sys
import threading

import pytest

from bicross_jax.train import progress, termination


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_plain_lines(capsys):
  with progress.Progress(0, 10, "run") as shown:
    shown.begin()
    shown.advance()
    shown.log(4, {"a": 1, "loss": 0.25}, images=12.34, seconds=20)
    shown.message("hello")
  out, err = capsys.readouterr()
  assert out == "hello\n"
  assert err == "run  step 4/10  loss 0.25  12.3 images/s  2:00 left\n"


def test_bar_on_a_terminal(monkeypatch, capsys):
  monkeypatch.setattr(sys, "stderr", Terminal())
  with progress.Progress(3, 10, "run") as shown:
    shown.begin()
    for step in range(4, 8):
      shown.advance()
      shown.log(step, {"loss": 0.5}, images=100, seconds=0.1)
    shown.message("hello")
  text = sys.stderr.getvalue()
  assert "7/10" in text and "loss 0.5, 100.0 images/s" in text
  assert "hello" in capsys.readouterr().out


@pytest.mark.parametrize(
  "seconds, text", [(0.4, "0:00"), (61, "1:01"), (3600 * 2 + 61, "2:01:01"), (-3, "0:00")]
)
def test_clock(seconds, text):
  assert progress.clock(seconds) == text


def test_termination_is_noted_and_given_back():
  old = signal.getsignal(signal.SIGTERM)
  with termination.Termination() as stopping:
    assert not stopping.requested
    os.kill(os.getpid(), signal.SIGTERM)
    assert stopping.requested
  assert signal.getsignal(signal.SIGTERM) is old


def test_termination_elsewhere_leaves_the_handler_alone():
  old, seen = signal.getsignal(signal.SIGTERM), []

  def work():
    with termination.Termination() as stopping:
      seen.append((signal.getsignal(signal.SIGTERM), stopping.requested))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert seen == [(old, False)]
