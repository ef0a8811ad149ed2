"""Write the table of all models into docs/guide/models.md, or check that it is in step.

    python -m tools.write_models_table            write
    python -m tools.write_models_table --check    change nothing; exit 1 if the table is old

In: the catalog as shipped. Out: the lines between the two markers of the page. It must not touch
anything outside them. Needs groxy installed, or src on PYTHONPATH.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from groxy.core.money import MediaPrice, TokenPrice, usd_from_ticks
from groxy.routing.catalog import Catalog, Model
from tools.marked_page import write_or_check

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "models.md"
NAME = "models"

_HEADS = {
    "What xAI serves": "Model | Makes | Pool, mode | Efforts | Context | USD | Aliases",
    "The gateway's own names, and other spellings": "Name | Pool, mode | Sends | Remark",
    "Retired by xAI": "Name | Retired | Replacement | Sends | Remark",
}


def table() -> str:
    """Return the three tables in Markdown."""
    models = Catalog.load().models()
    official = [_official(model) for model in models if model.sends == model.id]
    retired = [_retired(model) for model in models if model.retired]
    names = [_name(model) for model in models if model.sends != model.id and not model.retired]
    parts = zip(_HEADS.items(), (official, names, retired), strict=True)
    return "\n\n".join(_markdown(title, head, rows) for (title, head), rows in parts)


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write or check `page`; return the exit code."""
    return write_or_check(arguments, page, NAME, table)


def _markdown(title: str, head: str, rows: list[list[str]]) -> str:
    rule = " | ".join("---" for _ in head.split(" | "))
    lines = [head, rule, *(" | ".join(row) for row in rows)]
    return f"### {title}\n\n" + "\n".join(f"| {line} |" for line in lines)


def _official(model: Model) -> list[str]:
    efforts = ", ".join(
        f"**{effort}**" if effort == model.default_effort else effort for effort in model.efforts
    )
    context = f"{model.context_tokens:,}" if model.context_tokens else "–"
    aliases = ", ".join(f"`{alias}`" for alias in model.aliases)
    makes = model.capability.value
    return [f"`{model.id}`", makes, _pool(model), efforts, context, _usd(model), aliases]


def _name(model: Model) -> list[str]:
    return [f"`{model.id}`", _pool(model), _sends(model), _remark(model)]


def _retired(model: Model) -> list[str]:
    replacement = f"`{model.replacement}`"
    return [f"`{model.id}`", str(model.retired), replacement, _sends(model), _remark(model)]


def _pool(model: Model) -> str:
    best = ", best first" if model.prefer_best else ""
    return f"{model.tier.value}, {model.mode}{best}"


def _sends(model: Model) -> str:
    effort = f", effort {model.effort}" if model.effort else ""
    quality = f", quality {model.quality}" if model.quality else ""
    return f"`{model.sends}`{effort}{quality}"


def _remark(model: Model) -> str:
    also = ", ".join(f"`{alias}`" for alias in model.aliases)
    return "; ".join(part for part in (model.why, f"also {also}" if also else "") if part)


def _usd(model: Model) -> str:
    if model.media_price is not None:
        return _media(model.media_price)
    if model.price is None:
        return "not public"
    long = model.price.long
    from_tokens = f"{model.price.long_from_tokens:,}"
    more = f"; from {from_tokens} tokens {_tokens(long)}" if long is not None else ""
    return _tokens(model.price.base) + more


def _tokens(price: TokenPrice) -> str:
    return " / ".join(_dollars(part) for part in (price.input, price.cached_input, price.output))


def _media(price: MediaPrice) -> str:
    rows = [f"picture {_key(key)}{_dollars(ticks)}" for key, ticks in price.per_image.items()]
    rows += [f"second {_key(key)}{_dollars(ticks)}" for key, ticks in price.per_second.items()]
    if price.per_input_image:
        rows.append(f"picture handed in {_dollars(price.per_input_image)}")
    return ", ".join(rows)


def _key(key: str) -> str:
    return "" if key == "any" else f"{key} "


def _dollars(ticks: int) -> str:
    usd = usd_from_ticks(ticks).normalize()
    return f"{usd:.2f}" if usd == round(usd, 2) else f"{usd:f}"


if __name__ == "__main__":
    sys.exit(main())
