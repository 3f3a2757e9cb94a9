"""What a config of EvDistill may not be."""

import pytest

from bicross_jax import errors
from bicross_jax.config import grammar

NEEDS = "needs frames beside the events: config.aligned=True"


@pytest.mark.parametrize(
  "arg, said",
  [
    ("student,distill.mutual=1", f"distill.mutual {NEEDS}"),
    ("student,model.reconstruction=dual_v3", f"model.reconstruction=dual_v3 {NEEDS}"),
    ("student,publish=frames", "publish=frames needs config.distill.mutual"),
    ("student,publish=both", "choose from events, frames"),
    ("student,regime=labelled", "choose from label_free, with_event_labels"),
    ("student,model.reconstruction=dual_v4", "choose from none, dual, dual_v2, dual_v3"),
    ("student,bmr.on=perhaps", "bmr.on"),
    ("student,distill.affinity=-1", "distill.affinity"),
    ("student,loss.ohem=1.5", "loss.ohem"),
    ("student,gan.name=lion", "choose from sgd, adam"),
    ("student,generator.blocks=0", "generator.blocks"),
    ("teacher,model.backbone=vgg", "choose from resnet, mobilenet, drn"),
    ("teacher,model.output_stride=12", "output_stride"),
    ("teacher,augment.scales=0", "augment.scales"),
    ("teacher,input.modality=spikes", "choose from frames, events"),
    ("teacher,distill.mutual=1", "distill"),  # a teacher has no such field
    ("teacher,ddd18", "ddd17"),
    ("studnet", "student"),
  ],
)
def test_it_is_told(arg, said):
  with pytest.raises(errors.UserError) as error:
    grammar.load(f"configs/evdistill.py:{arg}")
  assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
  "arg",
  [
    "student,aligned=True,distill.mutual=1",
    "student,aligned=True,model.reconstruction=dual",
    "student,aligned=True,distill.mutual=0.5,publish=frames",
    "student,bmr.on=False",
    "teacher,augment.scales=",
  ],
)
def test_what_it_may_be(arg):
  grammar.load(f"configs/evdistill.py:{arg}")
