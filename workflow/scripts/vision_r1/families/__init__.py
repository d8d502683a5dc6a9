"""The model families, one small file each. To add one, write its file here and its name into the list below."""

from vision_r1.families import qwen2_5_vl, qwen3_vl
from vision_r1.families.family import Family
from vision_r1.files import UserError

__all__ = ["FAMILIES", "Family", "family"]

FAMILIES = {module.FAMILY.name: module.FAMILY for module in (qwen2_5_vl, qwen3_vl)}


def family(name: str) -> Family:
    """Return the family called `name`. Raises UserError naming the known ones."""
    if name not in FAMILIES:
        raise UserError(f"--family: unknown {name!r}; choose {', '.join(FAMILIES)}")
    return FAMILIES[name]
