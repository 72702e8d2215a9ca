"""What radiologists write: the phrases from which reports are made, by finding.

Slots: {side} left or right, {zone} upper, mid or lower, {place} as the house names the two together,
{size} by severity, {a_mm} "a 17" or "an 18", {mm}, {ratio}. Every phrase of a finding says the same thing.
"""

from collections.abc import Mapping

from simulations.phantom.findings import Name

Phrases = tuple[str, ...]

SIZES: Mapping[str, tuple[str, str, str]] = {
    "cardiomegaly": ("mildly", "moderately", "markedly"),
    "effusion": ("small", "moderate", "large"),
    "pneumothorax": ("small", "moderate", "large"),
    "consolidation": ("patchy", "confluent", "dense"),
    "nodule": ("small", "medium-sized", "large"),
    "device": ("", "", ""),
}
"""Finding -> word for a severity in the lowest, middle and highest third."""

PRESENT: Mapping[str, Phrases] = {
    "cardiomegaly": (
        "the cardiac silhouette is {size} enlarged",
        "{size} enlarged cardiac silhouette",
        "cardiomegaly is present",
        "there is cardiomegaly with a cardiothoracic ratio of {ratio}",
        "the heart is {size} enlarged",
        "cardiothoracic ratio above 0.5, in keeping with cardiomegaly",
        "the heart size is {size} increased",
        "the transverse diameter of the heart exceeds half of the thorax",
        "cardiac enlargement is noted",
    ),
    "effusion": (
        "{size} {side} pleural effusion",
        "there is a {size} pleural effusion on the {side}",
        "blunting of the {side} costophrenic angle by a {size} effusion",
        "the {side} costophrenic angle is obscured by pleural fluid",
        "{side}-sided pleural effusion, {size} in volume",
        "{size} amount of fluid in the {side} pleural space",
        "layering {side} effusion with a meniscus at the {side} base",
        "opacification of the {side} base in keeping with a {size} effusion",
    ),
    "effusion, both": (
        "bilateral pleural effusions are present",
        "there are {size} pleural effusions on both sides",
        "both costophrenic angles are blunted by {size} effusions",
        "{size} bilateral effusions",
        "pleural fluid at both bases",
        "bibasal pleural effusions, {size} in volume",
    ),
    "pneumothorax": (
        "{size} {side} pneumothorax",
        "there is a {size} pneumothorax on the {side}",
        "{side} apical pneumothorax with a visible pleural line",
        "a {side}-sided pneumothorax is seen, {size} in extent",
        "visceral pleural line at the {side} apex in keeping with a {size} pneumothorax",
        "absent lung markings beyond a pleural line on the {side}, consistent with pneumothorax",
        "partial collapse of the {side} lung due to a {size} pneumothorax",
        "{size} pneumothorax at the {side} apex",
    ),
    "consolidation": (
        "{size} consolidation in the {place}",
        "there is {size} airspace opacity in the {place}",
        "{size} air space consolidation of the {place}",
        "the {place} shows a {size} opacity, suggesting pneumonia",
        "{size} infiltrate in the {place}",
        "ill-defined {size} opacification of the {place}, consistent with consolidation",
        "focal consolidation is seen in the {place}",
        "pneumonic consolidation, {place}",
    ),
    "nodule": (
        "{a_mm} mm nodule in the {place}",
        "there is a {size} nodule in the {place} measuring {mm} mm",
        "a solitary pulmonary nodule projects over the {place}",
        "round opacity of {mm} mm in the {place}, a pulmonary nodule",
        "{size} well-defined nodule, {place}",
        "a {size} nodular density is seen in the {place}",
        "coin lesion of {mm} mm in the {place}",
        "discrete nodule of about {mm} mm in the {place}",
    ),
    "pacemaker": (
        "a {side}-sided pacemaker with its lead in the right ventricle",
        "{side} chest wall pacemaker is in place",
        "cardiac pacing device over the {side} chest with intact lead",
        "a pacemaker generator projects over the {side} upper chest",
        "{side} pectoral pacemaker, lead in expected position",
    ),
    "central-line": (
        "{side}-sided central venous line with its tip in the superior vena cava",
        "a central venous catheter from the {side} ends at the cavoatrial junction",
        "{side} central line is in place",
        "{side} central venous catheter in satisfactory position",
        "central line inserted from the {side}",
    ),
    "port": (
        "a {side} chest port with its catheter tip in the superior vena cava",
        "{side}-sided port-a-cath is in place",
        "implanted venous port over the {side} chest wall",
        "{side} chest wall port, catheter in satisfactory position",
    ),
    "endotracheal-tube": (
        "an endotracheal tube ends above the carina, a feeding tube passes into the stomach",
        "endotracheal and nasogastric tubes are in place",
        "the patient is intubated, with the endotracheal tube in satisfactory position",
        "endotracheal tube tip lies above the carina",
    ),
}
"""Finding, or kind of device -> phrases that say that it is there."""

