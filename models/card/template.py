"""The text of a model card, for jinja2. Names are escaped before they come here; blocks of code hold literals."""

TEMPLATE = """---
{{ card_data }}
---

# {{ title }}

{{ description }}

| | |
| --- | --: |
{%- for label, value in figures %}
| {{ label }} | {{ value }} |
{%- endfor %}

## Accuracy
{% if scores %}
| split | accuracy | 95 % interval | right | images |
| --- | --: | --: | --: | --: |
{%- for row in scores %}
| {{ row | join(" | ") }} |
{%- endfor %}

Intervals are Wilson's, for images drawn like these.
{% else %}
No accuracy is recorded in the file.
{% endif %}
## How to use it
{% if load %}
With Heartcut:

```python
import heartcut

net = heartcut.load({{ load }})
net.predict(["photo.jpg"])  # [(class, probability)]
```
{% endif %}
{%- for file in onnx %}
With ONNX Runtime ({{ file.shown }}{% if file.uint8_input %}, normalisation inside{% endif %}):

```python
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("{{ mode }}")
height, width = {{ height }}, {{ width }}
unit = {{ eval_crop }} * min(image.height / height, image.width / width)
left, top = (image.width - unit * width) / 2, (image.height - unit * height) / 2
box = (left, top, left + unit * width, top + unit * height)
pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
{%- if mode == "L" %}[..., None]{% endif %}
{% if file.uint8_input -%}
images = pixels[None]
{%- else -%}
normalised = (pixels / 255 - np.array({{ mean }})) / np.array({{ std }})
images = normalised.astype(np.float32).transpose(2, 0, 1)[None]
{%- endif %}

session = onnxruntime.InferenceSession({{ file.literal }})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
(logits,) = session.run(None, {session.get_inputs()[0].name: images})
print(classes[logits[0].argmax()])
```
{% endfor %}
{%- for file in sources %}
With PyTorch alone ({{ file.shown }}), for images that are prepared as below:

```python
import importlib

import torch

net = importlib.import_module({{ file.module }}).get_student_model()
net.load_state_dict(torch.load({{ file.weights }}, weights_only=True))
logits = net.eval()(images)
```
{% endfor %}
## Input
{% for step in steps %}
{{ loop.index }}. {{ step }}
{%- endfor %}

## Classes
{% if classes | length > 20 %}
<details><summary>{{ classes | length }} classes, in the order of the logits</summary>
{% endif %}
| logit | class |
| --: | --- |
{%- for name in classes %}
| {{ loop.index0 }} | {{ name }} |
{%- endfor %}
{% if classes | length > 20 %}
</details>
{% endif %}
## Limits
{% for limit in limits %}
- {{ limit }}
{%- endfor %}

## Origin

| | |
| --- | --- |
{%- for label, value in origin %}
| {{ label }} | {{ value }} |
{%- endfor %}
"""
