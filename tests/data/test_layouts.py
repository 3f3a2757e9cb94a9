"""Where frames are found, how sets are split, and what is said of what is not there."""

import pytest

from bicross_jax import errors
from bicross_jax.data import sets
from bicross_jax.data.dataset import PARTS
from bicross_jax.data.layouts import frames
from tests.data import trees

CASES = {**trees.CASES, **trees.STEREO_CASES}
OF_FILES = {name: known for name, known in sets.SETS.items() if isinstance(known, frames.FrameSet)}


def _find_frames(name, data_dir, domain, **chosen):
  """{part: frames}, all of whose files are there."""
  found = {p: OF_FILES[name].recordings(data_dir, domain, p, **chosen) for p in PARTS}
  return {part: [frame for run in runs for frame in run] for part, runs in found.items()}


def _find_runs(name, data_dir, domain):
  finders = OF_FILES[name].finders(data_dir, domain)
  return {part: finders[part]() for part in PARTS}


def _keys(found):
  return {part: [frame.key for frame in some] for part, some in found.items()}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "_"))
def case(request, tmp_path):
  """A layout whose files are all there, but empty, each with the hidden companion that macOS adds."""
  case = CASES[request.param]
  paths = [path for part in case.frames.values() for row in part for path in row[1:]]
  trees.touch(tmp_path, paths + [f"{p.rpartition('/')[0]}/._{p.rpartition('/')[2]}" for p in paths])
  for folder in {file.parent.parent for file in tmp_path.rglob("*.npy")}:
    (folder / ".hidden").mkdir()
  for path, text in case.lists.items():
    (tmp_path / path).write_text(text)
  return case


def test_every_layout_is_told_by_its_tree(case, tmp_path):
  found = _find_frames(case.dataset, tmp_path, case.domain, fields=case.fields)
  want = {
    part: [(key, *(str(tmp_path / path) for path in paths)) for key, *paths in rows]
    for part, rows in case.frames.items()
  }
  assert {
    part: sorted(_paths_of(f, case.fields) for f in some) for part, some in found.items()
  } == {part: sorted(some) for part, some in want.items()}


@pytest.mark.parametrize("column", [1, 2, 3], ids=["image", "stream_or_partner", "depth"])
def test_what_is_missing_is_named_with_where_to_get_it(case, tmp_path, capsys, column):
  gone = tmp_path / case.frames["train"][0][column]
  gone.unlink()
  chosen = dict(fields=case.fields)
  try:
    found = _find_frames(case.dataset, tmp_path, case.domain, **chosen)
  except errors.UserError as error:
    message = str(error)
    known = OF_FILES[case.dataset]
    for words in (str(gone), known.published, known.hint, "config.data.allow_missing"):
      assert words in message, words
    assert "\n" not in message
  else:  # where frames are what the folder holds, one without its first file is no frame
    assert column == (2 if case.dataset == "respike" else 1) and case.dataset != "nyu"
    assert case.frames["train"][0][0] not in sum(_keys(found).values(), [])
    return
  less = _find_frames(case.dataset, tmp_path, case.domain, allow_missing=True, **chosen)
  assert len(less["train"]) == len(case.frames["train"]) - 1
  assert str(gone) in capsys.readouterr().out
  if column == 2:
    all_the_same = _find_frames(case.dataset, tmp_path, case.domain, fields=("rgb", "depth"))
    assert len(all_the_same["train"]) == len(case.frames["train"])


def test_a_stream_lies_where_its_image_does_in_a_tree_beside_it():
  assert frames.stream_path("/d", "/d/a/b.c/rgb_00001.jpg") == "/d/spike/a/b.c/rgb_00001.npy"
  with pytest.raises(ValueError, match="subpath"):
    frames.stream_path("/d", "/e/a.jpg")


def _paths_of(frame, fields):
  return frame.key, *(frame.files[name] for name in fields)


def _paths(run, count, form):
  return [form.format(run, i) for i in range(count)]


def _sizes(found):
  return [sum(len(run.frames) for run in found[part]) for part in PARTS]