SHORT: Mapping[str, Phrases] = {
    "cardiomegaly": ("cardiomegaly", "heart enlarged", "CTR {ratio}, heart enlarged"),
    "effusion": ("{size} effusion {side}", "{side} effusion", "{side} CP angle blunted, effusion"),
    "effusion, both": ("bilateral effusions", "effusions both bases", "{size} effusions both sides"),
    "pneumothorax": ("{side} pneumothorax", "{size} apical pneumothorax {side}", "{side} ptx, {size}"),
    "consolidation": ("consolidation {place}", "{size} opacity {place}", "infiltrate {place}"),
    "nodule": ("nodule {place}", "{mm} mm nodule {place}", "{size} round nodule {place}"),
    "pacemaker": ("pacemaker {side}", "{side} pacemaker", "{side} pacemaker, lead ok"),
    "central-line": ("central line {side}", "{side} CVC in SVC"),
    "port": ("port {side}", "{side} chest port in situ"),
    "endotracheal-tube": ("ETT in situ", "endotracheal tube and NG tube in situ"),
}
"""The same in a few words."""

ABSENT: Mapping[Name, Phrases] = {
    "cardiomegaly": (
        "the heart is normal in size",
        "heart size is within normal limits",
        "no cardiomegaly",
        "the cardiac silhouette is not enlarged",
        "cardiothoracic ratio below 0.5",
    ),
    "effusion": (
        "no pleural effusion",
        "the costophrenic angles are sharp",
        "there is no pleural fluid",
        "both costophrenic angles are clear",
        "no effusion is seen",
    ),
    "pneumothorax": (
        "no pneumothorax",
        "there is no pneumothorax",
        "no evidence of pneumothorax",
        "no pneumothorax is identified",
    ),
    "consolidation": (
        "no consolidation",
        "no focal airspace disease",
        "there is no focal consolidation",
        "no evidence of pneumonia",
        "no infiltrate",
    ),
    "nodule": (
        "no pulmonary nodule",
        "no suspicious nodule is seen",
        "no mass or nodule",
        "there are no nodules",
    ),
    "device": (
        "no lines or tubes",
        "no medical devices are seen",
        "no support devices",
    ),
}

ABSENT_PAIRS: tuple[tuple[tuple[Name, Name], str], ...] = (
    (("effusion", "pneumothorax"), "no pleural effusion or pneumothorax"),
    (("pneumothorax", "effusion"), "there is neither pneumothorax nor effusion"),
    (("consolidation", "nodule"), "the lungs are clear"),
    (("consolidation", "effusion"), "no consolidation or effusion"),
    (("nodule", "consolidation"), "no focal lung lesion"),
)
"""Two absent findings in one phrase."""

NORMAL: Phrases = (
    "normal chest radiograph",
    "no acute cardiopulmonary abnormality",
    "normal heart and lungs",
    "no acute disease",
    "unremarkable chest radiograph",
    "no active cardiopulmonary process",
)

POSSIBLE: Phrases = (
    "possible {}",
    "suspected {}",
    "probable {}",
    "{}, not certain on this view",
    "likely {}",
)
"""For a finding that is there but mild; {} is a short phrase."""

HISTORIES: Phrases = (
    "{age}-year-old {person} with cough",
    "{age}-year-old {person}, shortness of breath",
    "{person} of {age} years, chest pain",
    "{age}-year-old {person}, fever and productive cough",
    "routine examination, {age}-year-old {person}",
    "{age}-year-old {person} after a fall",
    "preoperative assessment",
    "{age}-year-old {person} with weight loss",
    "dyspnoea on exertion",
    "{age}-year-old {person}, follow-up",
)

TECHNIQUES: Mapping[str, Phrases] = {
    "PA": ("PA chest radiograph", "erect PA view of the chest", "single frontal view, PA projection"),
    "AP": ("AP chest radiograph", "portable AP view of the chest", "bedside radiograph, supine AP"),
}

COMPARISONS: Mapping[bool, Phrases] = {
    False: ("none", "no previous examination", "none available"),
    True: (
        "previous chest radiograph",
        "compared with the earlier radiograph",
        "prior examination of the chest",
    ),
}
"""Whether it is a follow-up -> what it is compared with."""

DISTRACTORS: Phrases = (
    "degenerative changes of the thoracic spine",
    "mild scoliosis of the thoracic spine",
    "calcified hilar lymph nodes from old granulomatous disease",
    "old healed rib fracture",
    "the aortic knob is calcified",
    "the bony thorax is intact",
    "the trachea is midline",
    "the mediastinal contours are unremarkable",
    "pulmonary vascularity is normal",
    "surgical clips in the upper abdomen",
    "the soft tissues are unremarkable",
    "osteopenia is noted",
    "lung volumes are low",
    "the patient is slightly rotated",
    "the hila are unremarkable",
)
"""True or idle remarks that say nothing about any finding."""

ADVICE: Phrases = (
    "clinical correlation is advised",
    "follow-up as clinically indicated",
    "comparison with earlier images would be helpful",
    "please correlate with clinical findings",
)
