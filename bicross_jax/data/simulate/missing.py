"""Spike streams for the frames of real data sets that have none: made of the images beside them.

Every stream lies where the set's builder looks for it (`data.layouts`). The frames before and
after a frame are the images of its folder that were taken one frame period earlier and later, as
their names say: numbers that differ by one, or times. Where there is no such image (a run's end, a
selection of frames far apart) the scene rests on that side.
"""

from collections.abc import Iterable, Iterator, Sequence
import functools
import os
import pathlib
import re
import time
from typing import NamedTuple

from bicross_jax import errors
from bicross_jax.data import dataset, sets
from bicross_jax.data.formats import image, listing
from bicross_jax.data.simulate import parallel, spike_files

FPS = {  # of the cameras; for Virtual KITTI, those of the drives that it copies
  "drivingstereo": 10.0,
  "drivingstereo_weather": 10.0,
  "kitti": 10.0,
  "nyu": 30.0,
  "vkitti": 10.0,
}
_APART = 1.5  # frame periods; images farther apart in time are no neighbours
_STALE = 3600  # seconds after which an unfinished file counts as left behind
_CLOCK = re.compile(r"\d{4}-\d\d-\d\d-(\d\d)-(\d\d)-(\d\d)-(\d{3})$")  # DrivingStereo
_SECONDS = re.compile(r"(\d+\.\d+)-\d+$")  # NYU v2, raw: r-<seconds>-<ticks>
_NUMBER = re.compile(r"\d+$")


class Job(NamedTuple):
  """A stream to be made.

  Attributes:
    key: of the frame; its random draws follow from it.
    output: the .npy file.
    pictures: the 2 n + 1 images around the frame in the order of time (`around`).
  """

  key: str
  output: str
  pictures: tuple[str, ...]


def find(
  name: str,
  data_dir,
  domains: Sequence[str],
  fps: float,
  n: int,
  listed: Sequence[str] = (),
  allow_missing: bool = False,
) -> list[Job]:
  """A job for every frame of some domains of a set, each once, whether or not it is done.

  Args:
    name: of the set, a key of `FPS`.
    data_dir: the folder that holds one of its trees.
    domains: of the set (`data.sets`).
    fps: frames a second.
    n: how many images on either side a window touches (`streams.reach`).
    listed: drives and frames of the domain "listed".
    allow_missing: leave out frames without an image, and say how many.

  Raises:
    errors.UserError: no such set, domain or tree, or images that are missing.
  """
  known = sets.get(name)
  if name not in FPS:
    raise errors.UserError(
      f"{name} has no frames that spike streams are made for: choose from {', '.join(FPS)}"
    )
  entries = {part: tuple(listed) for part in dataset.PARTS}
  recordings = []
  for domain in domains:
    finders = known.finders(data_dir, domain, entries)
    recordings += [recording for part in dataset.PARTS for recording in finders[part]()]
  near = functools.cache(functools.partial(_neighbours, fps=fps))
  jobs, lacking = {}, [recording.folder for recording in recordings if not recording.frames]
  for frame in (frame for recording in recordings for frame in recording.frames):
    folder, picture = os.path.split(frame.files["rgb"])
    places, pictures = near(folder)
    if picture not in places:
      lacking.append(frame.files["rgb"])
      continue
    chosen = around(pictures, places[picture], n)
    output = frame.files["spike"]
    jobs[output] = Job(frame.key, output, tuple(f"{folder}/{p}" for p in chosen))
  if lacking:
    told = (
      f"{len(lacking)} images or folders of images of {name} are missing: "
      f"{', '.join(lacking[:3])}{' and so on' if len(lacking) > 3 else ''}"
    )
    if not (allow_missing and jobs):
      raise errors.UserError(
        f"{told}; {known.title} is published at {known.published}, --allow_missing leaves them out"
      )
    print(f"left out: {told}", flush=True)
  return list(jobs.values())


def around(pictures: dict[int, str], place: int, n: int) -> list[str]:
  """The picture at a place in the middle of 2 n + 1; beyond a gap the one before it is held.

  Args:
    pictures: by place; one more is one frame period later.
    place: of the middle one.
    n: how many on either side.
  """

  def side(step):
    held = [pictures[place]]
    while len(held) <= n and place + step * len(held) in pictures:
      held.append(pictures[place + step * len(held)])
    return held[1:] + held[-1:] * (n + 1 - len(held))

  return side(-1)[::-1] + [pictures[place]] + side(1)


def _neighbours(folder: str, fps: float) -> tuple[dict[str, int], dict[int, str]]:
  """(name -> place, place -> name) of the pictures in a folder; gaps in time skip a place."""
  timed = sorted(
    (*moment(os.path.splitext(name)[0], fps), name) for name in listing.pictures(folder)
  )
  places, place, before = {}, 0, ("", float("-inf"))
  for series, seconds, name in timed:
    near = series == before[0] and 0 < seconds - before[1] <= _APART / fps
    place += 1 if near else 2
    places[name], before = place, (series, seconds)
  return places, {place: name for name, place in places.items()}


def moment(stem: str, fps: float) -> tuple[str, float]:
  """(series, seconds) of a picture's name: its time of day, its time, or its number / fps.

  Only moments of one series can be compared. A name that ends in no number is a series alone.
  """
  if found := _CLOCK.search(stem):
    hours, minutes, seconds, thousandths = map(int, found.groups())
    return (
      stem[: found.start()] + found[0][:10],
      3600 * hours + 60 * minutes + seconds + thousandths / 1000,
    )
  if found := _SECONDS.search(stem):
    return stem[: found.start()], float(found[1])
  if found := _NUMBER.search(stem):
    return stem[: found.start()], int(found[0]) / fps
  return stem, 0.0


def write(job: Job, plan: spike_files.Plan) -> bool:
  """Makes one stream, unless it is there whole; returns whether it was made.

  Raises:
    errors.UserError: an image is damaged or of another size, or something else is in the place.
  """
  shape = image.size(job.pictures[len(job.pictures) // 2])
  if spike_files.is_finished(job.output, (plan.steps, *shape), plan.overwrite):
    return False
  lights = spike_files.lights_of(job.pictures, shape)
  spike_files.write_window(job.output, lights, plan, job.key)
  return True


def write_all(jobs: Sequence[Job], plan: spike_files.Plan, workers: int = 1) -> Iterator[bool]:
  """`write` for each of the jobs, by several processes; yields what it returns.

  What a killed run left unfinished an hour ago or more (`.NAME.*.part`) is removed.
  """
  _sweep({os.path.dirname(job.output) for job in jobs})
  return parallel.each(functools.partial(write, plan=plan), jobs, workers)


def _sweep(folders: Iterable[str]) -> None:
  for folder in folders:
    for path in pathlib.Path(folder).glob(".*.????????.part"):
      if path.stat().st_mtime < time.time() - _STALE:
        path.unlink()