def test_virtual_kitti_has_its_scenes(tmp_path):
  counts = {"01": 447, "02": 233, "06": 270, "18": 339, "20": 837}
  form = "Scene{}/fog/frames/rgb/Camera_0/rgb_{:05d}.jpg"
  for scene, count in counts.items():
    trees.touch(tmp_path, _paths(scene, count, form))
  found = _find_runs("vkitti", tmp_path, "fog")
  assert _sizes(found) == [1787 - 179, 45 + 23 + 27 + 84, 339]
  assert {run.frames[0].key[:7] for run in found["train"]} == {
    "Scene01",
    "Scene02",
    "Scene06",
    "Scene20",
  }
  assert {run.frames[0].key[:7] for run in found["test"]} == {"Scene18"}
  for train, validation in zip(found["train"], found["validation"], strict=True):
    assert train.frames[-1].key < validation.frames[0].key  # the last frames, in one piece


@pytest.mark.parametrize("domain, more", [("partial", 0), ("partial_paper", 481 + 474)])
def test_partial_kitti_has_its_drives(tmp_path, domain, more):
  drives = {
    "2011_09_26_drive_0035": 131,
    "2011_09_26_drive_0046": 125,
    "2011_09_26_drive_0064": 570,
    "2011_09_30_drive_0020": 1104,
    "2011_09_26_drive_0019": 481,
    "2011_09_26_drive_0023": 474,
    "2011_09_26_drive_0039": 395,
    "2011_09_26_drive_0001": 108,
  }
  for drive, count in drives.items():
    trees.touch(
      tmp_path, _paths(f"{drive[:10]}/{drive}_sync", count, "{}/image_02/data/{:010d}.png")
    )
  sizes = _sizes(_find_runs("kitti", tmp_path, domain))
  assert sizes[0] + sizes[1] == 131 + 125 + 570 + 1104 + more
  assert sizes[1] / (sizes[0] + sizes[1]) == pytest.approx(0.1, abs=2e-3)
  assert sizes[2] == 395


def test_depth_of_kitti_raw_is_the_official_one_where_it_is_there(tmp_path):
  drive = "2011_09_26_drive_0035_sync"
  trees.touch(tmp_path, [f"2011_09_26/{drive}/image_02/data/0000000007.png"])
  (run,) = (r for r in _find_runs("kitti", tmp_path, "partial")["train"] if r.frames)
  assert (
    run.frames[0].files["depth"].endswith(f"2011_09_26/{drive}/velodyne_points/data/0000000007.bin")
  )
  (tmp_path / "val").mkdir()
  (run,) = (r for r in _find_runs("kitti", tmp_path, "partial")["train"] if r.frames)
  assert run.frames[0].files["depth"] == (
    f"{tmp_path}/val/{drive}/proj_depth/groundtruth/image_02/0000000007.png"
  )


def test_a_weather_is_split_by_name_80_to_20_and_validates_on_the_end_of_the_80(tmp_path):
  trees.touch(tmp_path, _paths("rainy", 500, "{}/left-image-half-size/{:04d}.jpg"))
  found = _find_runs("drivingstereo_weather", tmp_path, "rainy")
  assert _sizes(found) == [360, 40, 100]
  names = [f.key for part in PARTS for run in found[part] for f in run.frames]
  assert names == [f"rainy/{i:04d}" for i in range(500)]


def test_drivingstereo_takes_the_selected_sequences_or_all(tmp_path):
  for sequence in (*trees.SEQUENCES["train"], "2018-07-09-16-11-56"):
    trees.touch(tmp_path, _paths(sequence, 20, "train-left-image/{}/{:03d}.jpg"))
  for sequence in ("2018-07-11-14-48-52", "2018-08-01-11-13-14"):
    trees.touch(tmp_path, _paths(sequence, 5, "test-left-image/left-image-half-size/{}_{:03d}.jpg"))
  assert _sizes(_find_runs("drivingstereo", tmp_path, "selected")) == [8 * 18, 8 * 2, 5]
  assert _sizes(_find_runs("drivingstereo", tmp_path, "all")) == [9 * 18, 9 * 2, 10]


@pytest.mark.parametrize(
  "lengths, train, validation",
  [
    ([100] * 10, [100] * 9, [100]),
    ([1] * 25, [1] * 22, [1] * 3),
    ([100, 14, 16], [90, 13, 14], [10, 1, 2]),
    ([1, 2, 0], [1, 1, 0], [1]),
  ],
)
def test_a_tenth_of_what_is_published_for_training_validates(lengths, train, validation):
  runs = [
    frames.Recording(str(i), tuple(frames.Frame(f"{i}/{j}", {}) for j in range(n)))
    for i, n in enumerate(lengths)
  ]
  kept, held = frames.hold_out(runs)
  assert [len(r.frames) for r in kept] == train
  assert [len(r.frames) for r in held] == validation
  both = sorted(f.key for r in (*kept, *held) for f in r.frames)
  assert both == sorted(f.key for r in runs for f in r.frames)


