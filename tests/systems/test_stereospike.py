"""StereoSpike's stages, through the scripts a person would use."""

from tests.systems.contract import Contract


class TestStereoSpike(Contract):
  stages = ("stereospike-binocular", "stereospike-spikecam")
  slow = ("test_benchmark",)


class TestANN(Contract):
  """Batch norms, and no spikes; what is shared with the network of spikes is fast there."""

  stages = ("stereospike-ann",)
  slow = tuple(name for name in dir(Contract) if name.startswith("test_"))
