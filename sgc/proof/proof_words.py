"""A proof in words, one line a pattern, and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgc.objectives.estimator import Estimator
from sgc.proof.comparison import FALSE_ALARM, TOLERANCE
from sgc.proof.proof import WARM, Bias, Cooled, Exact, Proof, Sampled


def proof_text(proof: Proof) -> str:
    """Write a proof: what was compared with what, a line for each pattern, and whether it holds."""
    lines = [f"{proof.name}, on a discrete twin: {', '.join(proof.nodes)} of two categories each, seed {proof.seed}"]
    moving = len({line.epoch for line in proof.exact}) > 1
    rows = [(line.rows, _how(line, moving), _exact(line)) for line in proof.exact]
    rows += [(line.rows, _how(line, moving), _sampled(line)) for line in proof.sampled]
    width, wide = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    lines += [f"  {first:<{width}}  {second:<{wide}}  {third}" for first, second, third in rows]
    for estimator in dict.fromkeys(proof.estimators.values()):
        names = [name for name, each in proof.estimators.items() if each == estimator]
        lines.append(f"  {', '.join(names)}: {estimator}{_how_proved(estimator, proof)}")
    lines += [f"  {bias_words(bias)}" for bias in proof.biases]
    lines += [f"  {cooled_words(cooled)}" for cooled in proof.cooled]
    lines += [f"  note: {note}" for note in proof.notes]
    return "\n".join([*lines, verdict(proof)])


def _how(line: Exact | Sampled, moving: bool) -> str:
    words = "exact" if isinstance(line, Exact) else f"sampled, {line.samples} sample{'s' * (line.samples > 1)}"
    return f"{words}, epoch {line.epoch}" if moving else words


def _exact(line: Exact) -> str:
    if line.found is None:
        return f"FAILED: {line.problem}"
    if line.passed:
        return f"largest difference {line.found.size:.1e}"
    return f"FAILED: {line.found.name} differs by {line.found.size:.1e}, at most {TOLERANCE:.0e} is rounding"


def _sampled(line: Sampled) -> str:
    if line.problem:
        return f"FAILED: {line.problem}"
    counts = f"{line.numbers:,} numbers, {line.estimates:,} draws"
    if line.passed:
        return f"|z| at most {line.score:.1f} of {counts}"
    return f"FAILED: {line.name} has |z| = {line.score:.3g}, at most {line.limit:.1f} is chance; of {counts}"


def _how_proved(estimator: Estimator, proof: Proof) -> str:
    if estimator.enumerates:
        return ""
    if estimator.tag == "biased" or not proof.sampled:
        return ", proved as enumerate"
    drawn = "drawn" if estimator.charged else "drawn as score_function"
    return f", summed where exact, {drawn} where sampled"


def bias_words(bias: Bias) -> str:
    """Say how far off a biased estimator is."""
    name, options = _estimator(bias.estimator)
    (off, error), (loss, loss_error) = bias.gradient, bias.loss
    said = "".join(f", {key.replace('_', ' ')} {value:g}" for key, value in options.items())
    return (
        f"{bias.node}: {name}: gradient off by {100 * off:.1f}% ± {100 * error:.2f}%, "
        f"loss by {loss:.3f} ± {loss_error:.3f} nats (relative L2, twin{said})"
    )


def cooled_words(cooled: Cooled) -> str:
    """Say how close to hard draws a cold relaxation comes."""
    name, options = _estimator(cooled.estimator)
    off, error = cooled.gradient
    text = f"gradient off by {100 * off:.1f}% ± {100 * error:.2f}% at temperature {options['temperature']:g}"
    said = text if cooled.passed else f"FAILED: {text}, at most {100 * WARM:.0f}% is warmth"
    return f"{cooled.node}: {name}, cold: {said}"


def _estimator(words: Any) -> tuple[str, Mapping[str, Any]]:  # Any: plain data
    if isinstance(words, str):
        return words, {}
    if "python" in words:  # one of the user's own
        name, options = words["python"], words.get("options", {})
    else:
        ((name, options),) = words.items()
    return name, {key: value for key, value in options.items() if isinstance(value, int | float)}


def verdict(proof: Proof) -> str:
    """Say in one line whether the proof holds."""
    failed = [line for line in proof.lines if not line.passed]
    if failed:
        names = "; ".join(dict.fromkeys(line.rows for line in failed))
        return f"FAILED: {len(failed)} of {len(proof.lines)} comparisons: {names}"
    count = len({line.rows for line in proof.exact if line.pattern})
    text = f"proved: {count} pattern{'s' * (count > 1)}, bound and gradient, to {TOLERANCE:.0e}"
    if proof.sampled:
        limit = proof.sampled[0].limit
        text += f"; sampled: |z| up to {limit:.1f} allowed, a false alarm in {1 / FALSE_ALARM:,.0f} proofs"
    return text


def proof_json(proof: Proof) -> dict[str, Any]:  # Any: plain data
    """Give a proof as plain data."""
    return {
        "name": proof.name,
        "seed": proof.seed,
        "proved": proof.passed,
        "nodes": list(proof.nodes),
        "exact": [
            {
                "rows": line.rows,
                "epoch": line.epoch,
                "passed": line.passed,
                **({"problem": line.problem} if line.found is None else _found(line)),
            }
            for line in proof.exact
        ],
        "sampled": [
            {
                "rows": line.rows,
                "epoch": line.epoch,
                "samples": line.samples,
                "passed": line.passed,
                **({"problem": line.problem} if line.problem else _scored(line)),
            }
            for line in proof.sampled
        ],
        "biases": [
            {
                "node": bias.node,
                "estimator": bias.estimator,
                "gradient": {"relative": bias.gradient[0], "standard_error": bias.gradient[1]},
                "loss": {"nats": bias.loss[0], "standard_error": bias.loss[1]},
            }
            for bias in proof.biases
        ],
        "cooled": [
            {
                "node": cooled.node,
                "estimator": cooled.estimator,
                "passed": cooled.passed,
                "gradient": {"relative": cooled.gradient[0], "standard_error": cooled.gradient[1]},
            }
            for cooled in proof.cooled
        ],
        "notes": list(proof.notes),
    }


def _found(line: Exact) -> dict[str, Any]:  # Any: plain data
    assert line.found is not None
    return {"difference": line.found.size, "at": line.found.name}


def _scored(line: Sampled) -> dict[str, Any]:  # Any: plain data
    return {
        "z": line.score,
        "limit": line.limit,
        "at": line.name,
        "numbers": line.numbers,
        "draws": line.estimates,
    }
