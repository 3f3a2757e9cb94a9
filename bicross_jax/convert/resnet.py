"""Names of a ResNet in torchvision, which many systems keep for their encoders."""

from bicross_jax.convert.naming import Rule, batch_norm, conv


def rules(theirs: str, ours: str) -> list[Rule]:
  """Rules of a ResNet that is named below `theirs` there and below `ours` here."""
  block, own = f"{theirs}layer{{}}.{{}}", f"{ours}stage{{}}_{{}}"
  return [
    *conv(f"{theirs}conv1", f"params/{ours}conv1"),
    *batch_norm(f"{theirs}bn1", f"{ours}norm1"),
    *conv(f"{block}.conv{{}}", f"params/{own}/conv{{}}"),
    *batch_norm(f"{block}.bn{{}}", f"{own}/norm{{}}"),
    *conv(f"{block}.downsample.0", f"params/{own}/conv_shortcut"),
    *batch_norm(f"{block}.downsample.1", f"{own}/norm_shortcut"),
  ]
