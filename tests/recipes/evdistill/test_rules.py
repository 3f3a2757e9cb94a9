"""What a config of EvDistill may not be."""

import pytest

from bicross_jax import errors
from bicross_jax.config import grammar

ALIGNED = "aligned=True,target.sensors=event_image,rgb,label"
NEEDS = "needs frames beside the events: config.aligned=True"


@pytest.mark.parametrize(
  "arg, said",
  [
    ("student,distill.mutual=1", f"distill.mutual {NEEDS}"),
    ("student,model.reconstruction=dual_v3", f"model.reconstruction=dual_v3 {NEEDS}"),
    ("student,publish=frames", "publish=frames needs config.distill.mutual"),
    ("student,aligned=True", "aligned=True needs rgb among config.target.sensors"),
    (
      "student,regime=with_event_labels,target.sensors=event_image",
      "needs label among config.target.sensors: target.sensors=event_image,label",
    ),
    ("student,data.height=30", "data: generators and reconstructions need height and width"),
    ("student,target.width=20", "at least 24, not 96x20"),
    (f"student,{ALIGNED},bmr.on=False,model.reconstruction=dual,data.height=12", "at least 16"),
    ("teacher,model.classes=3", "evals.source.protocol.classes=6"),
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
    f"student,{ALIGNED},distill.mutual=1",
    f"student,{ALIGNED},model.reconstruction=dual",
    f"student,{ALIGNED},distill.mutual=0.5,publish=frames",
    "student,bmr.on=False,data.height=30",
    "student,aligned=True,target.sensors=",
    "teacher,augment.scales=",
  ],
)
def test_what_it_may_be(arg):
  grammar.load(f"configs/evdistill.py:{arg}")
