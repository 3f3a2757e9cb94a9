"""Numbers as horizontal bars, one below the other."""

from collections.abc import Mapping

from bicross_jax.viz import backend, panels

COLOUR, MEAN = "#0072B2", "#D55E00"  # Okabe and Ito's, for every kind of sight
_ROW = 0.26  # inches


def save(path, shares: Mapping[str, float], title: str, label: str, dpi: int = 110) -> None:
  """Writes `figure(...)` as a PNG; at no moment is there half a file under `path`."""
  panels.save(path, figure(shares, title, label), dpi)


def figure(shares: Mapping[str, float], title: str, label: str) -> "backend.Figure":
  """A bar for every share, in percent, with its number; a line at their mean.

  Args:
    shares: {name: share in 0..1}, the first on top.
    title: above all.
    label: of the axis.
  """
  drawing = backend.figure(6.4, 1.3 + _ROW * len(shares), layout="constrained")
  axes = drawing.subplots()
  percent = [100 * x for x in shares.values()]
  places = range(len(shares))
  axes.barh(places, percent, color=COLOUR, height=0.72)
  for place, value in zip(places, percent, strict=True):
    axes.annotate(
      f"{value:.1f}", (value, place), (3, 0), textcoords="offset points", va="center", fontsize=7
    )
  mean = sum(percent) / len(percent)
  axes.axvline(mean, color=MEAN, ls="--", lw=1.2, label=f"mean {mean:.1f} %")
  axes.set_yticks(places, list(shares), fontsize=7)
  axes.invert_yaxis()
  axes.set_xlim(0, 1.12 * max(*percent, 1e-3))
  axes.set_xlabel(label, fontsize=8)
  axes.set_title(title, fontsize=10, loc="left")
  axes.tick_params(axis="x", labelsize=8)
  axes.grid(axis="x", alpha=0.3)
  axes.legend(fontsize=8, loc="lower right", frameon=False)
  return drawing
