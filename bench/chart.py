"""The cost of a request against the number of policies, as an SVG that can be read on light and dark ground."""

import math

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 60, 130, 48, 52
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .value { font-size: 12px }
.grid { stroke: #8b949e; stroke-opacity: .35 } .line { fill: none; stroke-width: 2.5 }
.native { stroke: #bc4c00 } .native-ink { fill: #bc4c00 } .portcullis { stroke: #0969da } .portcullis-ink { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .native { stroke: #f0883e } .native-ink { fill: #f0883e } .portcullis { stroke: #58a6ff } .portcullis-ink { fill: #58a6ff }
}
"""
NAMES = {"native": "jwt_authn + rbac", "portcullis": "Portcullis"}


def draw(lines: dict[str, dict[int, float]]) -> str:
    """`lines` has the microseconds by the number of policies, by chain."""
    counts = sorted({count for line in lines.values() for count in line})
    top = round_up(max(value for line in lines.values() for value in line.values()))

    def x(count: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(count / counts[0]) / math.log(counts[-1] / counts[0])

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(value, 0) / top

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title">',
        '<title id="title">CPU added per request, in microseconds, against the number of policies</title>',
        f"<style>{STYLE}</style>",
        text(LEFT, 22, "CPU added per request with the same token, in microseconds", "title"),
    ]
    for step in range(5):
        value = top * step / 4
        out.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        out.append(text(LEFT - 8, y(value) + 4, f"{value:g}", anchor="end"))
    for count in counts:
        out.append(text(x(count), HEIGHT - BOTTOM + 20, f"{count:,}", anchor="middle"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "policies", anchor="middle"))
    for name, line in lines.items():
        points = [(x(count), y(value)) for count, value in sorted(line.items())]
        out.append(f'<path class="line {name}" d="M{" L".join(f"{across:.1f} {down:.1f}" for across, down in points)}"/>')
        out += [f'<circle class="{name}-ink" cx="{across:.1f}" cy="{down:.1f}" r="3.5"/>' for across, down in points]
        (across, down), value = points[-1], line[counts[-1]]
        out.append(text(across + 10, down - 2, NAMES[name], f"{name}-ink"))
        out.append(text(across + 10, down + 14, f"{value:.0f} us", f"value {name}-ink"))
    return "\n".join([*out, "</svg>", ""])


def text(across: float, down: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}" class="{style}">{words}</text>'


def round_up(value: float) -> float:
    """To 1, 2, 4 or 8 times a power of ten, which four steps divide well."""
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)
