"""Where the files of real data sets lie, in the published layouts and in BiCross's."""

from collections.abc import Mapping, Sequence
import os
import pathlib

from bicross_jax import errors
from bicross_jax.data.layouts import drivingstereo, frames, kitti, nyu, respike, vkitti
from bicross_jax.data.layouts.frames import Frame

SETS: dict[str, frames.DataSet] = {
  "drivingstereo": drivingstereo.SET,
  "drivingstereo_weather": drivingstereo.WEATHER,
  "kitti": kitti.SET,
  "nyu": nyu.SET,
  "respike": respike.SET,
  "vkitti": vkitti.SET,
}
VERBS = {"train": "train", "validation": "validate", "test": "test"}  # in messages


def find_runs(
  name: str,
  data_dir: str | os.PathLike | None,
  domain: str,
  parts: Mapping[str, Sequence[str]] | None = None,
  section: str = "data",
) -> dict[str, list[frames.Run]]:
  """The runs of frames of every part of a set, whether or not their files are there.

  Args:
    name: of the set, a key of `SETS`.
    data_dir: the folder that holds one of its trees.
    domain: one of the set's domains.
    parts: entries by part for the domain "listed" of kitti.
    section: of the config that names the folder, for errors.

  Raises:
    errors.UserError: an unknown set or domain, or a folder that holds none of the trees.
  """
  if name not in SETS:
    raise errors.UserError(f"unknown data set {name!r}: choose from {', '.join(sorted(SETS))}")
  known = SETS[name]
  if domain not in known.domains:
    raise errors.UserError(
      f"unknown domain {domain!r} of {name}: choose from {', '.join(known.domains)}"
    )
  if not data_dir:
    raise errors.UserError(
      f"{name} needs config.{section}.data_dir, the folder that holds "
      f"{' or '.join(known.trees)}; it is published at {known.published}"
    )
  root = pathlib.Path(data_dir).expanduser().absolute()
  found = known.find(root, domain, parts or {})
  if found is None:
    places = " or ".join(f"{root}/{tree}" for tree in known.trees)
    raise errors.UserError(
      f"{f'no {name}/{domain} in' if root.is_dir() else 'no folder'} {root} "
      f"(config.{section}.data_dir): {known.title} is read from {places}; it is published at "
      f"{known.published}"
    )
  if "validation" not in found:
    found["train"], found["validation"] = frames.hold_out(found["train"])
  return {part: found[part] for part in frames.PARTS}


def find_frames(
  name: str,
  data_dir: str | os.PathLike | None,
  domain: str,
  parts: Mapping[str, Sequence[str]] | None = None,
  *,
  allow_missing: bool = False,
  need_spikes: bool = True,
  section: str = "data",
) -> dict[str, tuple[Frame, ...]]:
  """The frames of every part of a set, all of whose files are there.

  Args:
    name, data_dir, domain, parts, section: as for `find_runs`.
    allow_missing: leave out frames and runs that lack files, and say how many, instead of raising.
    need_spikes: whether streams are among those files.

  Raises:
    errors.UserError: as `find_runs`; a part without frames, or files that are missing.
  """
  found = {}
  for part, runs in find_runs(name, data_dir, domain, parts, section).items():
    every = [frame for run in runs for frame in run.frames]
    lacking = {f: paths for f in every if (paths := _missing(f, need_spikes))}
    found[part] = tuple(frame for frame in every if frame not in lacking)
    problems = [f"no images to {VERBS[part]} in {run.folder}" for run in runs if not run.frames]
    if lacking:
      paths = [path for paths in lacking.values() for path in paths]
      problems.append(
        f"{len(lacking)} of the {len(every)} {part} frames lack files: "
        f"{', '.join(paths[:3])}{' and so on' if len(paths) > 3 else ''}"
      )
    if not (every or problems):
      problems.append(f"no frame to {VERBS[part]} with in {data_dir}")
    if problems and not (allow_missing and found[part]):
      known = SETS[name]
      streams = "" if known.recorded else ", scripts/simulate_spikes.py makes spike streams"
      raise errors.UserError(
        f"{'; '.join(problems[:3])}; {known.title} is published at {known.published}{streams}, "
        f"config.{section}.allow_missing=True leaves such frames out"
      )
    for problem in problems:
      print(f"left out: {problem}", flush=True)
  return found


def _missing(frame: Frame, need_spikes: bool) -> list[str]:
  paths = (frame.rgb, frame.spike, frame.depth) if need_spikes else (frame.rgb, frame.depth)
  return [path for path in paths if not os.path.isfile(path)]