@pytest.mark.parametrize("name", OF_FILES)
def test_a_folder_with_nothing_of_a_set_says_what_belongs_there(tmp_path, name):
  known = OF_FILES[name]
  for data_dir, words in (
    (tmp_path, str(tmp_path)),
    (tmp_path / "no", "no folder"),
    (None, "config.target.data_dir"),
  ):
    with pytest.raises(errors.UserError) as caught:
      _find_frames(name, data_dir, known.domains[0], section="target")
    for word in (words, known.published, *known.trees):
      assert word in str(caught.value)
  with pytest.raises(errors.UserError, match=known.domains[0]):
    _find_frames(name, tmp_path, "nosuch")


def test_a_run_that_is_not_there_is_missed(tmp_path):
  for scene in ("01", "02", "06", "18"):
    trees.touch(tmp_path, _paths(scene, 4, "input/Scene{}/rgb/{:05d}.png"))
    trees.touch(tmp_path, _paths(scene, 4, "input/Scene{}/depth/{:05d}.png"))
  with pytest.raises(errors.UserError, match="no images to train in .*input/Scene20/rgb"):
    _find_frames("vkitti", tmp_path, "clone", fields=("rgb", "depth"))
  found = _find_frames("vkitti", tmp_path, "clone", fields=("rgb", "depth"), allow_missing=True)
  assert [len(found[part]) for part in PARTS] == [9, 3, 4]
  with pytest.raises(errors.UserError, match="clone alone"):
    _find_frames("vkitti", tmp_path, "fog")


@pytest.mark.parametrize("text, words", [("a.jpg\n", "line 1 has one column"), ("\n", "no frame")])
def test_a_list_that_is_none_is_refused(tmp_path, text, words):
  (tmp_path / "train.txt").write_text(text)
  with pytest.raises(errors.BadFileError, match=words):
    _find_frames("nyu", tmp_path, "lists")


def test_a_part_is_found_where_the_others_are_not(tmp_path, samples):
  (tmp_path / "test.txt").write_text("a.jpg b.png\n")
  trees.touch(tmp_path, ["a.jpg", "b.png"])
  nyu = OF_FILES["nyu"]
  ((frame,),) = nyu.recordings(tmp_path, "lists", "test", fields=("rgb", "depth"))
  assert frame.key == "a"
  with pytest.raises(errors.BadFileError, match="train.txt: no such file"):
    nyu.recordings(tmp_path, "lists", "train")
  chosen = dict(fields=("rgb", "depth"), allow_missing=True)  # three frames of Eigen's test list
  found = OF_FILES["kitti"].recordings(samples / "kitti_raw", "eigen", "test", **chosen)
  assert sum(map(len, found)) == 3


def test_recordings_end_at_gaps_and_listed_frames_are_none(tmp_path):
  trees.touch(tmp_path, _paths("18", 6, "Scene{}/clone/frames/rgb/Camera_0/rgb_{:05d}.jpg"))
  gone = tmp_path / "Scene18/clone/frames/rgb/Camera_0/rgb_00002.jpg"
  runs = OF_FILES["vkitti"].recordings(
    tmp_path, "clone", "test", fields=("rgb",), allow_missing=True
  )
  assert [len(run) for run in runs] == [6]
  trees.touch(tmp_path, _paths("18", 6, "spike/Scene{}/clone/frames/rgb/Camera_0/rgb_{:05d}.npy"))
  (tmp_path / "spike" / gone.relative_to(tmp_path)).with_suffix(".npy").unlink()
  runs = OF_FILES["vkitti"].recordings(
    tmp_path, "clone", "test", fields=("rgb", "spike"), allow_missing=True
  )
  assert [len(run) for run in runs] == [2, 3]
  (tmp_path / "test.txt").write_text("a/1.jpg 1.png\na/2.jpg 2.png\n")
  trees.touch(tmp_path, ["a/1.jpg", "a/2.jpg"])
  runs = OF_FILES["nyu"].recordings(tmp_path, "lists", "test", fields=("rgb",))
  assert [len(run) for run in runs] == [1, 1]
