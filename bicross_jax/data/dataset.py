"""What a data set is to the rest of the package, whatever its examples are made of."""

import abc
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

PARTS = ("train", "validation", "test")


class Stored(NamedTuple):
  """How a field of an example is stored.

  Attributes:
    shape: of one example; a map whose frames may differ in size has None for both pixel axes.
    dtype: its NumPy name.
  """

  shape: tuple[int | None, ...]
  dtype: str


class DataSet(abc.ABC):
  """A data set: what `config.<section>.name` names, once it is registered (`data.sets`).

  Attributes:
    name: in configs.
    domains: what `config.<section>.domain` may be.
    drives: whether `drive` makes frames.
  """

  name: str
  domains: tuple[str, ...]
  drives: bool = False

  @abc.abstractmethod
  def check(self, config: Any, section: str) -> None:
    """Raises errors.UserError for what can be seen to be wrong before anything is built.

    Args:
      config: a data section.
      section: its name, for errors.
    """

  @abc.abstractmethod
  def fields(self, config: Any) -> Mapping[str, Stored]:
    """The fields of a built example; arguments as for `check`."""

  @abc.abstractmethod
  def build(self, config: Any, section: str, part: str) -> Any:
    """The TFDS builder (`data.builders.base.Builder`) that holds a part; built where it was not.

    Args:
      config, section: as for `check`.
      part: one of `PARTS`.

    Raises:
      errors.UserError: files that are missing, a folder that cannot be written, a damaged copy.
    """

  def camera(self, config: Any) -> tuple[float, float]:
    """The camera of the training examples; 0 is what nobody knows.

    Args:
      config: a data section.

    Returns:
      (focal length over the width of the view, metres to the stereo partner).

    Raises:
      errors.UserError: the set would know it from files that are not there.
    """
    del config
    return 0.0, 0.0

  def drive(self, config: Any, count: int, fps: float) -> Iterator[dict[str, np.ndarray]]:
    """Consecutive frames of a made recording, with the fields of `fields`, `key` and `reset`.

    Args:
      config: a data section.
      count: how many frames.
      fps: frames a second.
    """
    del config, count, fps
    raise NotImplementedError(f"{self.name} makes no drive")
